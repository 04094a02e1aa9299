"""The doctor finds nothing where nothing is wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.clock import utc_now
from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.demo.service import fill_with_demo
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.registry import CHECKS
from holdfast.operations.doctor.types import Subject
from holdfast.operations.doctor.working_state import find_schedule_faults
from tests.conftest import NewDatabase
from tests.instance import instance_settings
from tests.operations.doctor.ward import PERIODIC, Ward, without_test_servers


async def test_a_small_course_is_healthy(ward: Ward) -> None:
    report = await examine(ward.subject)
    assert without_test_servers(report.findings) == []
    assert len(report.checks) + len(report.left_out) == len(CHECKS)
    assert all(reason.startswith("it is for") for reason in report.left_out.values())
    assert await ward.planned("all") == []
    before = await ward.content()
    assert await ward.cured("all") == []
    assert await ward.content() == before


@pytest.mark.parametrize("is_started", [False, True])
async def test_a_new_instance_is_healthy(
    engine: str, new_database: NewDatabase, tmp_path: Path, is_started: bool
) -> None:
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        if is_started:
            await ensure_first_start(database, None)
        report = await examine(Subject(database=database, settings=settings, disk_usage=lambda _: (1, 0, 10**12)))
    assert without_test_servers(report.findings) == []


@pytest.mark.parametrize("minutes", [59, 61])
async def test_an_instance_that_never_had_a_worker_is_told_after_an_hour(
    engine: str, new_database: NewDatabase, tmp_path: Path, minutes: int
) -> None:
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        await ensure_first_start(database, None)
        later = utc_now() + timedelta(minutes=minutes)
        subject = Subject(database=database, settings=settings, periodic=PERIODIC, clock=lambda: later)
        found = [fault async for fault in find_schedule_faults(subject)]
    assert [fault.message.partition(",")[0] for fault in found] == ["no worker has ever run here"] * (minutes > 60)


async def test_the_demo_is_healthy(engine: str, new_database: NewDatabase, tmp_path: Path) -> None:
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        await fill_with_demo(database, settings, size="small")
        report = await examine(Subject(database=database, settings=settings, disk_usage=lambda _: (1, 0, 10**12)))
    assert without_test_servers(report.findings) == []
