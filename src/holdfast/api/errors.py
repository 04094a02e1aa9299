"""Every error as problem+json (RFC 9457): type, title, status, detail, code, request_id and what the error adds."""

from enum import Enum
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException

from holdfast.api.deps import ApiRequest
from holdfast.api.reasons import plain_reason
from holdfast.core.errors import HoldfastError

_log = structlog.get_logger("holdfast.api")
_MEDIA_TYPE = "application/problem+json"
_CODES = {
    400: "invalid_input",
    401: "not_signed_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "unavailable",
}
_BODY_MISSING = "the body is missing: send a JSON object, {} where every field may be left out"


def problem(
    request: ApiRequest, status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response[dict[str, Any]]:
    """A problem document."""
    content = {
        "type": f"urn:holdfast:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request.scope.get("state", {}).get("request_id"),
        **more,
    }
    return Response(content=content, status_code=status, media_type=_MEDIA_TYPE, headers=headers or {})


def expected_error(request: ApiRequest, error: HoldfastError) -> Response[dict[str, Any]]:
    """An error that the product foresees."""
    headers: dict[str, str] = {}
    details = dict(error.details)
    if "retry_after_seconds" in details:
        headers["Retry-After"] = str(details["retry_after_seconds"])
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request_failed", code=error.code, error=error.message, exc_info=error)
    return problem(request, error.status, error.code, error.message, headers, **details)


def framework_error(request: ApiRequest, error: HTTPException) -> Response[dict[str, Any]]:
    """What the framework refuses: no such route, a wrong method, a body or parameter that does not fit."""
    status = error.status_code
    headers = dict(error.headers or {})
    more: dict[str, Any] = {}
    detail = error.detail
    if isinstance(error, ValidationException):
        if _is_without_body(error.extra):
            return problem(request, status, "invalid_input", _BODY_MISSING, headers)
        more["errors"] = _field_errors(request, error.extra)
        if any(each["in"] == "path" for each in more["errors"]):
            # An id that no row could have names nothing.
            return problem(request, 404, "not_found", f"there is no {request.url.path}")
        named = "; ".join(f"{each['field']}: {each['reason']}" for each in more["errors"] if each["field"])
        detail = f"the request does not fit: {named}" if named else f"the request does not fit: {error.detail}"
    elif status == HTTPStatus.NOT_FOUND:
        detail = f"there is no {request.url.path}; /api/v1/openapi.json lists what there is"
    return problem(request, status, _CODES.get(status, "invalid_input"), detail, headers, **more)


def unexpected_error(request: ApiRequest, error: Exception) -> Response[dict[str, Any]]:
    """A mistake of ours: logged in full, told without a detail."""
    _log.error("request_failed", code="internal_error", exc_info=error)
    return problem(
        request,
        500,
        "internal_error",
        "something went wrong on our side; nothing was changed. The request id helps the operator find it in the log",
    )


def _is_without_body(extra: Any) -> bool:
    """The framework names the missing body by the parameter of the route's function."""
    return isinstance(extra, list) and any(
        isinstance(each, dict) and (each.get("key"), each.get("message")) == ("data", "'data'") for each in extra
    )


def _field_errors(request: ApiRequest, extra: Any) -> list[dict[str, str]]:
    if not isinstance(extra, list):
        return []
    return [
        {
            "field": _sent_name(request, str(each.get("key", ""))),
            "in": _source(each.get("source")),
            "reason": plain_reason(str(each.get("message", ""))),
        }
        for each in extra
        if isinstance(each, dict)
    ]


def _sent_name(request: ApiRequest, key: str) -> str:
    """What the caller knows a parameter by: the framework names it as the route's function does."""
    field = request.route_handler.parsed_fn_signature.parameters.get(key)
    declared = None if field is None else field.kwarg_definition
    return getattr(declared, "name", None) or key


def _source(source: Any) -> str:
    return str(source.value if isinstance(source, Enum) else source or "")


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    HoldfastError: expected_error,
    HTTPException: framework_error,
    Exception: unexpected_error,
}
