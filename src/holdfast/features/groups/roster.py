"""Importing a roster: accounts, memberships and roles of a course, all of it or nothing.

It has three steps, because passwords are hashed outside of transactions: `plan_roster` (reading), `make_passwords` (no
transaction), `import_roster` (writing), which plans anew under its locks. Each runs a fixed number of statements,
however many lines there are; importing the same roster again changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfast.core.actor import Actor, require_scope
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.core.ids import new_short_id
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import UniqueViolationError
from holdfast.db.statements import Query
from holdfast.features.accounts import passwords
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import username_problem
from holdfast.features.accounts.types import RosterUser
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action, Entry
from holdfast.features.groups import policy, queries
from holdfast.features.groups import service as groups
from holdfast.features.groups.errors import GroupForbiddenError, RosterChangedError, RosterRefusedError
from holdfast.features.groups.members import end_deletions_of_members, member_id, member_label
from holdfast.features.groups.roster_plan import Joining, RosterPlan, clean_rows, find_form_errors, make_plan
from holdfast.features.groups.types import GroupAccess, RosterResult, RosterRow

MOST_ROWS = 5000
# Passwords that people chose need the slow hash: 500 of them take ten seconds of a core.
_MOST_GIVEN_PASSWORDS = 500


class MadePasswords(msgspec.Struct, frozen=True):
    """By user name: the hash of each new account's password, and those passwords that were generated."""

    hashes: dict[str, str]
    generated: dict[str, str]


async def plan_roster(tx: Transaction, actor: Actor, g_id: str, rows: Sequence[RosterRow]) -> RosterPlan:
    """What an import would change; `RosterRefusedError` names every line that cannot be imported."""
    group = await groups.get_access(tx, actor, g_id)
    return await _plan(tx, actor, group, rows, account_queries.ROSTER_USERS)


async def make_passwords(plan: RosterPlan) -> MadePasswords:
    """Hash the passwords of the accounts to be made, and generate those that the roster does not give."""
    given = {row.username: row.password for row in plan.new_users if row.password is not None}
    generated = {row.username: passwords.new_first_password() for row in plan.new_users if row.password is None}
    hashes = [
        *await passwords.hash_passwords(list(given.values())),
        *await passwords.hash_first_passwords(list(generated.values())),
    ]
    return MadePasswords(hashes=dict(zip([*given, *generated], hashes, strict=True)), generated=generated)


async def import_roster(
    tx: Transaction,
    actor: Actor,
    g_id: str,
    rows: Sequence[RosterRow],
    made: MadePasswords,
    *,
    clock: Clock = utc_now,
) -> RosterResult:
    """Import a roster: admins of the group, and for new accounts super administrators.

    Where accounts came or went since the passwords were made, nothing is stored and the caller tries again.
    """
    group = await groups.get_access_alone(tx, actor, g_id)
    plan = await _plan(tx, actor, group, rows, account_queries.ROSTER_USERS_ALONE)
    new_names = [row.username for row in plan.new_users]
    if not made.hashes.keys() >= set(new_names):
        raise RosterChangedError
    now = clock()
    new_ids = await _insert_users(tx, plan.new_users, made, now)
    await _update_profiles(tx, plan, now)
    await _add_members(tx, g_id, plan.joining, new_ids, now)
    await _change_roles(tx, g_id, plan, now)
    await audit.record_all(tx, actor, _entries(plan, group, new_ids), clock)
    shown = {name: made.generated[name] for name in new_names if name in made.generated}
    return plan.result(dry_run=False, first_passwords=shown)


async def _plan(
    tx: Transaction, actor: Actor, group: GroupAccess, rows: Sequence[RosterRow], users_query: Query[RosterUser]
) -> RosterPlan:
    groups.require_admin(actor, group)
    if policy.is_super(group.g_id):
        raise GroupForbiddenError("super administrators are named one by one, not by a roster")
    rows = clean_rows(rows)
    _require_size(rows)
    errors = find_form_errors(rows)
    # Only names that can be names are looked up: a NUL among them would be an error of the database.
    names = [row.username for row in rows if username_problem(row.username) is None]
    users = await tx.fetch_all(users_query, usernames=names)
    u_ids = [user.u_id for user in users]
    memberships = await tx.fetch_all(queries.MEMBERSHIPS_INCLUDE_DELETED, g_id=group.g_id, u_ids=u_ids)
    plan, more_errors = make_plan(actor, rows, users, memberships)
    if all_errors := sorted([*errors, *more_errors], key=lambda error: error.line):
        first = all_errors[0]
        mistakes = "1 mistake" if len(all_errors) == 1 else f"{len(all_errors)} mistakes"
        raise RosterRefusedError(
            f"{mistakes}, nothing was stored; line {first.line}, {first.field}: {first.reason}",
            errors=all_errors,
        )
    if plan.new_users or plan.profile_changes:
        require_scope(actor, "users", "write")
    return plan


def _require_size(rows: Sequence[RosterRow]) -> None:
    if len(rows) > MOST_ROWS:
        raise InvalidInputError(f"a roster can have at most {MOST_ROWS} lines; import it in parts")
    if sum(row.password is not None for row in rows) > _MOST_GIVEN_PASSWORDS:
        raise InvalidInputError(
            f"a roster can give at most {_MOST_GIVEN_PASSWORDS} passwords; leave them out and they are generated"
        )


async def _insert_users(
    tx: Transaction, rows: Iterable[RosterRow], made: MadePasswords, now: datetime
) -> dict[str, str]:
    """The ids of the new accounts by user name."""
    ids = {row.username: new_short_id() for row in rows}
    values = [
        {
            "u_id": ids[row.username],
            "username": row.username,
            "password": made.hashes[row.username],
            "email": row.email,
            "full_name": row.full_name,
            "type": "origin",
            "status": "offline",
            "must_change_password": True,
            "created_at": now,
            "updated_at": now,
        }
        for row in rows
    ]
    try:
        await tx.execute_many(account_queries.INSERT_USER, values)
    except UniqueViolationError as error:
        raise RosterChangedError from error
    return ids


async def _update_profiles(tx: Transaction, plan: RosterPlan, now: datetime) -> None:
    await tx.execute_many(
        account_queries.UPDATE_PROFILE,
        [
            {
                "u_id": change.user.u_id,
                "new_email": change.new.get("email", change.user.email),
                "new_full_name": change.new.get("full_name", change.user.full_name),
                "new_updated_at": next_version(change.user.updated_at, now),
            }
            for change in plan.profile_changes
        ],
    )


async def _add_members(
    tx: Transaction, g_id: str, joining: Sequence[Joining], new_ids: dict[str, str], now: datetime
) -> None:
    values = [
        {"u_id": _id_of(each, new_ids), "g_id": g_id, "role": each.role, "created_at": now, "updated_at": now}
        for each in joining
        if each.former is None
    ]
    await tx.execute_many(queries.INSERT_MEMBER, values)
    former_by_role: dict[str, list[tuple[str, datetime]]] = {}
    ended = {each.former.deletion_id for each in joining if each.former is not None}
    await end_deletions_of_members(tx, sorted(ended), now)
    for each in joining:
        if each.former is not None:
            former_by_role.setdefault(each.role, []).append((each.former.u_id, each.former.updated_at))
    for role, former in former_by_role.items():
        joined_at = max(next_version(updated_at, now) for _, updated_at in former)
        await tx.execute(
            queries.REVIVE_MEMBERS,
            g_id=g_id,
            u_ids=[u_id for u_id, _ in former],
            new_role=role,
            new_created_at=joined_at,
            new_updated_at=joined_at,
        )


async def _change_roles(tx: Transaction, g_id: str, plan: RosterPlan, now: datetime) -> None:
    by_role: dict[str, list[tuple[str, datetime]]] = {}
    for change in plan.role_changes:
        by_role.setdefault(change.role, []).append((change.membership.u_id, change.membership.updated_at))
    for role, members in by_role.items():
        await tx.execute(
            queries.SET_ROLE,
            g_id=g_id,
            u_ids=[u_id for u_id, _ in members],
            new_role=role,
            new_updated_at=max(next_version(updated_at, now) for _, updated_at in members),
        )


def _id_of(joining: Joining, new_ids: dict[str, str]) -> str:
    return new_ids[joining.username] if joining.user is None else joining.user.u_id


def _entries(plan: RosterPlan, group: GroupAccess, new_ids: dict[str, str]) -> list[Entry]:
    entries: list[Entry] = []

    def add(action: Action, resource_type: str, resource_id: str, **more: Any) -> None:
        entries.append(
            Entry(
                action=action,
                resource_type=resource_type,
                resource_id=resource_id,
                description="imported from a roster",
                **more,
            )
        )

    for row in plan.new_users:
        profile = {"username": row.username, "full_name": row.full_name, "email": row.email}
        add(Action.CREATE, "user", new_ids[row.username], label=row.username, new=profile)
    for change in plan.profile_changes:
        old = {name: getattr(change.user, name) for name in change.new}
        add(Action.UPDATE, "user", change.user.u_id, label=change.user.username, old=old, new=change.new)
    for joining in plan.joining:
        u_id = _id_of(joining, new_ids)
        new = {"u_id": u_id, "g_id": group.g_id, "role": joining.role}
        label = member_label(joining.username, group.group_name)
        add(Action.CREATE, "member", member_id(group.g_id, u_id), label=label, g_id=group.g_id, new=new)
    for role_change in plan.role_changes:
        add(
            Action.UPDATE,
            "member",
            member_id(group.g_id, role_change.membership.u_id),
            label=member_label(role_change.username, group.group_name),
            g_id=group.g_id,
            old={"role": role_change.membership.role},
            new={"role": role_change.role},
        )
    return entries
