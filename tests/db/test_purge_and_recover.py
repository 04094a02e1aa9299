"""Purge and recovery of random populations: any deletions, in any order, leave what raw SQL leaves, and come back."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import bundle_path
from holdfast.db.lifecycle.plan import Root
from holdfast.db.lifecycle.recover import recover
from holdfast.db.lifecycle.trash import find_conflicts, unmark
from tests.db.deleting import delete, deletion, purge_now
from tests.db.populations import Population, delete_statement, fill, populations, undone
from tests.db.rows import fetch
from tests.db.snapshots import difference, read_rows, rows_in, without_numbers
from tests.db.test_recover import no_witness, without_revocations
from tests.instance import Instance


@pytest.mark.conformance("C-01", "C-13")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(population=populations(), order=st.permutations(range(4)))
async def test_what_is_purged_in_any_order_is_what_raw_sql_takes_and_comes_back(
    shared_database: Instance, population: Population, order: list[int]
) -> None:
    database = shared_database.database
    await shared_database.clear()
    async with database.write() as tx:
        await fill(tx, population)
    before = await read_rows(database)
    # One after the other: a root may have gone with another one.
    deleted = [(await delete(database, root), root) for root in population.roots if await _is_live(database, root)]
    with tempfile.TemporaryDirectory() as folder:
        purged = []
        for deletion_id, root in [deleted[number] for number in order if number < len(deleted)]:
            async with undone(database) as tx:
                await tx.fetch_text(delete_statement(root))
                wanted = await rows_in(tx)
            if await purge_now(database, deletion_id, Path(folder)):
                purged.append(deletion_id)
            assert difference(wanted, await read_rows(database)) == []
            assert (await deletion(database, deletion_id))["state"] == "purged"
        for deletion_id in reversed(purged):
            await recover(database, bundle_path(Path(folder), deletion_id), witness=no_witness)
    # Those that went with another's purge came back deleted.
    for deletion_id, _ in reversed(deleted):
        if (await deletion(database, deletion_id))["state"] == "deleted":
            async with database.write() as tx:
                assert await find_conflicts(tx, deletion_id) == []
                await unmark(tx, deletion_id)
    after = await read_rows(database)
    assert without_revocations(difference(without_numbers(before), without_numbers(after))) == []


async def _is_live(database: Database, root: Root) -> bool:
    keys = zip(root.table.primary_key, root.key, strict=True)
    conditions = [f"{column.name} = '{value}'" for column, value in keys]
    live = f"SELECT 1 FROM {root.table.name} WHERE deletion_id = '' AND {' AND '.join(conditions)}"
    return bool(await fetch(database, live))
