"""/backups: what lies in the store of backups, and asking for another (super administrators)."""

from typing import Annotated

from litestar import Response, Router, get, post
from litestar.params import QueryParameter

from holdfast.api.deps import ApiRequest, Door, settings_of
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.operations.backup import service
from holdfast.operations.backup.reading import list_backups
from holdfast.operations.backup.service import BackupAsked, Backups
from holdfast.operations.backup.stores.opening import open_store

_door = Door("admin")
_Limit = Annotated[int, QueryParameter(description="So many, 1 to 100, else 20.", ge=1, le=100, required=False)]


@get("/", summary="The newest backups in the store (super administrators)")
async def get_backups(request: ApiRequest, limit: _Limit = 20) -> Backups:
    """Whether each was verified is as of its last check. 503 where the store cannot be used."""
    instance = await _door.read(request, service.read_instance)
    store = await in_thread(open_store, settings_of(request))
    items = await in_thread(lambda: list_backups(store, instance=instance, at_most=limit))
    return Backups(store=store.shown, items=items)


@post("/", status_code=202, summary="Ask for a backup (super administrators)")
async def request_backup(request: ApiRequest) -> Response[BackupAsked]:
    """202 with the job that makes and checks it; 409 where one is asked for already."""
    asked = await _door.write(request, service.request_backup)
    return Response(content=asked, status_code=202, headers={"Location": f"/api/v1/jobs/{asked.job_id}"})


router = Router("/backups", route_handlers=[get_backups, request_backup], tags=["operations"])
