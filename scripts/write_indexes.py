"""Write docs/development/indexes.md: each index with what uses it and what it costs; --check says if it is current.

The uses come from the reviewed plans in tests/golden/plans, the costs from docs/development/index-costs.json, which
`python -m scripts.measure_indexes` measures anew.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import Index, Table, UniqueConstraint

from holdfast.db.tables import metadata
from holdfast.operations.plans.text import read_plans

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "development" / "indexes.md"
COSTS = ROOT / "docs" / "development" / "index-costs.json"
PLANS = ROOT / "tests" / "golden" / "plans"
_SHOWN = 3
# They count a whole table, by whichever index is the smallest, and so are no reason for any.
_COUNTS_OF_TABLES = "tables.count"
# Neither the seed names these nor does a plan read them, and they stay all the same.
KEPT = {
    "ix_audit_archives_first_id_last_id": "archives are few yet: with a thousand of them the engines read them all",
    "ix_deletions_purged_with": "the stored procedures look for what was purged with each, and must not read them all",
}


class IndexUse(msgspec.Struct, frozen=True):
    """A key of a table, and the statements whose reviewed plans read it, by engine; `dialect` has it alone."""

    name: str
    table: str
    columns: tuple[str, ...]
    is_constraint: bool
    dialect: str | None
    statements: tuple[str, ...]
    engines: tuple[str, ...]


class IndexCost(msgspec.Struct, frozen=True):
    """What an entry of an index costs on PostgreSQL: bytes on the disk, and of the log and microseconds to insert it.

    The time is None where there are too few rows to tell.
    """

    size_bytes: float
    log_bytes: float
    insert_microseconds: float | None


def main() -> int:
    wanted = page()
    is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
    if "--check" in sys.argv:
        if not is_current:
            print("docs/development/indexes.md is not current: run `python -m scripts.write_indexes`")
        return 0 if is_current else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def index_uses() -> list[IndexUse]:
    """Every index, unique key and primary key, in the order of tables."""
    users: dict[str, set[str]] = {}
    engines: dict[str, set[str]] = {}
    for path in sorted(PLANS.iterdir()):
        for statement, plans in read_plans(path.read_text(encoding="utf-8")).items():
            if statement.startswith(_COUNTS_OF_TABLES):
                continue
            for name in {word for words in plans for word in words.replace(";", " ").split()}:
                users.setdefault(name, set()).add(statement)
                engines.setdefault(name, set()).add(path.stem)
    return [
        IndexUse(
            name,
            table.name,
            columns,
            is_constraint=not name.startswith("ix_"),
            dialect=next((index.info.get("dialect") for index in table.indexes if index.name == name), None),
            statements=tuple(sorted(users.get(name, ()))),
            engines=tuple(sorted(engines.get(name, ()))),
        )
        for table in sorted(metadata.sorted_tables, key=lambda each: each.name)
        for name, columns in _keys(table)
    ]


def key_names() -> set[str]:
    return {name for table in metadata.sorted_tables for name, _ in _keys(table)}


def page() -> str:
    costs = msgspec.json.decode(COSTS.read_bytes(), type=dict[str, IndexCost])
    uses = index_uses()
    lines = [
        "# The index ledger",
        "",
        "Written by `python -m scripts.write_indexes` from the tables and the reviewed plans in",
        "[tests/golden/plans](../../tests/golden/plans/sqlite.txt); a test fails when it is not current, when no",
        "statement uses an index that the seed does not name, when a foreign key leads no index, and when an index is",
        "only the beginning of another one. [How plans are reviewed](../plans.md).",
        "",
        "What an entry costs is measured on PostgreSQL with the population of the review (`python -m",
        "scripts.measure_indexes`): its bytes in the index; and what inserting it takes more than without the index,",
        "in bytes of the log (without the images of pages that follow a checkpoint) and in microseconds, where a table",
        "has the rows to tell. An UPDATE that changes a column of one index, as a deletion does, pays that for every",
        "index of the table.",
        "",
    ]
    for table in dict.fromkeys(use.table for use in uses):
        lines += [f"## {table}", "| index | columns | bytes | log bytes | µs | statements | engines | for example |"]
        lines += [
            "|---|---|---:|---:|---:|---:|---|---|",
            *(_row(use, costs.get(use.name)) for use in uses if use.table == table),
            "",
        ]
    total, unused = len(uses), [use for use in uses if not use.statements and not use.is_constraint]
    lines.append(
        f"{total} keys and indexes; {len(unused)} that no statement uses stay, most because the seed names them."
    )
    return "\n".join(lines) + "\n"


def _row(use: IndexUse, cost: IndexCost | None) -> str:
    paid = " |  | "
    if cost is not None:
        spent = "" if cost.insert_microseconds is None else f"{max(cost.insert_microseconds, 0):.1f}"
        paid = f"{cost.size_bytes:.0f} | {cost.log_bytes:.0f} | {spent}"
    shown = ", ".join(f"`{name}`" for name in use.statements[:_SHOWN])
    if len(use.statements) > _SHOWN:
        shown += ", …"
    if not use.statements:
        shown = f"none: {'it guards a key' if use.is_constraint else KEPT.get(use.name, 'the seed names it')}"
    columns = ", ".join(use.columns) + (f" (only on {use.dialect})" if use.dialect else "")
    return f"| `{use.name}` | {columns} | {paid} | {len(use.statements)} | {', '.join(use.engines)} | {shown} |"


def _keys(table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield str(table.primary_key.name), tuple(column.name for column in table.primary_key.columns)
    uniques: list[UniqueConstraint | Index] = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for key in sorted([*uniques, *table.indexes], key=lambda each: str(each.name)):
        yield str(key.name), tuple(column.name for column in key.columns)


if __name__ == "__main__":
    sys.exit(main())
