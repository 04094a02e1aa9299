"""Giving a user's allow-list rules, open forms and admin seats to another, in the transaction that deletes the user."""

from datetime import datetime

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock
from holdfast.core.errors import InvalidInputError
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.types import UserName
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action, Entry
from holdfast.features.deletions import hand_over_queries as queries
from holdfast.features.deletions.errors import HandOverForbiddenError
from holdfast.features.deletions.types import AdminSeat, HandedRow
from holdfast.features.groups import queries as group_queries
from holdfast.features.groups.members import end_deletions_of_members, member_id, member_label


async def hand_over(tx: Transaction, actor: Actor, *, from_id: str, to_id: str, clock: Clock) -> None:
    """Give all of it; super administrators only. A super administrator's own seat is not among it."""
    if not actor.is_super_admin:
        raise HandOverForbiddenError
    if from_id == to_id:
        raise InvalidInputError("hand_over_to must be another user")
    heir = await accounts.get_user_as_parent(tx, u_id=to_id)
    now = clock()
    entries = await _give_seats(tx, from_id, heir, now)
    entries += await _give_rules(tx, from_id, heir, now)
    entries += await _give_forms(tx, from_id, heir, now)
    await audit.record_all(tx, actor, entries, clock)


async def _give_rules(tx: Transaction, from_id: str, heir: UserName, now: datetime) -> list[Entry]:
    rules = await tx.fetch_all(queries.LOCK_RULES, from_id=from_id)
    if rules:
        await tx.execute(queries.GIVE_RULES, ids=[rule.id for rule in rules], heir_id=heir.u_id, now=_after(rules, now))
    return [_entry("image", "created_by", rule, from_id, heir) for rule in rules]


async def _give_forms(tx: Transaction, from_id: str, heir: UserName, now: datetime) -> list[Entry]:
    forms = await tx.fetch_all(queries.LOCK_OPEN_FORMS, from_id=from_id)
    if forms:
        await tx.execute(queries.GIVE_FORMS, ids=[form.id for form in forms], heir_id=heir.u_id, now=_after(forms, now))
    return [_entry("form", "user_id", form, from_id, heir) for form in forms]


async def _give_seats(tx: Transaction, from_id: str, heir: UserName, now: datetime) -> list[Entry]:
    seats = await tx.fetch_all(queries.LOCK_ADMIN_SEATS, from_id=from_id, heir_id=heir.u_id)
    new = [seat for seat in seats if seat.heir_deletion_id is None]
    former = [seat for seat in seats if seat.heir_deletion_id]
    raised = [seat for seat in seats if seat.heir_deletion_id == "" and seat.heir_role != "admin"]
    await tx.execute_many(
        group_queries.INSERT_MEMBER,
        [{"u_id": heir.u_id, "g_id": seat.g_id, "role": "admin", "created_at": now, "updated_at": now} for seat in new],
    )
    await end_deletions_of_members(tx, [seat.heir_deletion_id or "" for seat in former], now)
    if changed := [*former, *raised]:
        latest = max(next_version(seat.heir_updated_at or now, now) for seat in changed)
        await tx.execute(
            queries.MAKE_ADMIN, u_id=heir.u_id, g_ids=[seat.g_id for seat in changed], new_updated_at=latest
        )
    return [_seat_entry(seat, heir) for seat in (*new, *former, *raised)]


def _after(rows: list[HandedRow], now: datetime) -> datetime:
    return max(next_version(row.updated_at, now) for row in rows)


def _entry(noun: str, column: str, row: HandedRow, from_id: str, heir: UserName) -> Entry:
    return Entry(
        action=Action.UPDATE,
        resource_type=noun,
        resource_id=row.id,
        label=row.label,
        g_id=row.g_id,
        old={column: from_id},
        new={column: heir.u_id},
        description="handed over",
    )


def _seat_entry(seat: AdminSeat, heir: UserName) -> Entry:
    is_member = seat.heir_deletion_id == ""
    return Entry(
        action=Action.UPDATE if is_member else Action.CREATE,
        resource_type="member",
        resource_id=member_id(seat.g_id, heir.u_id),
        label=member_label(heir.username, seat.group_name),
        g_id=seat.g_id,
        old={"role": seat.heir_role} if is_member else None,
        new={"role": "admin"} if is_member else {"u_id": heir.u_id, "g_id": seat.g_id, "role": "admin"},
        description="handed over",
    )
