"""/audit-logs: what was done, by whom, to what."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from holdfast.api.deps import (
    ApiRequest,
    CursorText,
    Door,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    page_of,
    settings_of,
)
from holdfast.api.types import FilterId, FilterText
from holdfast.core.errors import InvalidInputError
from holdfast.core.pages import Page
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import AuditEntry

_door = Door("audit")
_MAX_LIMIT = 1000
_MOMENT = {"format": "date-time"}


@get("/", summary="The audit log, newest first; up to 1000 rows a page")
async def list_audit_logs(
    request: ApiRequest,
    user_id: FilterId = None,
    actor: FilterText = None,
    action: FilterText = None,
    resource_type: FilterText = None,
    resource_id: FilterText = None,
    g_id: FilterId = None,
    since: Annotated[str | None, QueryParameter(name="from", description="Inclusive.", schema_extra=_MOMENT)] = None,
    until: Annotated[str | None, QueryParameter(name="to", description="Exclusive.", schema_extra=_MOMENT)] = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[AuditEntry]:
    asked = page_of(page, limit, sort, cursor, total, max_limit=_MAX_LIMIT)
    filters: dict[str, Any] = {
        "user_id": user_id,
        "actor_name": actor,
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "g_id": g_id,
        "since": _moment("from", since),
        "until": _moment("to", until),
    }
    key = settings_of(request).cursor_key
    return await _door.read(request, lambda tx, who: audit.list_entries(tx, who, asked, cursor_key=key, **filters))


def _moment(name: str, text: str | None) -> datetime | None:
    """Read here and not by the framework, which takes a number for seconds since 1970."""
    if text is None:
        return None
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError(
            f"{name} must be a time with its offset from UTC, as in 2026-03-01T12:00:00Z (RFC 3339; write + as %2B)"
        )
    return moment


router = Router("/audit-logs", route_handlers=[list_audit_logs], tags=["audit"])
