"""The drill as a periodic job of the cluster."""

import msgspec

from holdfast.core.clock import Clock
from holdfast.db import jobs
from holdfast.db.engines.base import Database
from holdfast.operations.backup.errors import NoSuchBackupError
from holdfast.operations.drill.service import run_drill_as_job
from holdfast.settings import Settings

_SECONDS_UNTIL_A_BACKUP = 3600


async def run(database: Database, settings: Settings, clock: Clock) -> jobs.Done:
    """Prove the newest backup. Doubts are raised; where there is no backup yet, it waits for one."""
    try:
        report = await run_drill_as_job(database, settings, clock)
    except NoSuchBackupError as error:
        raise jobs.PutOffError(error.message, seconds=_SECONDS_UNTIL_A_BACKUP) from error
    return jobs.Done(detail=msgspec.to_builtins(report))
