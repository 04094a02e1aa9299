"""The composition root: from the settings to a running application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ASGIApp

from holdfast import __version__
from holdfast.api import audit_logs, forms, health, reference
from holdfast.api.errors import EXCEPTION_HANDLERS
from holdfast.api.observation import Observation
from holdfast.db.open import open_database
from holdfast.settings import Settings

_ROUTERS = [audit_logs.router, forms.router]


def create_app(settings: Settings) -> ASGIApp:
    """The ASGI application: routes, error handlers, metrics and the database, which starts with it."""
    database = open_database(settings)

    @asynccontextmanager
    async def running(app: Litestar) -> AsyncIterator[None]:
        async with database.running():
            yield

    app = Litestar(
        route_handlers=[Router("/api/v1", route_handlers=[*_ROUTERS, *reference.handlers]), *health.handlers],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[running],
        state=State({"settings": settings, "database": database}),
        openapi_config=_openapi(),
        request_max_body_size=settings.max_request_bytes,
        logging_config=None,
        debug=False,
    )
    return Observation(app, access_log=settings.access_log)


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Holdfast",
        version=__version__,
        path="/api/v1",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"token": []}],
    )
