"""How many statements a request may run: declared at its route, held by the tests, counted in production.

A route without a declaration has `DEFAULT_STATEMENTS`. What a request runs must not depend on how many rows there are,
so a statement that runs twice in one request is declared, too: mostly it is the beginning of an N+1.
"""

from collections import Counter
from typing import Any

import structlog
from litestar.types import HTTPScope

from holdfast.core.tallies import Counts

DEFAULT_STATEMENTS = 4
# With an Idempotency-Key the key is claimed, and then the answer found or kept.
STATEMENTS_OF_A_KEY = 2
_BESIDE = "statements_beside_the_budget"

_log = structlog.get_logger("holdfast.request")
requests_over_budget = Counts(
    "holdfast_requests_over_budget", "Requests that ran more statements than their route declares.", ["route"]
)


def budget(statements: int, *, repeated: tuple[str, ...] = ()) -> dict[str, Any]:
    """For a route's `opt`: the most statements of a request, the look-up of the token included, on any engine.

    `repeated` names the statements (* for any letters) that may run more than once, yet a fixed number of times.
    """
    return {"statements": statements, "repeated": repeated}


def allow_key(state: dict[str, Any]) -> None:
    """Let the request of this state run the statements of its Idempotency-Key beside its budget."""
    state[_BESIDE] = STATEMENTS_OF_A_KEY


def hold_budget(scope: HTTPScope, route: str, ran: list[str]) -> None:
    """Count and log a request that ran more than its route declares."""
    handler: Any = scope.get("route_handler")
    if handler is None:
        return
    allowed = handler.opt.get("statements", DEFAULT_STATEMENTS) + scope["state"].get(_BESIDE, 0)
    if len(ran) <= allowed:
        return
    route = f"{scope['method']} {route}"
    requests_over_budget.add(route)
    ((most_run, times),) = Counter(ran).most_common(1)
    _log.warning(
        "request_over_budget", route=route, statements=len(ran), budget=allowed, most_run=most_run, times=times
    )
