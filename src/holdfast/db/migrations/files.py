"""The files of the migrations, read without Alembic: which revisions there are, and the text of their procedures."""

import re
from pathlib import Path

_FOLDER = Path(__file__).parent


def known_revisions() -> list[str]:
    """The revisions that this version knows, oldest first. The name of each file begins with its revision."""
    return sorted(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*_*.py"))


def procedures_of(revision: str, dialect_name: str) -> list[str]:
    """The statements that create the procedures of a revision, as its file keeps them; SQLite has none."""
    path = _FOLDER / "procedures" / f"{revision}_{dialect_name}.sql"
    if dialect_name == "sqlite":
        return []
    return [text.strip() for text in re.split(r"(?m)^(?=CREATE PROCEDURE )", path.read_text(encoding="utf-8")) if text]


def newest_procedures(dialect_name: str) -> list[str]:
    """The procedures that the newest revision with any leaves."""
    files = (_FOLDER / "procedures").glob(f"*_{dialect_name}.sql")
    revisions = sorted(file.name.partition("_")[0] for file in files)
    return procedures_of(revisions[-1], dialect_name) if revisions else []
