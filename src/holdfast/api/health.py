"""/healthz, /readyz and /metrics, for probes and scrapers; public, and without any row of the product."""

import asyncio
from typing import Any

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from holdfast import __version__
from holdfast.api.budgets import budget
from holdfast.api.deps import ApiRequest, database_of
from holdfast.core.errors import HoldfastError
from holdfast.db.migrations.files import known_revisions
from holdfast.db.statistics.gauges import DATABASE_NUMBERS
from holdfast.features.images.orphan_gauge import ORPHANS
from holdfast.features.jobs.gauges import SCHEDULE
from holdfast.operations.backup.gauges import NEWEST_BACKUP
from holdfast.operations.doctor.gauge import DOCTOR

# The version of the process that is asked, so that it shows when several run side by side.
Gauge(
    "holdfast_build_info", "1, with the version of this process and the schema it was made for.", ["version", "schema"]
).labels(__version__, known_revisions()[-1]).set(1)


@get("/healthz", summary="Whether the process answers", tags=["operations"])
async def healthz() -> dict[str, str]:
    return {"status": "ok", "version": __version__}


@get("/readyz", summary="Whether the process can serve: the database answers", tags=["operations"])
async def readyz(request: ApiRequest) -> Response[dict[str, Any]]:
    database = database_of(request)
    try:
        async with database.read() as tx:
            await tx.fetch_text("SELECT 1")
    except HoldfastError as error:
        content = {"status": "unavailable", "database": database.dialect_name, "reason": error.message}
        return Response(content=content, status_code=503, headers={"Retry-After": "2"})
    return Response(content={"status": "ok", "database": database.dialect_name})


@get(
    "/metrics",
    summary="Metrics for Prometheus",
    tags=["operations"],
    media_type=CONTENT_TYPE_LATEST,
    include_in_schema=False,
    opt=budget(12, repeated=("runs.find_latest_done",)),
)
async def metrics(request: ApiRequest) -> bytes:
    database = database_of(request)
    # Side by side, so that a database that is away holds the scrape up once.
    readings = (DATABASE_NUMBERS, DOCTOR, NEWEST_BACKUP, ORPHANS, SCHEDULE)
    await asyncio.gather(*(each.refresh(database) for each in readings))
    return generate_latest()


handlers = [healthz, readyz, metrics]
