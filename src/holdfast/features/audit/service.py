"""Recording changes, and reading the record."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.pages import Page, PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.features.audit import queries
from holdfast.features.audit.errors import AuditForbiddenError
from holdfast.features.audit.types import Action, AuditEntry, Entry

MASK = "***"
_SECRET_WORDS = ("password", "token", "secret")
_LONGEST_VALUE = 2000
_LONGEST_LABEL = 255


async def record(
    tx: Transaction,
    actor: Actor,
    action: Action,
    resource_type: str,
    resource_id: str,
    *,
    label: str | None = None,
    g_id: str | None = None,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    description: str | None = None,
    clock: Clock = utc_now,
) -> None:
    """Write one entry in the transaction of the change itself, with its other inserts where there are any."""
    entry = Entry(
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        label=label,
        g_id=g_id,
        old=old,
        new=new,
        description=description,
    )
    tx.insert_later(queries.INSERT_ENTRY, **_row(actor, entry, clock))


async def record_all(tx: Transaction, actor: Actor, entries: Iterable[Entry], clock: Clock = utc_now) -> None:
    """Write many entries in one go, for changes made in one go."""
    await tx.execute_many(queries.INSERT_ENTRY, [_row(actor, entry, clock) for entry in entries])


async def list_entries(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[AuditEntry]:
    """The log, newest first: all of it for super administrators, a group's for its admins, nothing for others."""
    if actor.is_super_admin:
        return await queries.ENTRIES.fetch_page(tx, page, cursor_key=cursor_key, **filters)
    if not await tx.fetch_count(queries.IS_GROUP_ADMIN, actor_id=actor.user_id):
        raise AuditForbiddenError
    return await queries.ENTRIES.fetch_page(
        tx, page, scope="administered", cursor_key=cursor_key, actor_id=actor.user_id, **filters
    )


def _row(actor: Actor, entry: Entry, clock: Clock) -> dict[str, Any]:
    return {
        "user_id": actor.user_id,
        "actor_name": actor.username,
        "action": str(entry.action),
        "resource_type": entry.resource_type,
        "resource_id": entry.resource_id,
        "resource_label": None if entry.label is None else entry.label[:_LONGEST_LABEL],
        "g_id": entry.g_id,
        "old_data": _masked(entry.old),
        "new_data": _masked(entry.new),
        "ip_address": actor.address,
        "user_agent": actor.user_agent,
        "description": entry.description,
        "created_at": clock(),
    }


def _masked(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The fields with secrets masked and long texts cut, so that the log neither leaks nor swells."""
    if fields is None:
        return None
    masked: dict[str, Any] = {}
    for name, value in fields.items():
        if not isinstance(value, str):
            masked[name] = value
        elif _is_secret(name):
            masked[name] = MASK
        elif len(value) > _LONGEST_VALUE:
            masked[name] = f"{value[:_LONGEST_VALUE]}… ({len(value)} characters)"
        else:
            masked[name] = value
    return masked


@lru_cache(maxsize=1000)
def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRET_WORDS)
