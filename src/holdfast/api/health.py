"""/healthz, /readyz and /metrics, for probes and scrapers; public, and without any row of the product."""

import asyncio
from typing import Any

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from holdfast import __version__
from holdfast.api.deps import ApiRequest, database_of
from holdfast.core.errors import HoldfastError
from holdfast.db.statistics.gauges import DATABASE_NUMBERS
from holdfast.features.images.orphan_gauge import ORPHANS


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
)
async def metrics(request: ApiRequest) -> bytes:
    database = database_of(request)
    # Side by side, so that a database that is away holds the scrape up once.
    await asyncio.gather(DATABASE_NUMBERS.refresh(database), ORPHANS.refresh(database))
    return generate_latest()


handlers = [healthz, readyz, metrics]
