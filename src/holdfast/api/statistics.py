"""/admin/statistics: what the database and this process do (super administrators)."""

from typing import Annotated

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
    database_of,
    page_of,
    settings_of,
)
from holdfast.core.pages import Page
from holdfast.db.statistics.tallies import StatementTallies
from holdfast.db.statistics.types import Connections, IndexUsage, TableSizes
from holdfast.features.images import orphans
from holdfast.features.images.types import OrphanedRequest
from holdfast.operations import statistics

_door = Door("admin")
_StatementLimit = Annotated[
    int, QueryParameter(description="So many statements: 1 to 1000, else 20.", ge=1, le=1000, required=False)
]
_Strict = Annotated[
    bool,
    QueryParameter(description="Only what should never be: approved, not deleted, without rule.", required=False),
]


@get("/statements", summary="The statements that took most time in the process that answers")
async def get_statements(request: ApiRequest, limit: _StatementLimit = 20) -> StatementTallies:
    return await _door.read(request, lambda tx, actor: statistics.get_statements(tx, actor, limit=limit))


@get("/indexes", summary="How much each index is used, as the database counts it")
async def get_index_usage(request: ApiRequest) -> IndexUsage:
    return await _door.read(request, statistics.get_index_usage)


@get("/tables", summary="How big the tables and their indexes are")
async def get_table_sizes(request: ApiRequest) -> TableSizes:
    return await _door.read(request, statistics.get_table_sizes)


@get("/connections", summary="Who is connected to the database, who waits, and the pool of this process")
async def get_connections(request: ApiRequest) -> Connections:
    pool = database_of(request).pool
    return await _door.read(request, lambda tx, actor: statistics.get_connections(tx, actor, pool))


@get("/orphans", summary="Decided image requests that no rule goes back to")
async def list_orphans(
    request: ApiRequest,
    strict: _Strict = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[OrphanedRequest]:
    """Without `strict` exactly what the query of the seed's report finds, with rejected and deleted requests."""
    asked = page_of(page, limit, sort, cursor, total)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: orphans.list_orphans(tx, actor, asked, strict=strict, cursor_key=key)
    )


router = Router(
    "/admin/statistics",
    route_handlers=[get_statements, get_index_usage, get_table_sizes, get_connections, list_orphans],
    tags=["statistics"],
)
