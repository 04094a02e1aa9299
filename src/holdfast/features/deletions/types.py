"""What plans, deletions and restores are, as callers see them."""

from datetime import datetime

import msgspec

from holdfast.db.lifecycle.trash import Renamed


class Item(msgspec.Struct, frozen=True):
    """A thing that a plan or an error names."""

    type: str
    id: str
    label: str


class Decision(msgspec.Struct, frozen=True):
    """Something that the caller must decide about. `items` names the first 20 of `count`.

    `kind`: `enabled-rules`, `last-admin` or `running-workloads`.
    """

    kind: str
    count: int
    message: str
    items: list[Item]


class PlanNode(msgspec.Struct, frozen=True):
    """A kind of thing that goes, with what hangs on it. `label` says what they are; that of the root is its name."""

    type: str
    label: str
    count: int
    children: list["PlanNode"]


class DeletionPlan(msgspec.Struct, frozen=True):
    """What a deletion would do, in rows per table; zeros are left out.

    `counts` go now, the root among them. `at_purge` go at the purge (audit rows), when `set_null` columns lose their
    pointer. `protected` names the first 20 things that stand against it. `token` is good while the numbers stay.
    """

    token: str
    root: Item
    counts: dict[str, int]
    set_null: dict[str, int]
    already_deleted: dict[str, int]
    at_purge: dict[str, int]
    decisions: list[Decision]
    protected: list[Item]
    tree: PlanNode


class Deleted(msgspec.Struct, frozen=True):
    """What was deleted, in rows per table; the id restores it."""

    deletion_id: str
    counts: dict[str, int]


class Restored(msgspec.Struct, frozen=True):
    """What came back, in rows per table: nothing where it had come back before.

    `renamed` lists those that needed another name, by table and id.
    """

    deletion_id: str
    counts: dict[str, int]
    renamed: list[Renamed] = []


class DeletionRow(msgspec.Struct):
    """A deletion. `state` is `deleted`, `restored`, `purging`, `purged` or `failed` (`failure` says why).

    `planned_counts` are the rows that it took; once its purge removes rows, all that the purge takes, with what lay
    deleted beneath. `actual_counts` are those that it has marked, then those that it has removed. `removed_counts` are
    what is gone for good, and null where nothing is, or where the database's own procedure is at it, which keeps no
    count.

    `purge_after` is when retention may remove it. `purged_with` is the deletion above it that took its last rows.
    `bundle_path` is for super administrators. It is not frozen, because that is taken out for others.
    """

    id: str
    root_type: str
    root_id: str
    root_label: str | None
    actor_id: str
    actor_name: str
    reason: str | None
    state: str
    planned_counts: dict[str, int]
    actual_counts: dict[str, int] | None
    removed_counts: dict[str, int] | None
    set_null_counts: dict[str, int] | None
    bundle_path: str | None
    bundle_sha256: str | None
    bundle_verified_at: datetime | None
    purge_after: datetime | None
    failure: str | None
    purged_with: str | None
    created_at: datetime
    updated_at: datetime


class RootAccess(msgspec.Struct, frozen=True):
    """What decides over a root: whose it is, and the caller's role in the group that owns it.

    `parent_id` is what its path names above it. `viewer_id` is somebody else who may see it. `status` is an image
    request's status, or a member's role. For a user, `actor_role` is `admin` where the caller administers a group that
    they are in.
    """

    label: str
    parent_id: str | None
    updated_at: datetime | None
    g_id: str | None
    owner_id: str | None
    viewer_id: str | None
    actor_role: str | None
    status: str | None


class CountedItem(msgspec.Struct, frozen=True):
    """One of `total` rows that a decision or a protection is about."""

    id: str
    label: str
    total: int


class QuotaConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A project whose quota does not hold the workloads that a restore would bring back."""

    kind: str = "quota"
    table: str = "project_list"
    key: str
    label: str
    message: str


class RuleConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A config file that would come back to a project whose rules forbid it now."""

    kind: str = "rule"
    table: str = "config_files"
    key: str
    label: str
    message: str


class PurgedSince(msgspec.Struct, frozen=True):
    """A deletion that was purged, and the rows per table that it took."""

    id: str
    root_type: str
    root_label: str | None
    planned_counts: msgspec.Raw


class ReturningFile(msgspec.Struct, frozen=True):
    """A config file of a deletion, and the live project that it belongs to, which allows nothing privileged."""

    cf_id: str
    filename: str
    content: str
    project_name: str


class ProjectQuota(msgspec.Struct, frozen=True):
    """A live project and the GPUs that it may use."""

    p_id: str
    project_name: str
    gpu_quota: int


class GpuSum(msgspec.Struct, frozen=True):
    """The GPUs that workloads of a project hold."""

    project_id: str
    gpus: int


class HandedRow(msgspec.Struct, frozen=True):
    """A rule or a form that changes hands."""

    id: str
    label: str
    g_id: str | None
    updated_at: datetime


class AdminSeat(msgspec.Struct, frozen=True):
    """A group that a user administers, and what the heir is in it; `heir_deletion_id` is not empty where they were."""

    g_id: str
    group_name: str
    heir_role: str | None
    heir_deletion_id: str | None
    heir_updated_at: datetime | None


class RowId(msgspec.Struct, frozen=True):
    """The key of a row."""

    id: str
