"""P6: a deletion of a million rows is purged by the server's own worker while requests come at a steady rate.

What is compared is the 99th percentile of the requests' latencies during the purge, its bundle included, and before
and after it, on the same server. How long the purge held its transactions is the product's own metric, by the bound of
the histogram's bucket that holds the longest.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Any

import msgspec
import psycopg

from bench.courses import Courses
from bench.deletion import settle
from bench.measure import Comparison
from bench.population import Population
from bench.processes import Driven
from bench.report import Figure
from bench.scenarios import Scenario, scenarios
from bench.stand import ADMIN_PASSWORD, Server, Stand, load_process
from holdfast.core.actor import Actor
from holdfast.db.open import open_database
from holdfast.features.deletions import service as deletions
from tests.instance import instance_settings

_AT_MOST_SLOWER, _AT_MOST_SECONDS = 2.0, 0.5
# The writes and reads of a working day; the lists that span projects cost as much as all the others together.
_FOREGROUND = ("forms of a project, by its teacher", "user with groups", "open a form with a message")
_STARTS_WITHIN_SECONDS = 60.0
_KEPT_DAYS = 30
_PLAN_KEY = b"a key that only has to be the same twice"
_BUCKET = re.compile(rb'^holdfast_purge_transaction_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


class Span(msgspec.Struct, frozen=True):
    """How requests are sent: so many a second, in windows of so many seconds, so many before the purge and after it."""

    rate: float
    window_seconds: float
    windows: int


THOROUGH = Span(rate=150, window_seconds=5, windows=6)
BRIEF = Span(rate=50, window_seconds=0.5, windows=2)


def one_course(population: Population, *, projects: int) -> Courses:
    """What is purged."""
    return Courses(courses=1, projects=projects, user_ids=population.user_ids)


def measure_purge(stand: Stand, population: Population, courses: Courses, span: Span) -> Iterator[Figure]:
    """The figures of P6. The course is gone then."""
    if stand.engine == "postgresql":
        # The stand has it off; here its work belongs to what the purge costs.
        _switch_autovacuum_on(stand)
    deletion_id = asyncio.run(_delete(stand, population, courses.group_ids[0]))
    # What the engine put off while it marked the rows is no cost of the purge.
    settle(stand)
    chosen = [each for each in scenarios(population) if each.name in _FOREGROUND]
    token = population.token_of(population.super_admin_id)
    with stand.holdfast() as server, _steady_load(chosen, stand) as load:
        watched = _Watched(server, load, span, f"/api/v1/deletions/{deletion_id}", token)
        yield from watched.figures(stand.engine, courses.rows_of_a_course)


def longest_seconds(metrics: bytes) -> float:
    """The bound of the bucket that holds the longest transaction of the purge."""
    buckets = [(float(bound), float(count)) for bound, count in _BUCKET.findall(metrics)]
    total = max((count for _, count in buckets), default=0.0)
    if not total:
        raise RuntimeError("the server counted no transaction of a purge")
    return next(bound for bound, count in buckets if count == total)


class _Watched:
    """A server under steady load, and the deletion that it purges."""

    def __init__(self, server: Server, load: Driven, span: Span, path: str, token: str) -> None:
        self._server = server
        self._load = load
        self._span = span
        self._path = path
        self._token = token

    def figures(self, engine: str, rows: int) -> Iterator[Figure]:
        self._window()
        without = [self._window() for _ in range(self._span.windows)]
        self._server.post(f"{self._path}/purge", self._token, expected=202)
        self._wait_until_it_starts()
        begun = time.perf_counter()
        during: list[list[float]] = []
        # The last window outlasts the purge a little; a short purge has no other.
        while not during or self._state() == "purging":
            during.append(self._window())
        seconds = time.perf_counter() - begun
        self._require_purged()
        without += [self._window() for _ in range(self._span.windows)]
        what = f"({rows} rows)"
        measured = _compared(f"p99 beside a purge {what}", during, without)
        yield Figure("P6", engine, measured.scenario, measured.ratio, _AT_MOST_SLOWER, "x without", measured)
        longest = longest_seconds(self._server.get("/metrics"))
        yield Figure("P6", engine, f"longest transaction of a purge {what}, at most", longest, _AT_MOST_SECONDS, "s")
        yield Figure(
            "P6",
            engine,
            f"rows purged in a second {what}, bundle included",
            rows / seconds,
            None,
            "rows/s",
            at_least=True,
        )

    def _window(self) -> list[float]:
        answer = self._load.run(port=self._server.port, rate=self._span.rate, seconds=self._span.window_seconds)
        latencies: list[float] = answer["latencies"]
        return latencies

    def _wait_until_it_starts(self) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while self._state() == "deleted":
            if time.monotonic() > deadline:
                raise RuntimeError("the worker did not begin with the purge")
            time.sleep(0.02)

    def _require_purged(self) -> None:
        deletion = self._deletion()
        if deletion["state"] != "purged":
            raise RuntimeError(f"the purge ended as {deletion['state']}: {deletion['failure']}")

    def _state(self) -> str:
        return str(self._deletion()["state"])

    def _deletion(self) -> dict[str, Any]:
        return msgspec.json.decode(self._server.get(self._path, self._token), type=dict[str, Any])


def _steady_load(chosen: list[Scenario], stand: Stand) -> Any:
    return load_process(chosen, stand.folder, module="bench.steady")


async def _delete(stand: Stand, population: Population, g_id: str) -> str:
    """Soft-delete the course; the id of the deletion."""
    settings = instance_settings(
        stand.database_url, stand.folder, admin_password=ADMIN_PASSWORD, statement_timeout_seconds=3600
    )
    actor = Actor(population.super_admin_id, population.usernames[0], is_super_admin=True)
    database = open_database(settings)
    async with database.running(), database.write() as tx:
        plan = await deletions.plan_deletion(tx, actor, "group", g_id, plan_key=_PLAN_KEY)
        wish = deletions.Wish(plan_token=plan.token, take_along=True)
        deleted = await deletions.delete(tx, actor, "group", g_id, wish, plan_key=_PLAN_KEY, kept_days=_KEPT_DAYS)
    return deleted.deletion_id


def _switch_autovacuum_on(stand: Stand) -> None:
    with psycopg.connect(stand.database_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET autovacuum")
        connection.execute("SELECT pg_reload_conf()")


def _compared(name: str, during: list[list[float]], without: list[list[float]]) -> Comparison:
    """The 99th percentile of all requests, and the spread of the windows' own."""
    ours, theirs = (_p99([each for window in windows for each in window]) for windows in (during, without))
    of_windows = [_p99(window) / theirs for window in during]
    return Comparison(
        scenario=name,
        requests_per_round=len(during[0]),
        product_ms=1000 * ours,
        other_ms=1000 * theirs,
        ratio=ours / theirs,
        spread=(min(of_windows), max(of_windows)),
        rounds=tuple((1000 * _p99(window), 1000 * theirs) for window in during),
    )


def _p99(latencies: list[float]) -> float:
    return quantiles(latencies, n=100, method="inclusive")[98]
