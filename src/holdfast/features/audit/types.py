"""What an audit entry is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class Action(StrEnum):
    """What was done."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    PURGE = "purge"
    APPROVE = "approve"
    REJECT = "reject"
    LOGIN = "login"
    LOGOUT = "logout"
    REVOKE = "revoke"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, as its feature tells it. `old` and `new` hold the changed fields; secrets in them are masked."""

    action: Action
    resource_type: str
    resource_id: str
    label: str | None = None
    old: Mapping[str, Any] | None = None
    new: Mapping[str, Any] | None = None
    description: str | None = None
