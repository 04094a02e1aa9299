"""What happens around every request: its id, log line, metrics and security headers. Plain ASGI, for speed."""

import asyncio
import re
import secrets
import time

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Gauge

from holdfast.api.budgets import hold_budget
from holdfast.api.cut_short import tell_of_end
from holdfast.core.logs import RequestLine, log_request
from holdfast.core.logs import request_id as logged_request_id
from holdfast.core.tallies import Counts, Timings
from holdfast.db.request_statements import request_statements

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_requests = Counts("holdfast_requests", "Requests answered.", ["method", "route", "status"])
_request_seconds = Timings("holdfast_request_seconds", "Time to answer.", ["method", "route"], bounds=_BUCKETS)
_under_way = 0
Gauge("holdfast_requests_under_way", "Requests being answered now.").set_function(lambda: _under_way)

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NO_STORE = (b"cache-control", b"no-store")
_ALL_HEADERS = (*_SECURITY_HEADERS, _API_POLICY, _NO_STORE)
_OWN_WAY = frozenset({_API_POLICY[0], _NO_STORE[0]})
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
        has_answer = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_answer
            if message["type"] == "http.response.start":
                has_answer = True
                status = message["status"]
                headers = list(message.get("headers", ()))
                headers += _headers_beside(headers)
                headers.append((b"x-request-id", request_id.encode()))
                message["headers"] = headers
            await send(message)

        # Never unset: the server runs each request in a task with a context of its own.
        logged_request_id.set(request_id)
        ran: list[str] = []
        request_statements.set(ran)
        global _under_way  # noqa: PLW0603 - a gauge of the process, without the lock of the library's own
        _under_way += 1
        try:
            try:
                await self._app(scope, receive, send_with_headers)
            except asyncio.CancelledError:
                if has_answer:
                    raise
                # Not passed on: the server, which is ending, would answer 500 in plain text.
                await tell_of_end(scope["method"], request_id, send_with_headers)
            self._observe(scope, status, time.perf_counter() - started, ran)
        finally:
            _under_way -= 1

    def _observe(self, scope: HTTPScope, status: int, seconds: float, ran: list[str]) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        # The template, never the path: ids would make a series of each.
        route = scope.get("path_template") or "unknown"
        _requests.add(method, route, str(status))
        _request_seconds.of(method, route).observe(seconds)
        hold_budget(scope, route, ran)
        if self._access_log and scope["path"] not in _QUIET_PATHS:
            log_request(
                RequestLine(
                    method=method,
                    path=scope["path"][:500],
                    status=status,
                    milliseconds=round(seconds * 1000, 2),
                    request_id=scope["state"]["request_id"],
                )
            )


def _headers_beside(given: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Our headers, without those two that an answer may set in its own way."""
    names = {name.lower() for name, _ in given}
    if names.isdisjoint(_OWN_WAY):
        return _ALL_HEADERS
    return tuple(each for each in _ALL_HEADERS if each[0] not in _OWN_WAY or each[0] not in names)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _request_id(scope: HTTPScope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.match(given):
                return given
    return secrets.token_hex(8)
