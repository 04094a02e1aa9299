"""What a roster changes: its lines held against the accounts and members that are there. No statement runs here."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from holdfast.core.actor import Actor
from holdfast.db.tables.groups import ROLES
from holdfast.features.accounts.rules import email_problem, full_name_problem, password_problem, username_problem
from holdfast.features.accounts.types import RosterUser
from holdfast.features.groups import policy
from holdfast.features.groups.types import AddedMember, ChangedRole, Membership, RosterResult, RosterRow, RowError


class Joining(msgspec.Struct, frozen=True):
    """Somebody who joins. `user` is None for a new account; `former` is their deleted row, which comes back."""

    username: str
    role: str
    user: RosterUser | None
    former: Membership | None


class RoleChange(msgspec.Struct, frozen=True):
    """A member whose role changes."""

    username: str
    membership: Membership
    role: str


class ProfileChange(msgspec.Struct, frozen=True):
    """A user whose name or address changes; `new` holds the changed fields alone."""

    user: RosterUser
    new: dict[str, str]


class RosterPlan(msgspec.Struct, frozen=True):
    """All that an import does."""

    new_users: list[RosterRow]
    joining: list[Joining]
    role_changes: list[RoleChange]
    profile_changes: list[ProfileChange]
    unchanged: int

    def result(self, *, dry_run: bool, first_passwords: Mapping[str, str]) -> RosterResult:
        """What the caller is told."""
        return RosterResult(
            dry_run=dry_run,
            created_users=[row.username for row in self.new_users],
            added_members=[AddedMember(each.username, each.role) for each in self.joining],
            changed_roles=[ChangedRole(each.username, each.membership.role, each.role) for each in self.role_changes],
            updated_users=[each.user.username for each in self.profile_changes],
            unchanged=self.unchanged,
            first_passwords=dict(first_passwords),
        )


def clean_rows(rows: Iterable[RosterRow]) -> list[RosterRow]:
    """The rows without the spaces around their fields; fields that are empty then are not there."""

    def clean(text: str | None) -> str | None:
        return (text or "").strip() or None

    return [
        RosterRow(
            line=row.line,
            username=row.username.strip(),
            full_name=clean(row.full_name),
            email=clean(row.email),
            role=clean(row.role),
            password=row.password or None,
        )
        for row in rows
    ]


def find_form_errors(rows: Sequence[RosterRow]) -> list[RowError]:
    """What is wrong with the lines alone, before anything is looked up."""
    errors: list[RowError] = []
    first_lines: dict[str, int] = {}
    for row in rows:
        for field, value, problem_of in _checks(row):
            problem = None if value is None else problem_of(value)
            if problem is not None:
                errors.append(RowError(row.line, field, problem))
        if row.username in first_lines:
            errors.append(RowError(row.line, "username", f"stands in line {first_lines[row.username]} already"))
        first_lines.setdefault(row.username, row.line)
    return errors


def make_plan(
    actor: Actor, rows: Sequence[RosterRow], users: Iterable[RosterUser], memberships: Iterable[Membership]
) -> tuple[RosterPlan, list[RowError]]:
    """The plan, and the lines that the present accounts and members, or the actor's rights, do not allow."""
    users_by_name = {user.username: user for user in users}
    membership_by_user = {membership.u_id: membership for membership in memberships}
    plan = RosterPlan(new_users=[], joining=[], role_changes=[], profile_changes=[], unchanged=0)
    errors: list[RowError] = []
    unchanged = 0
    for row in rows:
        user = users_by_name.get(row.username)
        membership = None if user is None else membership_by_user.get(user.u_id)
        error = _right_error(actor, row, user, membership)
        if error is not None:
            errors.append(error)
        elif not _add_changes(plan, actor, row, user, membership):
            unchanged += 1
    return msgspec.structs.replace(plan, unchanged=unchanged), errors


def _checks(row: RosterRow) -> list[tuple[str, str | None, Callable[[str], str | None]]]:
    return [
        ("username", row.username, username_problem),
        ("full_name", row.full_name, full_name_problem),
        ("email", row.email, email_problem),
        ("role", row.role, _role_problem),
        ("password", row.password, password_problem),
    ]


def _role_problem(role: str) -> str | None:
    return None if role in ROLES else f"must be one of {', '.join(ROLES)}"


def _right_error(
    actor: Actor, row: RosterRow, user: RosterUser | None, membership: Membership | None
) -> RowError | None:
    if user is None and not actor.is_super_admin:
        return RowError(row.line, "username", "there is no such user, and only super administrators make accounts")
    if user is not None and user.status == "delete":
        return RowError(row.line, "username", "this account is disabled")
    old = membership.role if membership is not None and not membership.deletion_id else None
    if row.role is not None and not policy.can_set_role(actor, old, row.role):
        return RowError(row.line, "role", "only super administrators give or take the role admin")
    return None


def _add_changes(
    plan: RosterPlan, actor: Actor, row: RosterRow, user: RosterUser | None, membership: Membership | None
) -> bool:
    """Whether the line changes anything."""
    changed = False
    if user is None:
        plan.new_users.append(row)
    elif actor.is_super_admin and (new := _profile_difference(row, user)):
        plan.profile_changes.append(ProfileChange(user, new))
        changed = True
    if membership is None or membership.deletion_id:
        plan.joining.append(Joining(row.username, row.role or "user", user, membership))
        changed = True
    elif row.role is not None and row.role != membership.role:
        plan.role_changes.append(RoleChange(row.username, membership, row.role))
        changed = True
    return changed


def _profile_difference(row: RosterRow, user: RosterUser) -> dict[str, str]:
    wanted = {"full_name": row.full_name, "email": row.email}
    return {name: value for name, value in wanted.items() if value is not None and value != getattr(user, name)}
