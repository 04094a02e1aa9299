"""Checksums are those of the rows, whatever the engine: held against rows read and written in another way."""

import hashlib
from typing import Any

import msgspec

from holdfast.db.engines.base import Database
from holdfast.db.tables import metadata, sign_in_failures
from holdfast.operations.checksums import Checksums, TableChecksum, checksums_in, compare, read_checksums
from tests.db.rows import run
from tests.db.snapshots import Snapshot, read_all
from tests.factories import insert_row
from tests.operations.odd_rows import MOMENTS, add_odd_rows

_EMPTY = hashlib.sha256().hexdigest()


def _expected(snapshot: Snapshot) -> Checksums:
    found = {}
    for table, rows in snapshot.items():
        ordered = sorted(rows.items(), key=lambda item: [_as_bytes(each) for each in item[0]])
        lines = b"".join(msgspec.json.encode(row, order="sorted") + b"\n" for _, row in ordered)
        found[table] = TableChecksum(len(rows), hashlib.sha256(lines).hexdigest())
    return found


def _as_bytes(key: Any) -> Any:
    return key.encode() if isinstance(key, str) else key


async def test_checksums_are_those_of_the_rows_in_the_order_of_their_bytes(database: Database) -> None:
    await add_odd_rows(database)
    shares: list[float] = []
    found = await read_checksums(database, progress=shares.append)
    assert found == _expected(await read_all(database))
    assert found["sign_in_failures"].rows > 10
    assert shares == sorted(shares)
    assert shares[-1] == 1


async def test_an_empty_database_has_checksums_of_every_table(database: Database) -> None:
    found = await read_checksums(database)
    assert found == {name: TableChecksum(0, _EMPTY) for name in metadata.tables}


async def test_they_differ_where_a_row_or_a_value_does(database: Database) -> None:
    await insert_row(database, sign_in_failures, subject="somebody", failures=1, window_started_at=MOMENTS[0])
    before = await read_checksums(database)
    assert compare(before, before) == []
    await run(database, "UPDATE sign_in_failures SET failures = 2")
    (difference,) = compare(before, await read_checksums(database))
    assert difference.sentence.startswith("sign_in_failures: 1 rows as before, but other ones: SHA-256 ")
    await insert_row(database, sign_in_failures, subject="another", failures=1, window_started_at=MOMENTS[0])
    after = await read_checksums(database)
    assert [each.sentence for each in compare(before, after)] == ["sign_in_failures: 2 rows instead of 1"]
    assert compare(before, after, leaving_out=["sign_in_failures"]) == []


def test_a_table_that_only_one_has_is_told() -> None:
    one = {"old": TableChecksum(0, _EMPTY)}
    other = {"young": TableChecksum(0, _EMPTY)}
    assert [each.sentence for each in compare(one, other)] == [
        "old: the table is missing",
        "young: the table is new",
    ]


async def test_all_tables_are_of_one_moment(database: Database) -> None:
    """A row that is written meanwhile is in no count."""
    await insert_row(database, sign_in_failures, subject="first", failures=1, window_started_at=MOMENTS[0])
    before = await read_checksums(database)
    async with database.snapshot() as tx:
        # What begins the snapshot.
        assert await tx.fetch_text("SELECT count(*) FROM users") == [(0,)]
        await insert_row(database, sign_in_failures, subject="second", failures=1, window_started_at=MOMENTS[0])
        assert await checksums_in(tx) == before
    assert compare(before, await read_checksums(database))
