"""Measure what each index costs on PostgreSQL, and keep it in docs/development/index-costs.json: some minutes.

A private server gets the population of the plan review. Space is that of the index there. For writes, the older rows of
each table are copied to a table without keys, one index is built on it, and the newest rows are inserted: what the log
and the clock have more than without that index, in the median of the rounds, is what the index costs.
"""

import asyncio
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.settings import Settings
from scripts.write_indexes import COSTS, IndexCost, key_names
from tests.operations.plans.population import populate
from tests.servers import postgresql_server

ROUNDS = 7
INSERTED_SHARE = 4
INSERTED_AT_MOST = 10_000
# Fewer rows are inserted too quickly for the clock to tell one index.
TIMED_ROWS = 2_500

_INDEXES = """
    SELECT i.relname, t.relname, pg_relation_size(i.oid), t.reltuples::bigint, pg_get_indexdef(i.oid)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = current_schema()::regnamespace ORDER BY t.relname, i.relname
"""


async def main() -> int:
    with postgresql_server() as server, tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=server.create_database("indexes"), data_dir=Path(folder))
        await migrate(parse_address(settings.database_url))
        async with open_database(settings).running() as database:
            await populate(database)
        with psycopg.connect(settings.database_url, autocommit=True, row_factory=tuple_row) as connection:
            costs = _measured(connection)
    COSTS.write_bytes(msgspec.json.format(msgspec.json.encode(costs), indent=1) + b"\n")
    return 0


def _measured(connection: psycopg.Connection[Any]) -> dict[str, IndexCost]:
    known = key_names()
    definitions: dict[str, dict[str, tuple[int, str]]] = {}
    counts: dict[str, int] = {}
    for index, table, size, count, definition in connection.execute(_INDEXES).fetchall():
        if index in known and count > 0:
            definitions.setdefault(table, {})[index] = (size, definition)
            counts[table] = count
    costs = {}
    for table, indexes in definitions.items():
        inserted = min(counts[table] // INSERTED_SHARE, INSERTED_AT_MOST)
        if inserted == 0:
            continue
        print(f"{table}: {len(indexes)} keys, {counts[table]:,} rows", file=sys.stderr)
        _part(connection, table, counts[table] - inserted)
        writes = _writes(connection, {name: definition for name, (_, definition) in indexes.items()})
        for name, (size, _) in indexes.items():
            log, microseconds = (value / inserted for value in writes[name])
            costs[name] = IndexCost(size / counts[table], log, microseconds if inserted >= TIMED_ROWS else None)
    return costs


def _part(connection: psycopg.Connection[Any], table: str, kept: int) -> None:
    """The rows of `table` as they came, the first `kept` in `older` and the rest in `newest`."""
    connection.execute("DROP TABLE IF EXISTS older, newest")
    parts = {"older": "LIMIT", "newest": "OFFSET"}
    for part, bound in parts.items():
        statement = sql.SQL("CREATE TABLE {} AS SELECT * FROM {} ORDER BY ctid {} {}")
        connection.execute(
            statement.format(sql.Identifier(part), sql.Identifier(table), sql.SQL(bound), sql.Literal(kept))
        )


def _writes(connection: psycopg.Connection[Any], definitions: dict[str, str]) -> dict[str, tuple[float, float]]:
    """By index: bytes of the log, and microseconds, that inserting `newest` takes more than without it."""
    seen: dict[str, list[tuple[int, float]]] = {name: [] for name in definitions}
    for _ in range(ROUNDS):
        log, microseconds = _inserted(connection, None)
        for name, definition in definitions.items():
            with_log, with_microseconds = _inserted(connection, definition)
            seen[name].append((with_log - log, with_microseconds - microseconds))
    return {
        name: (statistics.median(log for log, _ in rounds), statistics.median(spent for _, spent in rounds))
        for name, rounds in seen.items()
    }


def _inserted(connection: psycopg.Connection[Any], definition: str | None) -> tuple[int, float]:
    connection.execute("DROP TABLE IF EXISTS measured")
    connection.execute("CREATE TABLE measured AS SELECT * FROM older")
    if definition is not None:
        renamed = re.sub(r"INDEX \S+ ON \S+ USING", "INDEX ON measured USING", definition, count=1)
        connection.execute(renamed.encode())
    # Whatever waits to be written is written before, not meanwhile.
    connection.execute("CHECKPOINT")
    explained = connection.execute(
        "EXPLAIN (ANALYZE, WAL, TIMING OFF, FORMAT JSON) INSERT INTO measured SELECT * FROM newest"
    ).fetchone()
    assert explained is not None
    (plan,) = explained[0]
    return plan["Plan"]["WAL Bytes"], plan["Execution Time"] * 1_000


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
