"""What happens around every request: its id, log line, metrics and security headers. Plain ASGI, for speed."""

import re
import secrets
import time
from functools import cache

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter, Gauge, Histogram

_log = structlog.get_logger("holdfast.request")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_requests = Counter("holdfast_requests", "Requests answered.", ["method", "route", "status"])
_request_seconds = Histogram("holdfast_request_seconds", "Time to answer.", ["method", "route"], buckets=_BUCKETS)
_under_way = Gauge("holdfast_requests_under_way", "Requests being answered now.")

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class Observation:
    """Wraps the application. `access_log` writes a line for each request but those of probes and scrapers."""

    def __init__(self, app: ASGIApp, *, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is not HTTP."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers.append((b"x-request-id", request_id.encode()))
                headers.extend(_SECURITY_HEADERS)
                headers.extend(each for each in (_API_POLICY, _NO_STORE) if each[0] not in present)
                message["headers"] = headers
            await send(message)

        _under_way.inc()
        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._app(scope, receive, send_with_headers)
                self._observe(scope, status, time.perf_counter() - started)
        finally:
            _under_way.dec()

    def _observe(self, scope: HTTPScope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # The template, never the path: ids would make a series of each.
        route = scope.get("path_template") or "unknown"
        _counter(method, route, status).inc()
        _histogram(method, route).observe(seconds)
        if self._access_log and scope["path"] not in _QUIET_PATHS:
            _log.info(
                "request", method=method, path=scope["path"][:500], status=status, milliseconds=round(seconds * 1000, 2)
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@cache
def _counter(method: str, route: str, status: int) -> Counter:
    return _requests.labels(method, route, str(status))


@cache
def _histogram(method: str, route: str) -> Histogram:
    return _request_seconds.labels(method, route)


def _request_id(scope: HTTPScope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.match(given):
                return given
    return secrets.token_hex(8)
