"""Who may do what with a workload, and what may become of it (spec: behaviour.md, Roles and Course workloads)."""

from holdfast.core.actor import Actor
from holdfast.db.tables.workloads import STATUSES_HOLDING_GPUS
from holdfast.features.groups.policy import is_staff
from holdfast.features.workloads.types import WorkloadAccess

FINISHED = frozenset({"Succeeded", "Failed"})

# What the cluster lost sight of may turn up in any state; what has ended stays so.
FOLLOWING = {
    "Pending": frozenset({"Running", "Succeeded", "Failed", "Unknown"}),
    "Running": frozenset({"Succeeded", "Failed", "Unknown"}),
    "Unknown": frozenset({"Pending", "Running", "Succeeded", "Failed"}),
    "Succeeded": frozenset[str](),
    "Failed": frozenset[str](),
}


def can_see(actor: Actor, workload: WorkloadAccess) -> bool:
    """The members of the project's group, and super administrators."""
    return actor.is_super_admin or workload.actor_role is not None


def can_change(actor: Actor, workload: WorkloadAccess) -> bool:
    """Its owner, the managers and admins of the project's group, and super administrators."""
    return actor.is_super_admin or workload.user_id == actor.user_id or is_staff(workload.actor_role)


def gpus_held(status: str, resource_gpu: int | None) -> int:
    """How many GPUs of the quota a workload takes in a status."""
    return (resource_gpu or 0) if status in STATUSES_HOLDING_GPUS else 0
