"""Write the stored procedures of today's tables into the folder of the migrations: `write_procedures.py REVISION`."""

import sys
from pathlib import Path

from holdfast.db.lifecycle.procedures.writing import ENGINES, write_procedures

FOLDER = Path(__file__).parent.parent / "src" / "holdfast" / "db" / "migrations" / "procedures"


def main() -> int:
    revision = sys.argv[1]
    for engine in ENGINES:
        text = "\n\n".join(write_procedures(engine)) + "\n"
        (FOLDER / f"{revision}_{engine}.sql").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
