"""Where two instances share a store, a drill proves what its own instance could bring back."""

from pathlib import Path

import pytest

from holdfast.core.clock import utc_now
from holdfast.db import jobs
from holdfast.db.address import parse_address
from holdfast.db.instance_id import find_instance_id_at
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.backup.types import Manifest
from holdfast.operations.drill import job
from holdfast.operations.drill.service import run_drill
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.factories import make_user
from tests.instance import instance_settings


async def _backed_up(settings: Settings) -> Manifest:
    async with open_database(settings).running() as database:
        return await create_backup(database, settings)


@pytest.fixture
async def two(engine: str, new_database: NewDatabase, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two small instances that share a folder."""
    (tmp_path / "shared").mkdir()
    made = []
    for name in ("one", "other"):
        settings = instance_settings(new_database(engine), tmp_path / name, backup_url=str(tmp_path / "shared"))
        await migrate(parse_address(settings.resolved_database_url))
        async with open_database(settings).running() as database:
            await make_user(database, "admin")
        made.append(settings)
    return made[0], made[1]


async def test_the_job_waits_for_a_backup_of_its_own(two: tuple[Settings, Settings]) -> None:
    one, other = two
    await _backed_up(other)
    async with open_database(one).running() as database:
        with pytest.raises(jobs.PutOffError, match="there is no backup of this instance in"):
            await job.run(database, one, utc_now)


@pytest.mark.slow
async def test_a_drill_takes_the_newest_of_its_own_and_doubts_one_of_another(two: tuple[Settings, Settings]) -> None:
    one, other = two
    mine, theirs = await _backed_up(one), await _backed_up(other)
    own = await find_instance_id_at(parse_address(one.resolved_database_url))
    report = await run_drill(one)
    assert report.passed, report.doubts
    assert report.backup_id == mine.id
    report = await run_drill(one, backup=theirs.id)
    assert [(each.step, each.message) for each in report.doubts] == [
        ("backup", f"backup {theirs.id} is of another instance: it proves nothing of what this one could lose")
    ]
    # The scratch copy was that instance for as long as it lasted, and this one never.
    assert await find_instance_id_at(parse_address(one.resolved_database_url)) == own == mine.instance
