"""Structured logs: one line of JSON (or of text, for people) on standard error, with the id of the request."""

import asyncio
import atexit
import io
import logging
import sys
import threading
from collections.abc import MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog

_log = structlog.get_logger("holdfast.request")
_PAUSE_SECONDS = 0.1
# The request that a task answers; every line logged meanwhile bears it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_logs(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"]) -> None:
    """Set up logging for this process: our own lines and those of libraries."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    global _request_lines  # noqa: PLW0603 - logging is one for the process, as in the library
    _request_lines = None
    if form == "json":
        processors.append(structlog.processors.JSONRenderer(serializer=_to_json))
        lines = _Lines()
        atexit.register(lines.flush)
        factory: Any = lines.as_logger
        _request_lines = lines if threshold <= logging.INFO else None
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
        factory = structlog.PrintLoggerFactory(file=cast("TextIO", _StandardError()))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = _ToStructlog()
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says of an answered request."""

    method: str
    path: str
    status: int
    milliseconds: float
    request_id: str
    event: str = "request"
    level: str = "info"
    timestamp: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))


def log_request(line: RequestLine) -> None:
    """Log an answered request. As JSON it goes past the library's processors, which take ten times as long."""
    if _request_lines is not None:
        _request_lines.info(msgspec.json.encode(line))
        return
    fields = msgspec.structs.asdict(line)
    _log.info(line.event, **{name: fields[name] for name in ("method", "path", "status", "milliseconds")})


class _StandardError(io.TextIOBase):
    """What standard error is when a line is written: a logger lives on where that was exchanged and closed since."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _Lines:
    """Writes lines to standard error. Where an event loop runs, those below a warning wait a moment for others.

    One write then serves many requests. A warning is written at once, after all that wait.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def as_logger(self, *_names: Any) -> "_Lines":
        """Itself, for every logger: they all write here."""
        return self

    def info(self, line: bytes) -> None:
        """Write soon."""
        with self._lock:
            self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(_PAUSE_SECONDS, self.flush)

    def warning(self, line: bytes) -> None:
        """Write now."""
        with self._lock:
            self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._loop = None
            waiting, self._waiting = self._waiting, []
            if waiting:
                file = sys.stderr.buffer
                file.write(b"\n".join((*waiting, b"")))
                file.flush()

    debug = msg = info
    error = critical = exception = fatal = log = warn = warning


class _ToStructlog(logging.Handler):
    """Passes the lines of libraries on in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            logger = structlog.get_logger(record.name)
            logger.log(record.levelno, "library_message", message=record.getMessage(), exc_info=record.exc_info)
        except Exception:
            # A library that tells of a failure goes on to clean up after it; a log that is gone must not stop that.
            self.handleError(record)


def _add_request_id(_logger: Any, _name: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    identifier = request_id.get()
    if identifier is not None:
        fields["request_id"] = identifier
    return fields


def _to_json(value: Any, **kw: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


_request_lines: _Lines | None = None
