"""Write docs/development/indexes.md: each index with what uses it and what it costs; --check says if it is current.

The uses come from the reviewed plans in tests/golden/plans. `--measure URL` reads the sizes anew from a PostgreSQL
database that holds the population of the plan review, and keeps them in docs/development/index-sizes.json.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import Index, Table, UniqueConstraint

from holdfast.db.open import open_database
from holdfast.db.tables import metadata
from holdfast.operations.plans.text import read_plans
from holdfast.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "development" / "indexes.md"
SIZES = ROOT / "docs" / "development" / "index-sizes.json"
PLANS = ROOT / "tests" / "golden" / "plans"
_SHOWN = 3
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


def main() -> int:
    if "--measure" in sys.argv:
        asyncio.run(_measure(sys.argv[sys.argv.index("--measure") + 1]))
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


def page() -> str:
    sizes: dict[str, list[int]] = json.loads(SIZES.read_text(encoding="utf-8"))
    uses = index_uses()
    lines = [
        "# The index ledger",
        "",
        "Written by `python -m scripts.write_indexes` from the tables and the reviewed plans in",
        "[tests/golden/plans](../../tests/golden/plans/sqlite.txt); a test fails when it is not current, when no",
        "statement uses an index that the seed does not name, when a foreign key leads no index, and when an index is",
        "only the beginning of another one. [How plans are reviewed](../plans.md).",
        "",
        "Bytes are those of an entry on PostgreSQL with the population of the review: what each row adds to the disk,",
        "and about what each insert writes into the index, besides the log.",
        "",
    ]
    for table in dict.fromkeys(use.table for use in uses):
        lines += [f"## {table}", "| index | columns | bytes an entry | statements | engines | for example |"]
        lines += ["|---|---|---:|---:|---|---|", *(_row(use, sizes) for use in uses if use.table == table), ""]
    total, unused = len(uses), [use for use in uses if not use.statements and not use.is_constraint]
    lines.append(
        f"{total} keys and indexes; {len(unused)} that no statement uses stay, most because the seed names them."
    )
    return "\n".join(lines) + "\n"


def _row(use: IndexUse, sizes: dict[str, list[int]]) -> str:
    size, rows = sizes.get(use.name, [0, 0])
    cost = f"{size / rows:.0f}" if rows else ""
    shown = ", ".join(f"`{name}`" for name in use.statements[:_SHOWN])
    if len(use.statements) > _SHOWN:
        shown += ", …"
    if not use.statements:
        shown = f"none: {'it guards a key' if use.is_constraint else KEPT.get(use.name, 'the seed names it')}"
    columns = ", ".join(use.columns) + (f" (only on {use.dialect})" if use.dialect else "")
    return f"| `{use.name}` | {columns} | {cost} | {len(use.statements)} | {', '.join(use.engines)} | {shown} |"


def _keys(table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield str(table.primary_key.name), tuple(column.name for column in table.primary_key.columns)
    uniques: list[UniqueConstraint | Index] = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for key in sorted([*uniques, *table.indexes], key=lambda each: str(each.name)):
        yield str(key.name), tuple(column.name for column in key.columns)


async def _measure(url: str) -> None:
    async with open_database(Settings(database_url=url)).running() as database, database.read() as tx:
        rows = await tx.fetch_text(
            "SELECT i.relname, pg_relation_size(i.oid), t.reltuples::bigint FROM pg_index x"
            " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
            " WHERE t.relnamespace = current_schema()::regnamespace ORDER BY i.relname"
        )
    known = {name for table in metadata.sorted_tables for name, _ in _keys(table)}
    sizes = {name: [size, max(count, 0)] for name, size, count in rows if name in known}
    SIZES.write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
