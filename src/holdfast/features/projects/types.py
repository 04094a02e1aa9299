"""What a project is, as callers see it, and what projects hand to other features."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable


class ProjectSummary(Deletable, frozen=True):
    """A project as it stands in a list."""

    p_id: str
    project_name: str
    description: str | None
    g_id: str
    group_name: str
    gpu_quota: int
    allow_privileged: bool
    deletion_protected: bool
    created_at: datetime
    updated_at: datetime


class Project(Deletable, frozen=True):
    """One project. `gpus_in_use` counts what its pending and running workloads asked for."""

    p_id: str
    project_name: str
    description: str | None
    g_id: str
    group_name: str
    gpu_quota: int
    allow_privileged: bool
    deletion_protected: bool
    created_at: datetime
    updated_at: datetime
    gpus_in_use: int
    config_file_count: int


class ProjectAccess(msgspec.Struct, frozen=True):
    """A live project as a caller meets it: `actor_role` is the caller's role in its group, or None outside it."""

    p_id: str
    project_name: str
    g_id: str
    gpu_quota: int
    allow_privileged: bool
    actor_role: str | None


class ProjectForChange(msgspec.Struct, frozen=True):
    """As `ProjectAccess`, with all that a change of the project compares."""

    p_id: str
    project_name: str
    description: str | None
    g_id: str
    gpu_quota: int
    allow_privileged: bool
    deletion_protected: bool
    updated_at: datetime
    actor_role: str | None


class OwningGroup(msgspec.Struct, frozen=True):
    """A live group under which a project is made; `actor_role` is the caller's role in it."""

    g_id: str
    group_name: str
    actor_role: str | None
