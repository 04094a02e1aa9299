"""The older program at work, with integer keys, while somebody upgrades its database.

    with OldProgram(url) as program:
        program.until_written(200)
        ... upgrade ...
        program.stop()
        print(program.longest_pause("write"), program.switched_at, program.failures)
    program.require_new(url)

It finds out by itself which flavour `make_legacy` has made. Its first client only reads, as the ORM does: `SELECT *`,
as a prepared statement. The others read, insert, change and delete rows of all kinds; no two of them work on a row at
once, so that the ledger knows what each row holds.
"""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Self

import msgspec
import psycopg
import pymysql

from tests.operations.legacy.flavours import REFERENCES, UNLINKED_COLUMNS
from tests.operations.legacy.loading import LegacyDatabase, open_legacy
from tests.operations.legacy.old_actions import READS, WRITES, Action, draw_action
from tests.operations.legacy.old_ledger import Entry, Ledger, new_differences, old_differences
from tests.operations.legacy.old_schema import OldSchema
from tests.operations.legacy.old_work import BusyError, Meter, Session, Work, WrongRowError, code_of

_DRIVER_ERRORS = (psycopg.Error, pymysql.Error, OSError)
# The rows that the clients begin with: of each noun so many that have the lowest numbers, parents first.
_ROWS = 400
_NOUNS = ("groups", "users", "memberships", "projects", "config_files", "forms", "requests", "workloads")
# The first administrator and the group `super` are under rules of their own.
_FIRST = {("users", (1,)), ("groups", (1,))}
# Greater numbers are hashed, and the sequences never come to them.
_WIDE = 2**31
_PATIENCE_SECONDS = 60.0


class Kind(StrEnum):
    """Why a statement failed."""

    LOST = "lost connection"
    LOCKED = "locked"
    # PostgreSQL: the result of a prepared statement has other columns than when it was prepared.
    CACHED_PLAN = "cached plan"
    # The tables are no longer the older ones.
    SWITCHED = "switched"
    # It found another row than an acknowledged write has left.
    WRONG_ROW = "wrong row"
    OTHER = "other"


class Failure(msgspec.Struct, frozen=True):
    """A statement that failed."""

    at: datetime
    kind: Kind
    client: int
    statement: str
    error: str


class OldProgram:
    """The clients, from when the block is entered until it is left or `stop` is called.

    Each waits `pace` seconds between its units of work. With `until_switched` all stop at the first statement that
    fails because the tables are no longer the older ones. A second program on one database needs another `seed`.
    """

    def __init__(
        self,
        url: str,
        *,
        clients: int = 4,
        pace: float = 0.005,
        seed: int = 0,
        prepares: bool = True,
        until_switched: bool = True,
    ) -> None:
        self._url = url
        self._pace = pace
        self._marker = f"op{seed}-"
        self._seed = seed
        self._prepares = prepares
        self._until_switched = until_switched
        self._meter = Meter()
        self._stopping = threading.Event()
        self._stopped_at: float | None = None
        self._bugs: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run_client, args=(number,), daemon=True) for number in range(clients)
        ]
        self.ledger = Ledger()
        self.failures: list[Failure] = []
        self.switched_at: datetime | None = None
        with open_legacy(url) as database:
            self._schema = OldSchema(database)
            _load(self.ledger, self._schema, database)

    def __enter__(self) -> Self:
        self._meter.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, each client after its unit of work. Raises what went wrong in the program itself."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "a statement is not answered"
        self._stopped_at = self._stopped_at or time.monotonic()
        if self._bugs:
            raise self._bugs[0]

    @property
    def is_running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def until_written(self, more: int) -> None:
        """Wait for so many further writes to be committed; less where it stops by itself."""
        wanted, deadline = self.statements["write"] + more, time.monotonic() + _PATIENCE_SECONDS
        while self.statements["write"] < wanted and not self._stopping.wait(0.01):
            assert time.monotonic() < deadline, f"it hardly writes: {self.statements} {self.failures[-3:]}"

    def until_ended(self) -> None:
        """Wait until it has stopped by itself."""
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)

    @property
    def statements(self) -> Counter[str]:
        """How many were answered: each kind such as `insert users`, all `read`s, and all committed `write`s."""
        return self._meter.statements

    def longest_pause(self, kind: str) -> float:
        """The longest time in seconds without an answered read, or without a committed write."""
        return self._meter.longest_pause(kind, until=self._stopped_at or time.monotonic())

    def longest_statement(self, kind: str) -> float:
        """How many seconds the longest read or write took that was answered."""
        return self._meter.longest.get(kind, 0.0)

    def failures_but(self, *kinds: Kind) -> list[Failure]:
        """The failures of other kinds than those that a test expects."""
        return [failure for failure in self.failures if failure.kind not in kinds]

    def require_old(self, url: str) -> None:
        """Every acknowledged write is in the older tables as it was written, and nothing that was deleted."""
        self._require(url, old_differences)

    def require_new(self, url: str) -> None:
        """Every acknowledged write is in Holdfast's tables as its rules make it, and nothing that was deleted."""
        self._require(url, new_differences)

    def _require(
        self, url: str, differences: Callable[[Ledger, OldSchema, LegacyDatabase, str], Iterator[str]]
    ) -> None:
        assert not self.is_running, "stop it first: nobody can compare rows that change"
        with open_legacy(url) as database:
            found = list(differences(self.ledger, self._schema, database, self._marker))
        assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])

    def _run_client(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - any will do, but always the same
        labels = (f"{self._marker}{number}-{count}" for count in itertools.count())
        actions = [
            action
            for action in (READS if number == 0 else WRITES)
            if all(noun in self._schema.columns for noun in action.nouns)
        ]
        try:
            while not self._stopping.is_set():
                self._connect(number, chance, actions, labels)
        except BaseException as error:
            self._bugs.append(error)
            self._stopping.set()

    def _connect(self, number: int, chance: random.Random, actions: list[Action], labels: Iterator[str]) -> None:
        """Work with one connection until it is lost."""
        try:
            with open_legacy(self._url) as database:
                prepares = self._prepares and number == 0
                session = Session(database, self._schema, self._meter, prepares=prepares)
                while not self._stopping.is_set() and not session.is_spoilt:
                    action = draw_action(chance, actions)
                    in_transaction = not action.alone or chance.random() < 0.3
                    work = Work(session, self.ledger, chance, in_transaction=in_transaction, labels=labels)
                    self._perform(number, session, work, action)
                    self._stopping.wait(self._pace)
        except _DRIVER_ERRORS as error:
            self._fail(number, Kind.LOST, "connect", error)
            self._stopping.wait(0.05)

    def _perform(self, number: int, session: Session, work: Work, action: Action) -> None:
        try:
            work.perform(action.run)
        except BusyError:
            session.roll_back()
        except (*_DRIVER_ERRORS, WrongRowError) as error:
            statement = session.doing
            self._fail(number, self._kind_of(session, error), statement, error)

    def _kind_of(self, session: Session, error: Exception) -> Kind:
        if session.is_lost_by(error):
            return Kind.LOST
        session.roll_back()
        if code_of(error) in _LOCKED:
            return Kind.LOCKED
        if "cached plan must not change result type" in str(error):
            # The statement would fail in this session ever after.
            session.is_spoilt = True
            return Kind.CACHED_PLAN
        if not self._schema.is_there(session.database):
            return Kind.SWITCHED
        return Kind.WRONG_ROW if isinstance(error, WrongRowError) else Kind.OTHER

    def _fail(self, number: int, kind: Kind, statement: str, error: Exception) -> None:
        failure = Failure(datetime.now(UTC), kind, number, statement, f"{type(error).__name__}: {error}".strip())
        self.failures.append(failure)
        if kind is Kind.SWITCHED:
            self.switched_at = self.switched_at or failure.at
            if self._until_switched:
                # The pauses end here, whenever somebody calls `stop`.
                self._stopped_at = self._stopped_at or time.monotonic()
                self._stopping.set()


# Deadlocks, and locks that were not granted in time.
_LOCKED = {"40P01", "40001", "55P03", 1205, 1213}


def _load(ledger: Ledger, schema: OldSchema, database: LegacyDatabase) -> None:
    """The rows that the clients may work on: those whose references lead to others of them."""
    session = Session(database, schema, Meter(), prepares=False)
    for noun in _NOUNS:
        if noun not in schema.columns:
            continue
        key = schema.flavour.key(noun)
        order = ", ".join(schema.column(noun, name) for name in key)
        rows = session.read(noun, f"SELECT * FROM {schema.flavour.tables[noun]} ORDER BY {order} LIMIT {_ROWS}")
        times = Counter(tuple(row[name] for name in schema.identity(noun)) for row in rows)
        for row in rows:
            entry = Entry(noun=noun, key=tuple(row[name] for name in key), values=row, states=[row])
            is_alone = times[tuple(row[name] for name in schema.identity(noun))] == 1
            is_plain = entry.is_there and entry.id not in _FIRST and max(entry.key) < _WIDE
            if is_plain and is_alone and _has_parents(ledger, entry):
                ledger.add(entry)


def _has_parents(ledger: Ledger, entry: Entry) -> bool:
    return all(
        entry.values.get(column) is None or ledger.find(parent, entry.values[column]) is not None
        for column, parent in REFERENCES.get(entry.noun, {}).items()
        if (entry.noun, column) not in UNLINKED_COLUMNS
    )
