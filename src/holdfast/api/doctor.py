"""/doctor: have the instance examined, and read what was found (super administrators)."""

from litestar import Router, get, post

from holdfast.api.deps import ApiRequest, Door
from holdfast.operations.doctor import service as doctor
from holdfast.operations.doctor.service import ExaminationAsked
from holdfast.operations.doctor.types import Report

_door = Door("admin")


@get("/", summary="What the newest examination found")
async def get_report(request: ApiRequest) -> Report:
    """404 before the first examination has ended. Examinations are made daily, on request, and by `holdfast doctor`."""
    return await _door.read(request, doctor.get_report)


@post("/", status_code=202, summary="Ask for an examination, which a worker makes")
async def request_examination(request: ApiRequest) -> ExaminationAsked:
    """Nothing is changed by it: cures are for `holdfast doctor --fix`, on the server. 409 while one is asked for."""
    return await _door.write(request, doctor.request_examination)


router = Router("/doctor", route_handlers=[get_report, request_examination], tags=["operations"])
