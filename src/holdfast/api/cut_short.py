"""What a request is told that was cancelled before its answer: the server ended, and gave it no more time."""

from http import HTTPStatus

import msgspec
from litestar.types import Send

from holdfast.db.errors import CommitOutcomeUnknownError

_RETRY_AFTER_SECONDS = 2
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHANGE = (
    "the server ended before the change was done: it is there whole, or not at all; read to see which before you send"
    " it again. A request with an Idempotency-Key can be sent again as it is"
)
_READ = "the server ended before the answer was there; nothing was changed. Ask again"


async def tell_of_end(method: str, request_id: str, send: Send) -> None:
    """Answer 503. A change may have been stored already, or may yet be: its commit is not held up by a cancellation."""
    code, detail = ("server_ended", _READ) if method in _READING_METHODS else (CommitOutcomeUnknownError.code, _CHANGE)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = msgspec.json.encode(
        {
            "type": f"urn:holdfast:problem:{code}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
            "code": code,
            "request_id": request_id,
            "retry_after_seconds": _RETRY_AFTER_SECONDS,
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % _RETRY_AFTER_SECONDS),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
