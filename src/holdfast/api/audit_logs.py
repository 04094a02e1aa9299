"""/audit-logs: what was done, by whom, to what."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from holdfast.api.deps import ApiRequest, CursorText, Door, PageLimit, PageNumber, SortOrder, page_of, settings_of
from holdfast.api.types import FilterId, FilterText
from holdfast.core.pages import Page
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import AuditEntry

_door = Door("audit")
_MAX_LIMIT = 1000
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


@get("/", summary="The audit log, newest first; up to 1000 rows a page")
async def list_audit_logs(
    request: ApiRequest,
    user_id: FilterId = None,
    actor: FilterText = None,
    action: FilterText = None,
    resource_type: FilterText = None,
    resource_id: FilterText = None,
    g_id: FilterId = None,
    since: Annotated[_Moment | None, QueryParameter(name="from", description="RFC 3339, inclusive.")] = None,
    until: Annotated[_Moment | None, QueryParameter(name="to", description="RFC 3339, exclusive.")] = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
) -> Page[AuditEntry]:
    asked = page_of(page, limit, sort, cursor, max_limit=_MAX_LIMIT)
    filters: dict[str, Any] = {
        "user_id": user_id,
        "actor_name": actor,
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "g_id": g_id,
        "since": since,
        "until": until,
    }
    key = settings_of(request).cursor_key
    return await _door.read(request, lambda tx, who: audit.list_entries(tx, who, asked, cursor_key=key, **filters))


router = Router("/audit-logs", route_handlers=[list_audit_logs], tags=["audit"])
