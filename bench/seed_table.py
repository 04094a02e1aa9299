"""P7: the seed's table (seed 8), before and after, on each engine; the servers stand across a network.

Times are milliseconds on the clock of one call, the median of a round's calls; both sides take turns in every round,
and before anything is timed both must have given the same answer. SQLite has no network.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any

import msgspec
import uvloop
from sqlalchemy import Table

from bench import before
from bench.courses import Courses
from bench.deletion import settle
from bench.measure import Comparison
from bench.network import ROUND_TRIP_SECONDS, Network, across_a_network
from bench.orm_cascade import OrmCascade
from bench.population import Population, Size
from bench.report import Figure
from bench.stand import ADMIN_PASSWORD, Stand
from bench.unindexed import INDEXED_QUERIES, IndexedQuery, copy_tables
from holdfast.core.actor import Actor
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.open import open_database
from holdfast.db.tables import config_files, form_messages, forms, project_list, resources, user_group
from holdfast.features.deletions import service as deletions
from tests.instance import instance_settings

_AT_LEAST_CASCADE, _AT_LEAST_INDEX = 98.0, 60.0
# On SQLite there is no network to save.
_AT_LEAST_EMBEDDED = 40.0
_START = datetime(2026, 2, 5, 8, tzinfo=UTC)
_RESOURCES_OF_A_FILE, _MESSAGES_OF_A_FORM = 3, 3
_PLAN_KEY = b"a key that only has to be the same twice"
_KEPT_DAYS = 30

Rows = Iterator[dict[str, Any]]


class Effort(msgspec.Struct, frozen=True):
    """How much there is and how often it is measured. A cascade takes three courses of so many projects a round."""

    size: Size
    rounds: int
    calls: int
    cascades: int
    projects: int


THOROUGH = Effort(
    size=Size(users=2_000, groups=150, projects=500, forms=50_000), rounds=7, calls=12, cascades=5, projects=100
)
BRIEF = Effort(size=Size(users=200, groups=110, projects=10, forms=2_000), rounds=2, calls=2, cascades=1, projects=5)


class SeedTable:
    """The rows: a population, a user in a hundred groups, a project with a hundred of everything, and courses."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self.population = Population(effort.size)
        # One round warms up.
        number = 3 * (effort.cascades + 1)
        self.courses = Courses(courses=number, projects=effort.projects, user_ids=self.population.user_ids)
        self.user_id = self.population.user_ids[-1]
        self.project_id = "project-of-100"

    def tables(self) -> Iterator[tuple[Table, Rows]]:
        """Each table with its rows, parents first."""
        yield from self.population.tables()
        taken = {g_id for u_id, g_id, _ in self.population.members if u_id == self.user_id}
        free = [g_id for g_id in self.population.group_ids[1:] if g_id not in taken]
        joined = free[: before.ROWS - len(taken)]
        yield user_group, ({"u_id": self.user_id, "g_id": g_id, "role": "user"} for g_id in joined)
        g_id = self.population.group_ids[1]
        yield project_list, iter([{"p_id": self.project_id, "project_name": "a hundred of each", "g_id": g_id}])
        yield config_files, self._config_files()
        yield resources, self._resources()
        yield forms, self._forms()
        yield form_messages, self._messages()
        yield from self.courses.tables()

    def _config_files(self) -> Rows:
        for number in range(before.ROWS):
            name = f"part-{number:03}"
            yield {"cf_id": name, "filename": f"{name}.yaml", "content": "kind: List", "project_id": self.project_id}

    def _resources(self) -> Rows:
        for number in range(before.ROWS):
            for kind in ("deployment", "service", "configmap")[:_RESOURCES_OF_A_FILE]:
                yield {
                    "r_id": f"{kind}-{number:03}",
                    "cf_id": f"part-{number:03}",
                    "type": kind,
                    "name": f"{kind}/part-{number}",
                    "parsed_yaml": {"metadata": {"name": f"part-{number}"}},
                }

    def _forms(self) -> Rows:
        for number in range(before.ROWS):
            yield {
                "id": f"asked-{number:03}",
                "user_id": self.population.user_ids[number],
                "project_id": self.project_id,
                "title": f"Question {number}",
                "description": "The pod stays pending although the quota shows one free GPU.",
                "created_at": _START + timedelta(minutes=number),
            }

    def _messages(self) -> Rows:
        for number in range(before.ROWS * _MESSAGES_OF_A_FORM):
            yield {
                "id": f"said-{number:03}",
                "form_id": f"asked-{number % before.ROWS:03}",
                "user_id": self.population.user_ids[number % before.ROWS],
                "content": "We looked into it: the node was drained for maintenance and is back now.",
                "created_at": _START + timedelta(minutes=number),
            }


def measure_seed_table(stand: Stand, rows: SeedTable) -> Iterator[Figure]:
    """The figures of P7. The courses are gone then."""
    copy_tables(stand.database_url)
    with _network(stand) as network:
        if network.added_seconds:
            name = "a round trip across the network"
            yield Figure("P7", stand.engine, name, 1000 * network.added_seconds, None, "ms more")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(_Measuring(stand, network, rows).all_figures())
    yield from measured


@contextmanager
def _network(stand: Stand) -> Iterator[Network]:
    if stand.engine == "sqlite":
        yield Network(stand.database_url, 0.0)
        return
    with across_a_network(stand.database_url, ROUND_TRIP_SECONDS) as network:
        yield network


class _Measuring:
    """The product's own connections to the database, across the network, and what is asked over them."""

    def __init__(self, stand: Stand, network: Network, rows: SeedTable) -> None:
        self._stand = stand
        self._engine = stand.engine
        self._network = network
        self._rows = rows
        self._effort = rows.effort
        population = rows.population
        self._actor = Actor(population.super_admin_id, population.usernames[0], is_super_admin=True)
        settings = instance_settings(network.database_url, stand.folder, admin_password=ADMIN_PASSWORD)
        self._database: Database = open_database(settings)

    async def all_figures(self) -> list[Figure]:
        async with self._database.running():
            return [
                await self._row(before.USER_WITH_GROUPS, self._rows.user_id),
                await self._row(before.FORM_WITH_MESSAGES, self._rows.project_id),
                await self._row(before.PROJECT_WITH_CONFIG, self._rows.project_id),
                *[await self._index(query) for query in INDEXED_QUERIES],
                *await self._cascades(),
            ]

    async def _row(self, row: before.Row, id_: str) -> Figure:
        measured = await self._compare(
            f"{row.name} (100 rows)",
            lambda tx: row.before(tx, self._actor, id_),
            lambda tx: row.after(tx, self._actor, id_),
        )
        at_least = _AT_LEAST_EMBEDDED if self._engine == "sqlite" else row.at_least
        return _figure(self._engine, measured, at_least)

    async def _index(self, query: IndexedQuery) -> Figure:
        values: dict[str, str] = {
            "project_id": self._rows.population.project_ids[0],
            # The author of forms in every course.
            "user_id": self._rows.population.user_ids[1],
            "form_id": "form-000001",
        }
        value = None if query.by is None else values[query.by.name]
        measured = await self._compare(
            f"index: {query.name}", partial(query.run_without, value=value), partial(query.run, value=value)
        )
        return _figure(self._engine, measured, _AT_LEAST_INDEX)

    async def _compare(
        self,
        name: str,
        old: Callable[[Transaction], Awaitable[Any]],
        new: Callable[[Transaction], Awaitable[Any]],
    ) -> Comparison:
        sides = (old, new)
        first, second = [await self._answer(side) for side in sides]
        if not first or first != second:
            raise RuntimeError(f"{name}: before and after do not give the same rows")
        pairs = []
        for number in range(self._effort.rounds + 1):
            seconds = [0.0, 0.0]
            for side in (0, 1) if number % 2 else (1, 0):
                seconds[side] = median([await self._timed(sides[side]) for _ in range(self._effort.calls)])
            pairs.append((seconds[1], seconds[0]))
        # The first round prepared the statements.
        return _compared(name, pairs[1:], calls=self._effort.calls)

    async def _answer(self, side: Callable[[Transaction], Awaitable[Any]]) -> Any:
        async with self._database.read() as tx:
            return await side(tx)

    async def _timed(self, side: Callable[[Transaction], Awaitable[Any]]) -> float:
        started = time.perf_counter()
        async with self._database.read() as tx:
            await side(tx)
        return time.perf_counter() - started

    async def _cascades(self) -> list[Figure]:
        """By the application, by the product as one that can be restored, and by the engine's foreign keys."""
        orm = OrmCascade(self._network.database_url)
        ids = iter(self._rows.courses.group_ids)
        rounds = []
        for g_ids in zip(ids, ids, ids, strict=True):
            sides: tuple[Callable[[], Awaitable[None]], ...] = (
                partial(self._delete_by_orm, orm, g_ids[0]),
                partial(self._delete_by_product, g_ids[1]),
                partial(self._delete_by_engine, g_ids[2]),
            )
            seconds = []
            for side in sides:
                await asyncio.to_thread(settle, self._stand)
                started = time.perf_counter()
                await side()
                seconds.append(time.perf_counter() - started)
            rounds.append(seconds)
        orm.close()
        rows = self._rows.courses.rows_of_a_course
        by_product = _compared(
            f"cascade, by the product ({rows} rows)", [(ours, theirs) for theirs, ours, _ in rounds[1:]]
        )
        by_engine = _compared(
            f"cascade, by the engine ({rows} rows)", [(ours, theirs) for theirs, _, ours in rounds[1:]]
        )
        return [_figure(self._engine, measured, _AT_LEAST_CASCADE) for measured in (by_product, by_engine)]

    async def _delete_by_orm(self, orm: OrmCascade, g_id: str) -> None:
        # It holds up the loop, on which nothing else runs meanwhile.
        orm.delete_group(g_id)

    async def _delete_by_product(self, g_id: str) -> None:
        """With its plan, which a deletion of so much asks for."""
        async with self._database.read() as tx:
            plan = await deletions.plan_deletion(tx, self._actor, "group", g_id, plan_key=_PLAN_KEY)
        wish = deletions.Wish(plan_token=plan.token, take_along=True)
        async with self._database.write() as tx:
            await deletions.delete(tx, self._actor, "group", g_id, wish, plan_key=_PLAN_KEY, kept_days=_KEPT_DAYS)

    async def _delete_by_engine(self, g_id: str) -> None:
        async with self._database.write() as tx:
            await tx.execute(before.HARD_CASCADE, g_id=g_id)


def _compared(name: str, pairs: list[tuple[float, float]], calls: int = 1) -> Comparison:
    ratios = [ours / theirs for ours, theirs in pairs]
    return Comparison(
        scenario=name,
        requests_per_round=calls,
        product_ms=1000 * median(ours for ours, _ in pairs),
        other_ms=1000 * median(theirs for _, theirs in pairs),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        rounds=tuple((1000 * ours, 1000 * theirs) for ours, theirs in pairs),
    )


def _figure(engine: str, measured: Comparison, at_least: float) -> Figure:
    saved = 100 * (1 - measured.ratio)
    return Figure("P7", engine, measured.scenario, saved, at_least, "% less", measured, at_least=True)
