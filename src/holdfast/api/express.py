"""The short way to a route: requests that fit plainly skip the framework's general machinery.

Litestar declares, describes, routes and validates: its routing and its signature models are used here as they are.
What it does around them for features that no route of ours has (dependencies, guards, caches, hooks) costs a small
read a third of its CPU time. A request that is not plain in any way takes the long way, which decides and words every
refusal of a path, parameter or header. Both ways answer alike; a test holds them against each other.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import Litestar, Response
from litestar.enums import ScopeType
from litestar.exceptions import LitestarException
from litestar.handlers import HTTPRouteHandler
from litestar.types import HTTPScope, Receive, Scope, Send

from holdfast.api.deps import ApiRequest
from holdfast.api.responses import JsonResponse, send_json
from holdfast.core.errors import InvalidInputError

ErrorHandler = Callable[[ApiRequest, Any], Response[Any]]

_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})


class _Plain:
    """A route as it is called straight: its function, its parameters but for request and body, its usual status."""

    __slots__ = ("call", "handler", "names", "parameters", "status", "takes_body", "takes_request")

    def __init__(self, handler: HTTPRouteHandler) -> None:
        self.handler = handler
        self.call = handler.fn
        self.status = handler.status_code
        fields = {field.name: field for field in msgspec.structs.fields(handler.signature_model)}
        self.takes_request = fields.pop("request", None) is not None
        self.takes_body = fields.pop("data", None) is not None
        self.names = frozenset(fields)
        # The types that the framework checks with, so that both ways take and refuse the same.
        self.parameters = msgspec.defstruct(
            f"{handler.handler_name}_parameters",
            [_declared(field) for field in fields.values()],
            kw_only=True,
        )


class Express:
    """Answers plain requests straight, and hands all others to the framework.

    `services` are put into the state of every request, for `api.deps`.
    """

    def __init__(
        self, app: Litestar, error_handlers: Mapping[Any, ErrorHandler], services: Mapping[str, Any], max_body: int
    ) -> None:
        self._app = app
        self._error_handlers = error_handlers
        self._services = services
        self._max_body = max_body
        self._plain: dict[int, _Plain | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        scope["state"].update(self._services)
        found = self._find(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        plain, parameters = found
        request = ApiRequest(scope, receive, send)
        try:
            if plain.takes_body:
                request.hold_body(await _read_body(receive))
                parameters["data"] = await request.json()
            if plain.takes_request:
                parameters["request"] = request
            answer = await plain.call(**parameters)
        except Exception as error:  # every error becomes an answer, as in the framework
            answer = self._answer_to(request, error)
        if isinstance(answer, msgspec.Struct | dict):
            await send_json(answer, plain.status, send)
        elif type(answer) is JsonResponse:
            response = answer.to_asgi_response(self._app, request, status_code=plain.status)
            await response(scope, receive, send)
        else:
            response = await plain.handler.to_response(app=self._app, data=answer, request=request)
            await response(scope, receive, send)

    def _find(self, scope: HTTPScope) -> tuple[_Plain, dict[str, Any]] | None:
        """The route and its parameters, where the request is plain."""
        path, method = scope["path"], scope["method"]
        if method not in _METHODS or path[-1:] == "/" or "//" in path or scope.get("root_path"):
            return None
        try:
            _, handler, _, path_parameters, template = self._app.asgi_router.handle_routing(path=path, method=method)
        except LitestarException:
            return None
        key = id(handler)
        plain = self._plain[key] if key in self._plain else self._plain.setdefault(key, _plain_route(handler))
        if plain is None or (plain.takes_body and not self._has_plain_body(scope)):
            return None
        given = dict(path_parameters)
        if scope["query_string"] and not _read_query(scope["query_string"], plain.names, given):
            return None
        try:
            values = msgspec.convert(given, plain.parameters, strict=False)
        except msgspec.ValidationError:
            return None
        scope["litestar_app"] = self._app
        scope["route_handler"] = handler
        scope["path_params"] = path_parameters
        scope["path_template"] = template
        return plain, msgspec.structs.asdict(values)

    def _has_plain_body(self, scope: HTTPScope) -> bool:
        """Whether the body is JSON by its header and not too long by its own word, which the server enforces."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers or headers.get(b"content-type") != b"application/json":
            return False
        return length.isdigit() and len(length) < _LONGEST_LENGTH and 0 < int(length) <= self._max_body

    def _answer_to(self, request: ApiRequest, error: Exception) -> Response[Any]:
        for kind, handler in self._error_handlers.items():
            if isinstance(error, kind):
                return handler(request, error)
        raise error


_LONGEST_LENGTH = 12


def _plain_route(handler: Any) -> _Plain | None:
    """The route, unless it needs what only the framework does."""
    if not isinstance(handler, HTTPRouteHandler) or handler.has_sync_callable:
        return None
    if handler.resolve_guards() or handler.resolve_before_request() or handler.resolve_after_response():
        return None
    return _Plain(handler)


def _declared(field: msgspec.structs.FieldInfo) -> Any:
    return (field.name, field.type) if field.required else (field.name, field.type, field.default)


def _read_query(query: bytes, names: frozenset[str], into: dict[str, Any]) -> bool:
    """Whether the query is plain: known names, each once, with a value, nothing encoded."""
    text = query.decode("latin-1")
    if "%" in text or "+" in text or not text.isascii():
        return False
    for part in text.split("&"):
        name, _, value = part.partition("=")
        if not value or name in into or name not in names:
            return False
        into[name] = value
    return True


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise InvalidInputError("the connection ended before the body did; send it again")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
