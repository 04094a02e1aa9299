"""/admin/cleanup: let go what is older than its retention (super administrators)."""

from typing import Annotated

import msgspec
from litestar import Response, Router, post
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from holdfast.api.deps import ApiRequest, Door, settings_of
from holdfast.features.deletions import retention
from holdfast.features.deletions.retention import Category, CleanupAsked, CleanupReport

_door = Door("deletions")
_Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
_AuditDays = Annotated[int, msgspec.Meta(ge=1, le=36_500)]


_COUNTED = ResponseSpec(CleanupReport, generate_examples=False, description="Counted, with dry_run; nothing is changed")


class CleanSoftDeleted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`days` is the retention of the settings where it is left out.

    `dry_run` only counts. `prepare_only` writes the recovery bundles and removes nothing, so that the database's own
    `CALL cleanup_soft_deleted(…)` may.
    """

    days: _Days | None = None
    dry_run: bool = False
    prepare_only: bool = False


class CleanAuditLogs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As for deleted rows; the days are at least 1."""

    days: _AuditDays | None = None
    dry_run: bool = False
    prepare_only: bool = False


_DELETED_BY_THE_SETTINGS = CleanSoftDeleted()
_AUDIT_BY_THE_SETTINGS = CleanAuditLogs()


@post(
    "/soft-deleted",
    status_code=202,
    summary="Bundle and purge deletions whose time is over (super administrators)",
    responses={200: _COUNTED},
)
async def cleanup_soft_deleted(
    request: ApiRequest, data: JSONBody[CleanSoftDeleted] = _DELETED_BY_THE_SETTINGS
) -> Response[CleanupAsked | CleanupReport]:
    """202 with the job that does it; with `dry_run` 200 and what would go, per table."""
    days = settings_of(request).retention_deleted_days if data.days is None else data.days
    return await _clean_up(request, "soft-deleted", days, data)


@post(
    "/audit-logs",
    status_code=202,
    summary="Archive and remove old audit entries (super administrators)",
    responses={200: _COUNTED},
)
async def cleanup_audit_logs(
    request: ApiRequest, data: JSONBody[CleanAuditLogs] = _AUDIT_BY_THE_SETTINGS
) -> Response[CleanupAsked | CleanupReport]:
    """202 with the job that does it; with `dry_run` 200 and how many would go."""
    days = settings_of(request).retention_audit_days if data.days is None else data.days
    return await _clean_up(request, "audit-logs", days, data)


async def _clean_up(
    request: ApiRequest, category: Category, days: int, data: CleanSoftDeleted | CleanAuditLogs
) -> Response[CleanupAsked | CleanupReport]:
    if data.dry_run:
        planned = await _door.prepare(request, lambda tx, actor: retention.plan_cleanup(tx, actor, category, days))
        return Response(content=planned, status_code=200)
    asked = await _door.write(
        request,
        lambda tx, actor: retention.request_cleanup(tx, actor, category, days, prepare_only=data.prepare_only),
    )
    return Response(content=asked, status_code=202)


router = Router("/admin/cleanup", route_handlers=[cleanup_soft_deleted, cleanup_audit_logs], tags=["deletions"])
