"""Groups and members, as callers see them."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable, UnfrozenDeletable

# The roles that see to the work of others.
STAFF_ROLES = ("admin", "manager")


class MemberName(msgspec.Struct, frozen=True):
    """A member within a group that lists its members."""

    g_id: str
    u_id: str
    username: str
    full_name: str | None
    role: str


class Group(UnfrozenDeletable):
    """A group with the numbers of its members and projects; `role` is the caller's own in it, or null.

    `members` are there where they were asked for. It is not frozen, because a list attaches them afterwards.
    """

    g_id: str
    group_name: str
    description: str | None
    deletion_protected: bool
    created_at: datetime
    updated_at: datetime
    member_count: int
    project_count: int
    role: str | None
    members: list[MemberName] | msgspec.UnsetType = msgspec.UNSET


class GroupAccess(msgspec.Struct, frozen=True):
    """A live group as a caller meets it: `actor_role` is the caller's role in it, or None outside it."""

    g_id: str
    group_name: str
    description: str | None
    deletion_protected: bool
    updated_at: datetime
    actor_role: str | None


class Member(Deletable, frozen=True):
    """A user in a group, with their role."""

    u_id: str
    g_id: str
    username: str
    full_name: str | None
    role: str
    created_at: datetime
    updated_at: datetime


class Membership(msgspec.Struct, frozen=True):
    """A row of a user in a group, deleted or live."""

    u_id: str
    role: str
    updated_at: datetime
    deletion_id: str


class UserGroup(msgspec.Struct, frozen=True):
    """A group that a user is in, with their role; `created_at` is when they joined."""

    g_id: str
    group_name: str
    description: str | None
    role: str
    created_at: datetime


class RosterRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a roster. Without `role` a new member becomes `user` and another keeps theirs.

    `password` is for accounts that the import makes; without it one is generated. Existing users keep theirs.
    """

    line: int
    username: str
    full_name: str | None = None
    email: str | None = None
    role: str | None = None
    password: str | None = None


class RowError(msgspec.Struct, frozen=True):
    """Why a line cannot be imported."""

    line: int
    field: str
    reason: str


class AddedMember(msgspec.Struct, frozen=True):
    """Somebody who joined the group."""

    username: str
    role: str


class ChangedRole(msgspec.Struct, frozen=True):
    """Somebody whose role changed."""

    username: str
    old: str
    new: str


class RosterResult(msgspec.Struct, frozen=True):
    """What an import changed, or would change when dry.

    Those in `created_users` are new accounts and among `added_members`, too. `first_passwords` holds the generated
    passwords by user name; they are shown this once, and must be changed at the first sign-in.
    """

    dry_run: bool
    created_users: list[str]
    added_members: list[AddedMember]
    changed_roles: list[ChangedRole]
    updated_users: list[str]
    unchanged: int
    first_passwords: dict[str, str]


class FirstStart(msgspec.Struct, frozen=True):
    """What the first start made. `generated_password` is None where a setting gave it."""

    username: str
    generated_password: str | None
