"""What the OpenAPI description says of every route alike: its problems, and the headers that all of a kind take."""

from dataclasses import fields
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI

_PROBLEM = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `detail` says what to do, `code` is stable, for programs.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "Each thing that does not fit, where it is more than one: a field, or a place in a file.",
            "items": {"type": "object"},
        },
    },
}
_MEANINGS = {
    "400": "A field, parameter or header does not have its form",
    "401": "No token, or one that is unknown, expired or revoked",
    "403": "You see it, but may not do this; or your token lacks the scope",
    "404": "There is no such thing, or you may not know that there is",
    "409": "The state of the data forbids it",
    "412": "If-Match names an older version",
    "428": "More than the thing itself would go: send the token of its plan, which is in the answer",
    "default": "Any other problem; docs/api.md lists them",
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag that you read; 412 where somebody changed it since.",
    "schema": {"type": "string"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Any text, such as a UUID; the same request with the same key gets the first answer again.",
    "schema": {"type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": 255},
}
_LOCATION = {"description": "Where the new object is.", "schema": {"type": "string"}}
_METHODS = ("get", "post", "put", "patch", "delete")
_PREFIX = "/api/v1/"
# Their bodies only change what is done without one.
_BODY_MAY_BE_MISSING = ("/restore", "/cleanup/soft-deleted", "/cleanup/audit-logs")


class DescriptionConfig(OpenAPIConfig):
    """As the framework's, giving a description that is completed when it is written out."""

    def to_openapi_schema(self) -> OpenAPI:
        """The description without its paths, which the framework adds."""
        plain = super().to_openapi_schema()
        return _Description(**{field.name: getattr(plain, field.name) for field in fields(plain)})


class _Description(OpenAPI):
    def to_schema(self) -> dict[str, Any]:
        document = super().to_schema()
        schemas = document["components"]["schemas"]
        schemas["Problem"] = _PROBLEM
        for path, operations in document["paths"].items():
            for method in _METHODS:
                if method in operations and path.startswith(_PREFIX):
                    _complete(path, method, operations[method])
                    _close_bodies(operations[method].get("requestBody", {}), schemas)
        return document


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status in _problems_of(path, method, operation):
        responses[status] = _problem(_MEANINGS[status])
    if path.endswith(_BODY_MAY_BE_MISSING):
        operation["requestBody"]["required"] = False
    if _takes_version(path, method, operation):
        operation.setdefault("parameters", []).append(_IF_MATCH)
    if method == "post" and "201" in responses:
        responses["201"].setdefault("headers", {})["Location"] = _LOCATION
        if not path.endswith("/sessions"):
            operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    if "204" in responses:
        responses["204"].pop("content", None)
    if method == "get" and path.endswith("}"):
        responses["304"] = {"description": "You have this version already (If-None-Match)"}


def _close_bodies(part: Any, schemas: dict[str, Any]) -> None:
    """Say of every object in a request's body what holds for each: fields that it does not name are refused."""
    if isinstance(part, list):
        for each in part:
            _close_bodies(each, schemas)
    if not isinstance(part, dict):
        return
    name = str(part.get("$ref", "")).rpartition("/")[2]
    if name and "additionalProperties" not in schemas[name]:
        schemas[name]["additionalProperties"] = False
        _close_bodies(schemas[name], schemas)
    for each in part.values():
        _close_bodies(each, schemas)


def _problems_of(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    statuses = ["400", "default"]
    if operation.get("security") != []:
        statuses += ["401", "403"]
    if "{" in path:
        statuses.append("404")
    if method in {"post", "put", "patch"} or _deletes(method, operation):
        statuses.append("409")
    if _takes_version(path, method, operation):
        statuses.append("412")
    if _deletes(method, operation):
        statuses.append("428")
    return statuses


def _deletes(method: str, operation: dict[str, Any]) -> bool:
    """Whether it is a deletion that can be restored; ending a session is none."""
    return method == "delete" and "200" in operation["responses"]


def _takes_version(path: str, method: str, operation: dict[str, Any]) -> bool:
    if _deletes(method, operation):
        # A message never changes.
        return "/messages/" not in path
    return method in {"put", "patch"} and not path.endswith("/password")


def _problem(meaning: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": meaning, "content": content}
