"""The entries of what the doctor changed, written in the transaction of the change itself."""

from typing import Any

from holdfast.db.engines.base import Transaction
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions.system_actor import get_system_actor
from holdfast.operations.doctor.types import Change, Subject

RESOURCE_TYPE = "doctor"


async def record(tx: Transaction, subject: Subject, change: Change, **facts: Any) -> None:
    """One entry for a change, by the service itself: whoever runs commands on the server may do this."""
    await audit.record(
        tx,
        await get_system_actor(tx),
        Action.UPDATE,
        RESOURCE_TYPE,
        change.check,
        label=change.table,
        new={"table": change.table, "rows": change.rows, **facts},
        description=change.done,
        clock=subject.clock,
    )
