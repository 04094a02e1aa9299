"""The doctor for super administrators: ask for an examination, and read what the newest one found."""

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError
from holdfast.db import jobs, runs
from holdfast.db.engines.base import Transaction
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.operations.doctor.types import RUN, Report

EXAMINE_JOB = "doctor.examine"


class DoctorForbiddenError(ForbiddenError):
    """Only super administrators see what the doctor finds."""

    code = "doctor_forbidden"


class NeverExaminedError(NotFoundError):
    """No examination has ended yet."""

    code = "never_examined"


class ExaminationPendingError(ConflictError):
    """An examination that was asked for has not ended."""

    code = "examination_pending"


class ExaminationAsked(msgspec.Struct, frozen=True):
    """An examination that a worker will make."""

    job_id: str


async def request_examination(tx: Transaction, actor: Actor, *, clock: Clock = utc_now) -> ExaminationAsked:
    """Ask for an examination, as a job."""
    _require_super_admin(actor)
    if await jobs.is_pending(tx, EXAMINE_JOB):
        raise ExaminationPendingError("an examination is asked for already: read its report when a worker has made it")
    job_id = await jobs.enqueue(tx, EXAMINE_JOB, {}, clock=clock)
    await audit.record(tx, actor, Action.CREATE, "examination", job_id, description="asked for", clock=clock)
    return ExaminationAsked(job_id=job_id)


async def get_report(tx: Transaction, actor: Actor) -> Report:
    """What the newest examination found, whoever asked for it."""
    _require_super_admin(actor)
    run = await runs.find_latest_done(tx, RUN)
    if run is None or run.detail is None:
        raise NeverExaminedError("there is no report yet: ask for an examination, or run `holdfast doctor`")
    return msgspec.json.decode(run.detail, type=Report)


def _require_super_admin(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise DoctorForbiddenError("only super administrators see what the doctor finds")
