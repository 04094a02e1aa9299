"""What a workload is, as callers see it."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable


class Workload(Deletable, frozen=True):
    """A workload with the names of its owner and project. `has_gpu` says whether it asks for any GPU."""

    id: str
    user_id: str
    username: str
    full_name: str | None
    project_id: str
    project_name: str
    name: str
    namespace: str
    image: str
    status: str
    k8s_pod_name: str
    priority: int
    resource_cpu: str | None
    resource_mem: str | None
    resource_gpu: int | None
    has_gpu: bool
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None


class WorkloadAccess(msgspec.Struct, frozen=True):
    """What decides over a workload, and what a change may change."""

    id: str
    user_id: str
    project_id: str
    name: str
    status: str
    priority: int
    resource_cpu: str | None
    resource_mem: str | None
    resource_gpu: int | None
    started_at: datetime | None
    updated_at: datetime
    g_id: str
    actor_role: str | None
