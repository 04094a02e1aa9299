"""Structured logs: one line of JSON (or of text, for people) on standard error, with the id of the request."""

import logging
import sys
from typing import Any, Literal

import msgspec
import structlog


def configure_logs(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"]) -> None:
    """Set up logging for this process: our own lines and those of libraries."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if form == "json":
        processors.append(structlog.processors.JSONRenderer(serializer=_to_json))
        factory: Any = structlog.BytesLoggerFactory(file=sys.stderr.buffer)
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()))
        factory = structlog.PrintLoggerFactory(file=sys.stderr)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = _ToStructlog()
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)


class _ToStructlog(logging.Handler):
    """Passes the lines of libraries on in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, "library_message", message=record.getMessage(), exc_info=record.exc_info)


def _to_json(value: Any, **kw: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
