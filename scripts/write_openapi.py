"""Write docs/openapi.json from the routes, or with --check say whether it is current."""

import sys
import tempfile
from pathlib import Path

import msgspec

from holdfast.app import describe_api
from holdfast.settings import Settings

TARGET = Path(__file__).parent.parent / "docs" / "openapi.json"


def description() -> str:
    with tempfile.TemporaryDirectory() as folder:
        document = describe_api(Settings(data_dir=Path(folder)))
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=1).decode() + "\n"


def main() -> int:
    current = description()
    if "--check" in sys.argv:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == current:
            return 0
        print("docs/openapi.json is not current: run `python scripts/write_openapi.py`")
        return 1
    TARGET.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
