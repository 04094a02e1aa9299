"""Which statements a request has run so far, so that its edge can hold them against the budget of its route."""

from contextvars import ContextVar

# The edge sets a list for each request; outside of requests there is none, so that no job fills the memory with names.
request_statements: ContextVar[list[str] | None] = ContextVar("request_statements", default=None)
