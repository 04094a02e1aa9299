"""The composition root: from the settings to a running application."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp

from holdfast import __version__
from holdfast.api import (
    audit_logs,
    backups,
    cleanup,
    config_files,
    deleting,
    deletion_plans,
    deletions,
    doctor,
    forms,
    groups,
    health,
    image_requests,
    images,
    jobs,
    me,
    projects,
    reference,
    repositories,
    sessions,
    statistics,
    tokens,
    users,
    workloads,
)
from holdfast.api.budgets import DEFAULT_STATEMENTS
from holdfast.api.deps import ApiRequest
from holdfast.api.description import DescriptionConfig
from holdfast.api.errors import EXCEPTION_HANDLERS
from holdfast.api.express import Express
from holdfast.api.observation import Observation
from holdfast.api.responses import JsonResponse
from holdfast.db.engines.base import Database
from holdfast.db.open import open_database
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.features.groups.types import FirstStart
from holdfast.settings import Settings
from holdfast.worker.loop import running_worker

_ROUTERS = [
    audit_logs.router,
    backups.router,
    cleanup.router,
    config_files.router,
    deleting.router,
    deletion_plans.router,
    deletions.router,
    doctor.router,
    forms.router,
    groups.router,
    image_requests.router,
    images.router,
    jobs.router,
    me.router,
    projects.router,
    repositories.router,
    sessions.router,
    statistics.router,
    tokens.router,
    users.router,
    workloads.router,
]


class Budget(msgspec.Struct, frozen=True):
    """What a route declares: at most so many statements a request, and which of them may run more than once."""

    statements: int
    repeated: tuple[str, ...]


def create_app(settings: Settings, *, announce: Callable[[FirstStart], None] | None = None) -> ASGIApp:
    """The ASGI application: routes, error handlers, metrics and the database, which starts with it.

    `announce` is told of the first start, once; by default the password is written to standard error.
    """
    database = open_database(settings)
    express = Express(
        _framework(settings, database, announce or _announce),
        EXCEPTION_HANDLERS,
        services={"settings": settings, "database": database},
        max_body=settings.max_request_bytes,
    )
    return Observation(express, access_log=settings.access_log)


def create_probes(settings: Settings, database: Database) -> ASGIApp:
    """/healthz, /readyz and /metrics of a process that serves nothing else; the database is started elsewhere."""
    probes = Litestar(
        route_handlers=[*health.handlers],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        request_class=ApiRequest,
        response_class=JsonResponse,
        logging_config=None,
    )
    services = {"settings": settings, "database": database}
    express = Express(probes, EXCEPTION_HANDLERS, services=services, max_body=settings.max_request_bytes)
    return Observation(express, access_log=False)


def describe_api(settings: Settings) -> dict[str, Any]:
    """The OpenAPI description of the routes, without starting anything."""
    return _framework(settings, open_database(settings), _announce).openapi_schema.to_schema()


def declared_budgets(settings: Settings) -> dict[str, Budget]:
    """The budget of each route, by method and path, without starting anything."""
    budgets: dict[str, Budget] = {}
    for route in _framework(settings, open_database(settings), _announce).routes:
        if isinstance(route, HTTPRoute):
            for method, (handler, _) in route.route_handler_map.items():
                allowed = handler.opt.get("statements", DEFAULT_STATEMENTS)
                budgets[f"{method} {route.path_format}"] = Budget(allowed, handler.opt.get("repeated", ()))
    return budgets


def _framework(settings: Settings, database: Database, announce: Callable[[FirstStart], None]) -> Litestar:
    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        async with database.running(), AsyncExitStack() as stack:
            first_start = await ensure_first_start(database, settings.admin_password)
            if first_start is not None:
                announce(first_start)
            if settings.worker_in_server:
                await stack.enter_async_context(running_worker(database, settings))
            yield

    return Litestar(
        route_handlers=[Router("/api/v1", route_handlers=[*_ROUTERS, *reference.handlers]), *health.handlers],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[running],
        openapi_config=_openapi(),
        request_class=ApiRequest,
        request_max_body_size=settings.max_request_bytes,
        response_class=JsonResponse,
        logging_config=None,
        debug=False,
    )


def _announce(first_start: FirstStart) -> None:
    generated = first_start.generated_password
    lines = [
        "This is the first start. Sign in as the administrator:",
        f"  user name  {first_start.username}",
        f"  password   {generated or 'what HOLDFAST_ADMIN_PASSWORD says'}",
        f"{'It is shown this once, and' if generated else 'It'} must be changed at the first sign-in.",
    ]
    width = max(len(line) for line in lines)
    border = f"+{'-' * (width + 2)}+"
    sys.stderr.write("\n".join([border, *(f"| {line:{width}} |" for line in lines), border, ""]))
    sys.stderr.flush()


def _openapi() -> DescriptionConfig:
    return DescriptionConfig(
        title="Holdfast",
        version=__version__,
        # The framework answers every unknown path below this one with a page of its own, so nothing else may be there.
        path="/api/v1/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"token": []}],
    )
