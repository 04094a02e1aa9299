"""What an audit entry is."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

JsonValue = Any  # msgspec.Raw as read from the database: passed on as it was written


class Action(StrEnum):
    """What was done."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"
    RECOVER = "recover"
    APPROVE = "approve"
    REJECT = "reject"
    LOGIN = "login"
    LOGOUT = "logout"
    REVOKE = "revoke"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, as its feature tells it.

    `g_id` is the group that owns the object. `old` and `new` hold the changed fields; secrets in them are masked.
    """

    action: Action
    resource_type: str
    resource_id: str
    label: str | None = None
    g_id: str | None = None
    old: Mapping[str, Any] | None = None
    new: Mapping[str, Any] | None = None
    description: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One row of the log. The names in it are those of the moment it was written."""

    id: int
    user_id: str
    actor_name: str
    action: str
    resource_type: str
    resource_id: str
    resource_label: str | None
    g_id: str | None
    old_data: JsonValue
    new_data: JsonValue
    ip_address: str | None
    user_agent: str | None
    description: str | None
    created_at: datetime
