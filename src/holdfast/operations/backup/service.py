"""What super administrators see and ask of backups through the API."""

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError, ForbiddenError
from holdfast.db import jobs
from holdfast.db.engines.base import Transaction
from holdfast.db.instance_id import find_instance_id
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.operations.backup.types import ASKED_RUN, BackupSummary


class BackupsForbiddenError(ForbiddenError):
    """Backups hold everything, and so are for super administrators."""

    code = "backups_forbidden"

    def __init__(self) -> None:
        super().__init__("only super administrators see and ask for backups")


class BackupAskedError(ConflictError):
    """One is asked for already."""

    code = "backup_asked_already"


class Backups(msgspec.Struct, frozen=True):
    """The backups of the store, the newest first."""

    store: str
    items: list[BackupSummary]


class BackupAsked(msgspec.Struct, frozen=True):
    """The job that makes the backup."""

    job_id: str


async def require_reader(tx: Transaction, actor: Actor) -> None:
    """Refuse whoever is no super administrator."""
    if not actor.is_super_admin:
        raise BackupsForbiddenError


async def read_instance(tx: Transaction, actor: Actor) -> str | None:
    """As which instance the list is read; refuses whoever is no super administrator."""
    await require_reader(tx, actor)
    return await find_instance_id(tx)


async def request_backup(tx: Transaction, actor: Actor, clock: Clock = utc_now) -> BackupAsked:
    """Ask for a backup, as a job."""
    await require_reader(tx, actor)
    if await jobs.is_pending(tx, ASKED_RUN):
        raise BackupAskedError("a backup is asked for already, and not done")
    job_id = await jobs.enqueue(tx, ASKED_RUN, {}, clock=clock)
    await audit.record(tx, actor, Action.CREATE, "backup", job_id, description="backup asked for", clock=clock)
    return BackupAsked(job_id=job_id)
