"""P4: a course is deleted by the product, and another by the engine's own hard cascade, in turn.

Times are seconds on the clock from BEGIN to the end of COMMIT, through the product's own service functions and
connections: what a deletion costs is waiting for the database.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

import msgspec
import psycopg
import pymysql
from sqlalchemy import bindparam, delete

from bench.courses import Courses
from bench.measure import Comparison
from bench.population import Population
from bench.report import Figure
from bench.stand import ADMIN_PASSWORD, Stand
from holdfast.core.actor import Actor
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.open import open_database
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.statements import Command
from holdfast.db.tables import group_list
from holdfast.features.deletions import service as deletions
from tests.instance import instance_settings

ROUNDS = 6
_AT_MOST_DELETING, _AT_MOST_PLANNING = 2.0, 0.5
_PLAN_KEY = b"a key that only has to be the same twice"
_KEPT_DAYS = 30
_SETTLED_HISTORY, _SETTLE_SECONDS = 500, 60.0
_HARD_CASCADE = Command(
    "bench.hard_cascade",
    delete(group_list).where(group_list.c.g_id == bindparam("g_id", type_=group_list.c.g_id.type)),
    heavy=True,
)


class Round(msgspec.Struct, frozen=True):
    """Seconds of one round: the plan, the deletion after it, and the hard cascade of another course."""

    plan: float
    deletion: float
    hard_cascade: float


def courses_for(population: Population, *, rounds: int, projects: int) -> Courses:
    """Two courses for each round and two to warm up with."""
    return Courses(courses=2 * (rounds + 1), projects=projects, user_ids=population.user_ids)


def measure_deletion(stand: Stand, population: Population, courses: Courses) -> Iterator[Figure]:
    """The figures of P4. The courses are gone then."""
    rounds = asyncio.run(_run_rounds(stand, population, courses))
    what = f"a course ({courses.rows_of_a_course} rows)"
    of_deletion = _compared(f"delete {what}", [(each.deletion, each.hard_cascade) for each in rounds])
    yield _figure(stand, of_deletion, _AT_MOST_DELETING)
    of_plan = _compared(f"plan to delete {what}", [(each.plan, each.hard_cascade) for each in rounds])
    yield _figure(stand, of_plan, _AT_MOST_PLANNING)


async def _run_rounds(stand: Stand, population: Population, courses: Courses) -> list[Round]:
    settings = instance_settings(stand.database_url, stand.folder, admin_password=ADMIN_PASSWORD)
    actor = Actor(population.super_admin_id, population.usernames[0], is_super_admin=True)
    pairs = list(zip(courses.group_ids[::2], courses.group_ids[1::2], strict=True))
    rounds = []
    database = open_database(settings)
    async with database.running():
        for number, (soft, hard) in enumerate(pairs):
            # Both are planned first, so that both are in the caches.
            token, plan_seconds = await _plan(database, actor, soft)
            await _plan(database, actor, hard)
            in_turn = (
                lambda soft=soft, token=token: _delete(database, actor, soft, token),
                lambda hard=hard: _cascade(database, hard),
            )
            seconds = [0.0, 0.0]
            for side in (0, 1) if number % 2 else (1, 0):
                await asyncio.to_thread(settle, stand)
                seconds[side] = await _timed(in_turn[side])
            rounds.append(Round(plan_seconds, *seconds))
    # The first prepared the statements and grew the files.
    return rounds[1:]


async def _plan(database: Database, actor: Actor, g_id: str) -> tuple[str, float]:
    started = time.perf_counter()
    async with database.read() as tx:
        plan = await deletions.plan_deletion(tx, actor, "group", g_id, plan_key=_PLAN_KEY)
    return plan.token, time.perf_counter() - started


async def _delete(database: Database, actor: Actor, g_id: str, token: str) -> None:
    wish = deletions.Wish(plan_token=token, take_along=True)
    async with database.write() as tx:
        await deletions.delete(tx, actor, "group", g_id, wish, plan_key=_PLAN_KEY, kept_days=_KEPT_DAYS)


async def _cascade(database: Database, g_id: str) -> None:
    async with database.write() as tx:
        await tx.execute(_HARD_CASCADE, g_id=g_id)


async def _timed(act: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


def settle(stand: Stand) -> None:
    """Let the engine finish what the side before left to its background work."""
    _SETTLE[stand.engine](stand)


def _settle_postgresql(stand: Stand) -> None:
    with psycopg.connect(stand.database_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def _settle_mariadb(stand: Stand) -> None:
    connection = pymysql.connect(**_mariadb_arguments(stand), autocommit=True)
    deadline = time.monotonic() + _SETTLE_SECONDS
    with connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'")
            found: Any = cursor.fetchone()
            if int(found[1]) <= _SETTLED_HISTORY:
                return
            time.sleep(0.1)


def _settle_sqlite(stand: Stand) -> None:
    connection = sqlite3.connect(str(parse_address(stand.database_url).path))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _mariadb_arguments(stand: Stand) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(parse_address(stand.database_url).connect_arguments)
    return {{"db": "database"}.get(name, name): value for name, value in arguments.items()}


_SETTLE: dict[str, Callable[[Stand], None]] = {
    "postgresql": _settle_postgresql,
    "mariadb": _settle_mariadb,
    "sqlite": _settle_sqlite,
}


def _compared(name: str, pairs: list[tuple[float, float]]) -> Comparison:
    ratios = [ours / theirs for ours, theirs in pairs]
    return Comparison(
        scenario=name,
        requests_per_round=1,
        product_ms=1000 * median(ours for ours, _ in pairs),
        other_ms=1000 * median(theirs for _, theirs in pairs),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        rounds=tuple((1000 * ours, 1000 * theirs) for ours, theirs in pairs),
    )


def _figure(stand: Stand, measured: Comparison, at_most: float) -> Figure:
    return Figure("P4", stand.engine, measured.scenario, measured.ratio, at_most, "x hard cascade", measured)
