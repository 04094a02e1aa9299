"""The facts of schema_facts.toml as structs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

_COLUMN = re.compile(r"(\w+)(?:\((\d+)\))?(\?)?")
_KEY = re.compile(r"-> ([\w.]+) \((\w+)\)")
_RULES = {"cascade": "CASCADE", "unlink": "SET NULL"}


class ColumnFact(msgspec.Struct, frozen=True):
    """What a column must be. `parent` is `table.column` where it is a foreign key, `on_delete` its rule."""

    table: str
    name: str
    kind: str
    width: int | None
    nullable: bool
    values: tuple[str, ...]
    parent: str | None
    on_delete: str | None

    @property
    def reference(self) -> str:
        """`table.column`."""
        return f"{self.table}.{self.name}"


class TableFact(msgspec.Struct, frozen=True):
    """What a table must hold."""

    name: str
    soft_delete: bool
    key: list[str]
    unique: list[list[str]]
    lookups: list[list[str]]
    defaults: dict[str, Any]
    columns: list[ColumnFact]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _read_column(table: str, name: str, text: str) -> ColumnFact:
    kind, *notes = (part.strip() for part in text.split("|"))
    found = _COLUMN.fullmatch(kind)
    assert found is not None, text
    values: tuple[str, ...] = ()
    parent = on_delete = None
    for note in notes:
        if note.startswith("one of "):
            values = tuple(_words(note.removeprefix("one of ")))
        else:
            key = _KEY.fullmatch(note)
            assert key is not None, text
            parent, on_delete = key[1], _RULES[key[2]]
    return ColumnFact(
        table=table,
        name=name,
        kind=found[1],
        width=int(found[2]) if found[2] else None,
        nullable=found[3] is not None,
        values=values,
        parent=parent,
        on_delete=on_delete,
    )


def _read_table(name: str, text: dict[str, Any]) -> TableFact:
    soft_delete = text["deletion"] == "soft"
    columns = dict(text["columns"])
    if soft_delete:
        columns |= {"deleted_at": "timestamp?", "deletion_id": "string(21)"}
    return TableFact(
        name=name,
        soft_delete=soft_delete,
        key=_words(text["key"]),
        unique=[_words(each) + (["deletion_id"] if soft_delete else []) for each in text.get("unique", [])],
        lookups=[_words(each) for each in text["lookups"]],
        defaults=text.get("defaults", {}),
        columns=[_read_column(name, column, kind) for column, kind in columns.items()],
    )


TABLE_FACTS = [
    _read_table(name, text)
    for name, text in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
]
FOREIGN_KEY_FACTS = [column for table in TABLE_FACTS for column in table.columns if column.parent is not None]
