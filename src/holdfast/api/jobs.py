"""/jobs, /runs and /schedule: what the workers do, did and are to do (super administrators)."""

from typing import Annotated, Literal

from litestar import Response, Router, get, post
from litestar.params import PathParameter, QueryParameter

from holdfast.api.budgets import budget
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
from holdfast.api.types import FilterId, FilterText, PathId
from holdfast.core.pages import Page
from holdfast.features.jobs import service as jobs
from holdfast.features.jobs.types import JobRow, RunRow, Schedule, ScheduledJob

_door = Door("admin")
# The framework keeps the name `state` for itself.
_StateFilter = Annotated[
    Literal["waiting", "running", "done", "failed"] | None, QueryParameter(name="state", required=False)
]
_PathName = Annotated[str, PathParameter(max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
_OutcomeFilter = Annotated[
    Literal["done", "failed", "put_off", "lost"] | None, QueryParameter(name="outcome", required=False)
]


@get("/jobs", summary="All jobs, newest first; `state=failed` are the dead letters")
async def list_jobs(
    request: ApiRequest,
    state_is: _StateFilter = None,
    name: FilterText = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[JobRow]:
    asked = page_of(page, limit, sort, cursor, total)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: jobs.list_jobs(tx, actor, asked, cursor_key=key, state=state_is, name=name)
    )


@get("/jobs/{job_id:str}", summary="A job, with why it last failed")
async def get_job(request: ApiRequest, job_id: PathId) -> JobRow:
    return await _door.read(request, lambda tx, actor: jobs.get_job(tx, actor, job_id))


@post("/jobs/{job_id:str}/retry", status_code=200, summary="Let a dead letter be tried again")
async def retry_job(request: ApiRequest, job_id: PathId) -> JobRow:
    """409 where the job has not failed for good."""
    return await _door.write(request, lambda tx, actor: jobs.retry_job(tx, actor, job_id))


@post("/jobs/{job_id:str}/discard", status_code=200, summary="Remove a dead letter")
async def discard_job(request: ApiRequest, job_id: PathId) -> JobRow:
    """The job as it stood, which the audit log keeps; 409 where it has not failed for good."""
    return await _door.write(request, lambda tx, actor: jobs.discard_job(tx, actor, job_id))


@get("/runs", summary="What ran, with its outcome, newest first")
async def list_runs(
    request: ApiRequest,
    name: FilterText = None,
    outcome: _OutcomeFilter = None,
    job_id: FilterId = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[RunRow]:
    asked = page_of(page, limit, sort, cursor, total)
    key = settings_of(request).cursor_key
    return await _door.read(
        request,
        lambda tx, actor: jobs.list_runs(tx, actor, asked, cursor_key=key, name=name, outcome=outcome, job_id=job_id),
    )


@get("/schedule", summary="The periodic jobs: last run, outcome, next time", opt=budget(5))
async def get_schedule(request: ApiRequest) -> Schedule:
    return await _door.read(request, jobs.get_schedule)


@post("/schedule/{name:str}/run", status_code=202, summary="Let a periodic job be due now", opt=budget(8))
async def run_now(request: ApiRequest, name: _PathName) -> Response[ScheduledJob]:
    """A worker takes it up within seconds; its later times stay as they are. 409 while it runs."""
    scheduled = await _door.write(request, lambda tx, actor: jobs.run_now(tx, actor, name))
    return Response(content=scheduled, status_code=202, headers={"Location": "/api/v1/schedule"})


router = Router(
    "/",
    route_handlers=[list_jobs, get_job, retry_job, discard_job, list_runs, get_schedule, run_now],
    tags=["jobs"],
)
