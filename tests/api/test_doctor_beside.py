"""The doctor beside people who delete, restore and purge: nothing that is on its way is taken for a fault."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import msgspec
import pytest

from holdfast.db.lifecycle.purge_lease import PurgeWaitsError
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.types import Subject
from tests.api.deletion_course import delete
from tests.db.deleting import purge_now
from tests.factories import make_form, make_group, make_member, make_message, make_project, make_token, make_user
from tests.instance import Instance

# What is asked of the rows; the engine and its numbers are the same whatever people do.
_CHECKS = (
    "orphans",
    "unknown_deletions",
    "finished_deletions",
    "live_under_deleted",
    "deletion_counts",
    "bundles",
    "leftover_files",
    "administrators",
    "abandoned_purges",
    "failed_work",
    "future_times",
    "broken_checks",
)
_ROUNDS = 4


@pytest.mark.slow
async def test_nothing_under_way_is_taken_for_a_fault(instance: Instance, tmp_path: Path) -> None:
    await ensure_first_start(instance.database, "correct horse battery")
    settings = msgspec.structs.replace(instance.settings, data_dir=tmp_path, bundle_dir="")
    subject = Subject(database=instance.database, settings=settings)
    settings.resolved_bundle_dir.mkdir()
    changing = [asyncio.create_task(_change(instance, settings.resolved_bundle_dir, number)) for number in range(3)]
    examined = 0
    while not all(task.done() for task in changing) or not examined:
        assert (await examine(subject, _CHECKS)).findings == []
        examined += 1
    assert sum(await asyncio.gather(*changing)) == 3 * _ROUNDS
    assert (await examine(subject, _CHECKS)).findings == []


async def _change(instance: Instance, folder: Path, number: int) -> int:
    """Make a course and delete it, bring it back, delete it again and purge it, some times; how many times."""
    database = instance.database
    admin, student = await make_user(database, f"admin-{number}"), await make_user(database, f"student-{number}")
    client = instance.client(await make_token(database, admin))
    await make_member(database, admin, "super_group", "admin")
    for _ in range(_ROUNDS):
        g_id = await make_group(database, f"physics {number}")
        await make_member(database, student, g_id)
        p_id = await make_project(database, g_id)
        for _ in range(5):
            await make_message(database, await make_form(database, student, p_id), student)
        restored = await client.post(f"/deletions/{await _delete(client, g_id)}/restore", json={})
        assert restored.status_code == 200, restored.text
        await _purge(instance, await _delete(client, g_id), folder)
    return _ROUNDS


async def _delete(client: httpx.AsyncClient, g_id: str) -> str:
    return str((await delete(client, f"/groups/{g_id}", "group", g_id, take_along=True))["deletion_id"])


async def _purge(instance: Instance, deletion_id: str, folder: Path) -> None:
    """Purges take turns."""
    for _ in range(1000):
        with contextlib.suppress(PurgeWaitsError):
            await purge_now(instance.database, deletion_id, folder)
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"deletion {deletion_id} never had its turn")
