"""Importing an older database into an empty or a running Holdfast, again and again where it must be.

Every page of rows goes in with its entries of the key map in one transaction. A run that was killed is started again:
it leaves alone what is there, and ends with the rows that it would have made. Nothing is written to the older database.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Table, inspect

from holdfast.core.clock import Clock, utc_now
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.key_map import ensure_key_map, legacy_keys
from holdfast.db.lifecycle.recover_statements import PARENTS
from holdfast.db.migrate import check_schema, migrate, on_database, schema_status
from holdfast.db.numbering import go_on_after, last_number_given
from holdfast.db.open import open_database
from holdfast.db.retries import with_retries
from holdfast.db.tables import audit_logs, users
from holdfast.db.tables.groups import SUPER_GROUP_NAME
from holdfast.features.accounts import passwords
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions.system_actor import get_system_actor
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.legacy import key_map
from holdfast.operations.legacy.comparing import Comparer, Comparison
from holdfast.operations.legacy.desk import Desk, TargetDesk
from holdfast.operations.legacy.flavours import flavour_of
from holdfast.operations.legacy.hashes import count_hashes
from holdfast.operations.legacy.imagined import Imagination, ImaginedDesk, imagining
from holdfast.operations.legacy.key_map import AuditRange, ImportState, NamedEntry, OutcomeCount
from holdfast.operations.legacy.page import bring_in
from holdfast.operations.legacy.plan import plan_import
from holdfast.operations.legacy.queries import ParentState
from holdfast.operations.legacy.source import Row, Source, open_source
from holdfast.operations.legacy.stages import Facts, Stage
from holdfast.operations.legacy.types import KeyEntry, LegacyError, Options, Outcome
from holdfast.operations.table_rows import COUNTS
from holdfast.settings import Settings

ROWS_AT_ONCE = 500
# While a running server goes on to number its own entries.
_NUMBERS_LEFT_FREE = 10_000
_NOTES_AT_ONCE = 1000

# Called with the part that goes on, how many rows of it are done, and how many there are.
Progress = Callable[[str, int, int], None]
OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]
# Called with the key that a page ended with.
CameTo = Callable[[tuple[Any, ...]], Awaitable[None]]


class TableLeftOut(msgspec.Struct, frozen=True):
    """An older table, or a column of one, for which Holdfast has no place."""

    table: str
    rows: int
    column: str = ""


class LegacyReport(msgspec.Struct, kw_only=True):
    """What an import did, or would do."""

    source: str
    flavour: str
    started_at: datetime
    added: dict[str, int]
    outcomes: list[OutcomeCount]
    comparisons: list[Comparison]
    left_out: list[TableLeftOut]
    # Users whose hash of bcrypt opens at the first sign-in, which replaces it; and those whose hash opens nothing.
    bcrypt_hashes: int
    foreign_hashes: int
    admin_password: str | None = None

    @property
    def unexplained(self) -> int:
        """Differences that nobody has explained."""
        return sum(each.unexplained for each in self.comparisons)


class Noted(msgspec.Struct, frozen=True):
    """A row of the report: something was done to it, or it was left out."""

    table: str
    entry: NamedEntry


Tell = Callable[[Noted], None]


async def import_legacy(
    settings: Settings,
    source_url: str,
    options: Options,
    *,
    name: str | None = None,
    progress: Progress = lambda part, done, whole: None,
    tell: Tell = lambda noted: None,
    clock: Clock = utc_now,
) -> LegacyReport:
    """Import; every row that was changed or left out is told at the end, whichever run did it."""
    source_address, target_address = _addresses(settings, source_url)
    status = await schema_status(target_address)
    if status.current is None:
        await migrate(target_address)
    await check_schema(target_address)
    await ensure_key_map(target_address)
    async with open_source(source_address) as source, open_database(settings).running() as database:
        state = await begin(database, name or plain_name(source_address), flavour_of(source.catalogue), clock())
        facts = Facts(source, msgspec.structs.replace(options, now=state.started_at), state.source)
        await gather(facts)
        run = Run(facts, database, settings, clock)
        stages = plan_import(source.catalogue)
        for stage in stages:
            if stage.table is audit_logs:
                await reserve_numbers(database, facts, stage)
            await run_stage(stage, facts, run.desk, progress, run.added)
        first_start = await ensure_first_start(database, settings.admin_password, clock)
        comparisons = [await _compare(stage, facts, database, progress) for stage in stages]
        password = await reset_passwords(database, settings, clock)
        await finish(database, run, clock)
        async with database.read() as tx:
            outcomes = await tx.fetch_all(key_map.COUNTS, source=state.source)
            await tell_all(partial(noted_in, tx, state.source), stages, tell)
        hashes = await count_hashes(source)
        return LegacyReport(
            source=state.source,
            flavour=state.flavour,
            started_at=state.started_at,
            added=run.added,
            outcomes=outcomes,
            comparisons=comparisons,
            left_out=await without_place(source, stages),
            bcrypt_hashes=hashes.bcrypt,
            foreign_hashes=hashes.foreign,
            admin_password=password or (None if first_start is None else first_start.generated_password),
        )


async def imagine_import(
    settings: Settings | None,
    source_url: str,
    options: Options,
    *,
    name: str | None = None,
    progress: Progress = lambda part, done, whole: None,
    tell: Tell = lambda noted: None,
    clock: Clock = utc_now,
) -> LegacyReport:
    """What an import would do to the database of the settings, or to an empty one; nothing is written to either."""
    source_address = parse_address(source_url)
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(open_source(source_address))
        imagination = await stack.enter_async_context(imagining())
        database = None
        if settings is not None:
            database = await _open_to_read(settings, _addresses(settings, source_url)[1], stack)
        flavour, now = flavour_of(source.catalogue), clock()
        facts = Facts(source, msgspec.structs.replace(options, now=now), name or plain_name(source_address))
        await gather(facts)
        added: dict[str, int] = {}
        stages = plan_import(source.catalogue)
        if database is not None:
            await _imagine_numbers(database, facts)
        for stage in stages:
            await run_stage(stage, facts, partial(_imagined_desk, imagination, database, facts), progress, added)

        async def noted(table: str, after: str, at_most: int) -> list[NamedEntry]:
            return imagination.noted(table, after, at_most)

        await tell_all(noted, stages, tell)
        hashes = await count_hashes(source)
        return LegacyReport(
            source=facts.name,
            flavour=flavour,
            started_at=now,
            added=added,
            outcomes=imagination.counts(),
            comparisons=[],
            left_out=await without_place(source, stages),
            bcrypt_hashes=hashes.bcrypt,
            foreign_hashes=hashes.foreign,
        )


class Run:
    """What an import that writes needs again and again."""

    def __init__(self, facts: Facts, database: Database, settings: Settings, clock: Clock) -> None:
        self.facts = facts
        self.database = database
        self.added: dict[str, int] = {}
        self._settings = settings
        self._clock = clock

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[Desk]:
        """A desk in a transaction of its own."""
        days = self._settings.retention_deleted_days
        async with self.database.write() as tx:
            yield TargetDesk(tx, self.facts.name, retention_days=days, now=self._clock())


@asynccontextmanager
async def _imagined_desk(imagination: Imagination, target: "_Readable | None", facts: Facts) -> AsyncIterator[Desk]:
    if target is None:
        yield ImaginedDesk(imagination, None, facts.name)
        return
    async with target.database.read() as tx:
        beneath = _ReadingDesk(tx, facts.name, now=facts.options.now, has_key_map=target.has_key_map)
        yield ImaginedDesk(imagination, beneath, facts.name)


class _ReadingDesk(TargetDesk):
    """The target as an imagined import sees it: nothing is locked."""

    def __init__(self, tx: Transaction, source: str, *, now: datetime, has_key_map: bool) -> None:
        super().__init__(tx, source, retention_days=0, now=now)
        self._reading, self._read_at, self._has_key_map = tx, now, has_key_map

    async def entries(self, name: str, keys: Collection[str]) -> dict[str, KeyEntry]:
        return await super().entries(name, keys) if self._has_key_map else {}

    async def mapped(self, name: str, ids: Collection[str]) -> dict[str, str]:
        return await super().mapped(name, ids) if self._has_key_map else {}

    async def parents(self, table: Table, ids: Collection[str]) -> dict[str, ParentState]:
        rows = await self._reading.fetch_all(PARENTS[table.name], keys=sorted(ids)) if ids else []
        return {row.key: ParentState(row.key, row.deletion_id, self._read_at) for row in rows}


class _Readable(msgspec.Struct, frozen=True):
    """A target that is only read."""

    database: Database
    has_key_map: bool


async def _open_to_read(settings: Settings, address: DatabaseAddress, stack: AsyncExitStack) -> _Readable | None:
    """The target where there is one; an empty database is none."""
    if address.dialect_name == "sqlite" and not await asyncio.to_thread(address.path.exists):
        return None
    if (await schema_status(address)).current is None:
        return None
    await check_schema(address)
    has_key_map = await on_database(address, lambda connection: inspect(connection).has_table(legacy_keys.name))
    return _Readable(await stack.enter_async_context(open_database(settings).running()), has_key_map)


def _addresses(settings: Settings, source_url: str) -> tuple[DatabaseAddress, DatabaseAddress]:
    source, target = parse_address(source_url), parse_address(settings.resolved_database_url)
    if source.is_same_as(target):
        raise LegacyError("the older database and that of the settings (HOLDFAST_DATABASE_URL) are one")
    return source, target


def plain_name(address: DatabaseAddress) -> str:
    """The name of the source in the key map: that of its database."""
    name = address.path.name if address.dialect_name == "sqlite" else address.database_name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]


async def begin(database: Database, name: str, flavour: str, now: datetime) -> ImportState:
    """The state of this source's imports; a first one begins now."""

    async def attempt() -> ImportState:
        async with database.write() as tx:
            if not await tx.fetch_count(COUNTS[users.name]):
                # All rows were removed since, by going back to an empty schema.
                await tx.execute(key_map.FORGET, source=name)
                await tx.execute(key_map.FORGET_IMPORT, source=name)
            found = await tx.fetch_one(key_map.STATE, source=name)
            if found is not None:
                return found
            state = ImportState(name, flavour, now, None, "[]")
            await tx.execute(key_map.BEGIN, **msgspec.structs.asdict(state))
            return state

    return await with_retries(attempt)


async def gather(facts: Facts) -> None:
    """What rules must know of the whole older database."""
    catalogue = facts.source.catalogue
    (name,) = catalogue.named("group_list")
    key = catalogue.key_column(name, "g_id", "id") or "id"
    rows = await facts.source.rows_where(name, "group_name", [SUPER_GROUP_NAME], [key])
    # MariaDB finds it in any case of its letters.
    found = [row for row in rows if row["group_name"] == SUPER_GROUP_NAME]
    facts.super_key = str(found[0][key]) if found else None


async def run_stage(
    stage: Stage,
    facts: Facts,
    desks: OpenDesk,
    progress: Progress,
    added: dict[str, int],
    *,
    after: tuple[Any, ...] | None = None,
    came_to: CameTo | None = None,
) -> None:
    """All rows of an older table: those first that keep their names.

    `after` is the key at which a run before this one was broken off; `came_to` is told each key that a page ended with.
    """
    source, part = facts.source, f"Importing {stage.label}"
    whole, done = await source.count(stage.source), 0
    if not whole:
        return
    times = [
        name
        for group in (("update_at", "updated_at"), ("create_at", "created_at"))
        if (name := source.catalogue.column(stage.source.name, *group)) is not None
    ]
    late = await source.older_twins(stage.source, stage.twins, times, folded=stage.folded) if stage.twins else []
    set_aside = frozenset(late)

    async def take(rows: list[Row]) -> None:
        async def attempt() -> int:
            async with desks() as desk:
                return sum(draft.is_kept for draft in await bring_in(stage, rows, facts, desk))

        count = await with_retries(attempt)
        table = str(stage.table.name)
        added[table] = added.get(table, 0) + count

    progress(part, 0, whole)
    settle_at = ROWS_AT_ONCE
    async for page in source.pages(stage.source, ROWS_AT_ONCE, after=after):
        first = [row for row in page if tuple(row[key] for key in stage.source.key) not in set_aside]
        await take(first)
        done += len(first)
        progress(part, done, whole)
        if came_to is not None:
            await came_to(tuple(page[-1][key] for key in stage.source.key))
        if done >= settle_at:
            settle_at *= 2
            async with desks() as desk:
                await desk.settle(stage)
    # The newest of them first, so that a merged row has their values.
    for start in range(0, len(late), ROWS_AT_ONCE):
        await take(await source.rows_of_keys(stage.source, late[start : start + ROWS_AT_ONCE]))
        done += len(late[start : start + ROWS_AT_ONCE])
        progress(part, done, whole)


async def reserve_numbers(database: Database, facts: Facts, stage: Stage) -> None:
    """Give the old audit entries numbers that nobody else gets: their own, where the log is empty."""
    last = await facts.source.greatest(stage.source)

    async def attempt() -> list[AuditRange]:
        async with database.write() as tx:
            state = await tx.fetch_one(key_map.STATE, source=facts.name)
            assert state is not None
            ranges = state.ranges
            if not ranges or ranges[-1].last < last:
                given = await last_number_given(tx, audit_logs)
                ranges = [*ranges, AuditRange(last, given + _NUMBERS_LEFT_FREE if given else 0)]
                text = msgspec.json.encode(ranges).decode()
                await tx.execute(key_map.SET_RANGES, source_name=facts.name, audit_ranges=text)
            return ranges

    ranges = await with_retries(attempt)

    async def reserve() -> None:
        async with database.write() as tx:
            await go_on_after(tx, audit_logs, ranges[-1].last + ranges[-1].offset)

    await with_retries(reserve)
    facts.audit_offset = partial(_numbered, ranges)


async def _imagine_numbers(target: "_Readable", facts: Facts) -> None:
    async with target.database.read() as tx:
        states = await tx.fetch_all(key_map.STATE, source=facts.name) if target.has_key_map else []
        given = await last_number_given(tx, audit_logs)
    ranges = [each for state in states for each in state.ranges]
    new = AuditRange(2**62, given + _NUMBERS_LEFT_FREE if given else 0)
    facts.audit_offset = partial(_numbered, [*ranges, new])


def _numbered(ranges: list[AuditRange], number: int) -> int:
    return number + next((each.offset for each in ranges if number <= each.last), ranges[-1].offset)


async def _compare(stage: Stage, facts: Facts, database: Database, progress: Progress) -> Comparison:
    comparer = Comparer(stage, facts, database)
    whole = await facts.source.count(stage.source)
    async for page in facts.source.pages(stage.source, ROWS_AT_ONCE):
        await comparer.compare(page)
        progress(f"Comparing {stage.label}", comparer.found.rows, whole)
    return comparer.end()


async def reset_passwords(database: Database, settings: Settings, clock: Clock) -> str | None:
    """Give user `admin` a password where nobody could sign in as it; the password, where it was generated."""
    async with database.read() as tx:
        found = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
    if found is None or passwords.can_be_opened(found.password):
        return None
    generated = None if settings.admin_password is not None else passwords.new_first_password()
    hashed = await passwords.hash_password(settings.admin_password or generated or "")

    async def attempt() -> None:
        now = clock()
        async with database.write() as tx:
            await tx.execute(
                account_queries.SET_PASSWORD,
                u_id=found.u_id,
                new_password=hashed,
                new_must_change_password=True,
                new_updated_at=now,
            )
            actor = await get_system_actor(tx)
            new = {"must_change_password": True}
            await audit.record(tx, actor, Action.UPDATE, "user", found.u_id, label=ADMIN_USERNAME, new=new, clock=clock)

    await with_retries(attempt)
    return generated


async def finish(database: Database, run: "Run", clock: Clock) -> None:
    """Write the entry of the audit log, once for every run that brought something."""

    async def attempt() -> None:
        async with database.write() as tx:
            state = await tx.fetch_one(key_map.STATE, source=run.facts.name)
            assert state is not None
            if state.finished_at is not None and not any(run.added.values()):
                return
            outcomes = await tx.fetch_all(key_map.COUNTS, source=run.facts.name)
            await audit.record(
                tx,
                await get_system_actor(tx),
                Action.CREATE,
                "legacy-import",
                run.facts.name,
                label=state.flavour,
                new={"made": {each.table_name: each.rows for each in outcomes if each.outcome == Outcome.MADE}},
                description="imported from an older database",
                clock=clock,
            )
            await tx.execute(key_map.FINISH, source_name=run.facts.name, finished_at=clock())

    await with_retries(attempt)


async def tell_all(
    noted: Callable[[str, str, int], Awaitable[list[NamedEntry]]], stages: list[Stage], tell: Tell
) -> None:
    """Every row to which something was done, table by table."""
    for name in dict.fromkeys(stage.name for stage in stages):
        after = ""
        while page := await noted(name, after, _NOTES_AT_ONCE):
            for entry in page:
                tell(Noted(name, entry))
            after = page[-1].old_key


async def noted_in(tx: Transaction, source: str, table: str, after: str, at_most: int) -> list[NamedEntry]:
    return await tx.fetch_all(key_map.NOTED, source=source, table_name=table, after=after, at_most=at_most)


async def without_place(source: Source, stages: list[Stage]) -> list[TableLeftOut]:
    """Tables and columns of which nothing is imported, where they hold something."""
    found = [TableLeftOut(name, await source.count_all(name)) for name in source.catalogue.unknown]
    read: dict[str, set[str]] = {}
    for stage in stages:
        columns = read.setdefault(stage.source.name, {"deleted_at", *stage.source.key, *stage.source.grouped_by})
        columns |= {name for field in stage.fields for name in field.sources}
    for name, columns in read.items():
        without = sorted(source.catalogue.tables[name].keys() - columns - _READ_BY_RULES)
        found += [TableLeftOut(name, await source.count_filled(name, column), column) for column in without]
    return [each for each in found if each.rows]


# What rules read of a row beside the columns that have a place.
_READ_BY_RULES = frozenset({"minio_path", "name", "tag", "type", "filename", "p_id", "is_global", "project_id"})
