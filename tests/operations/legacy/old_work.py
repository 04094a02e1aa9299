"""A unit of work of the older program: one statement that is committed by itself, or several in a transaction."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Lock
from typing import Any, NoReturn

import psycopg

from tests.operations.legacy.flavours import REFERENCES, UNLINKED_COLUMNS
from tests.operations.legacy.loading import LegacyDatabase
from tests.operations.legacy.old_ledger import Change, Entry, Ledger, RowId, same
from tests.operations.legacy.old_schema import CHOICES, LABELS, OldSchema, Values

Hanging = list[tuple[Entry, bool]]


class BusyError(Exception):
    """Other clients have the rows that the work needs, or there are none."""


class WrongRowError(Exception):
    """A row that an acknowledged write has left is another one."""


class Meter:
    """Counts the statements that were answered, and measures the longest of each kind and the pauses between them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pauses: dict[str, float] = {}
        self.statements: Counter[str] = Counter()
        self.longest: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """The first pause begins."""
        self._last = dict.fromkeys(("read", "write"), time.monotonic())

    def time(self, kind: str, doing: str, began: float) -> None:
        """A statement was answered."""
        with self._lock:
            self.statements[doing] += 1
            self.longest[kind] = max(self.longest.get(kind, 0.0), time.monotonic() - began)

    def succeed(self, kind: str) -> None:
        """A read was answered, or a write committed."""
        with self._lock:
            now = time.monotonic()
            self.statements[kind] += 1
            self._pauses[kind] = max(self._pauses.get(kind, 0.0), now - self._last[kind])
            self._last[kind] = now

    def longest_pause(self, kind: str, *, until: float) -> float:
        return max(self._pauses.get(kind, 0.0), until - self._last[kind])


class Session:
    """A connection of one client. One that `prepares` runs its reads as prepared statements, as the ORM does."""

    def __init__(self, database: LegacyDatabase, schema: OldSchema, meter: Meter, *, prepares: bool) -> None:
        self.database = database
        self.schema = schema
        self.meter = meter
        self._connection: Any = database._connection
        self._is_postgresql = database.engine == "postgresql"
        self._prepares = prepares
        self._prepared: dict[str, str] = {}
        # What the last statement was for.
        self.doing = ""
        # Whether it is lost, or a prepared statement of it is of no more use.
        self.is_spoilt = False
        if self._is_postgresql:
            self._connection.prepare_threshold = 5 if prepares else None
        else:
            database.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def is_lost_by(self, error: Exception) -> bool:
        """Whether the connection can do no more after the error."""
        is_closed = self._connection.closed if self._is_postgresql else not self._connection.open
        self.is_spoilt |= is_closed or code_of(error) in _LOST
        return self.is_spoilt

    def roll_back(self) -> None:
        """End the transaction, if there is one."""
        self._connection.rollback()

    def read(self, noun: str, statement: str, *values: Any) -> list[Values]:
        """Rows of a noun."""
        self.doing = f"read {noun}"
        began = time.monotonic()
        with self._connection.cursor() as cursor:
            if self._is_postgresql:
                cursor.execute(statement, values, prepare=self._prepares or None)
            else:
                cursor.execute(self._as_prepared(cursor, statement) if self._prepares else statement, values)
            rows, columns = cursor.fetchall(), [column[0] for column in cursor.description]
        self.meter.time("read", self.doing, began)
        self.meter.succeed("read")
        return [self.schema.values(noun, columns, row) for row in rows]

    def _as_prepared(self, cursor: Any, statement: str) -> str:
        if statement not in self._prepared:
            name = f"read_{len(self._prepared)}"
            cursor.execute(f"PREPARE {name} FROM %s", (statement.replace("%s", "?"),))
            self._prepared[statement] = f"EXECUTE {name} USING {', '.join(['%s'] * statement.count('%s'))}"
        return self._prepared[statement]

    def write(self, doing: str, statement: str, *values: Any) -> int:
        """Run a statement; how many rows it has changed."""
        with self._writing(doing, statement, values) as cursor:
            return int(cursor.rowcount)

    def insert(self, noun: str, row: Values, key: tuple[str, ...]) -> tuple[int, ...]:
        """Insert a row; its key, as the server has given it."""
        columns = [self.schema.column(noun, name) for name in row]
        returning = ", ".join(self.schema.column(noun, name) for name in key)
        statement = (
            f"INSERT INTO {self.schema.flavour.tables[noun]} ({', '.join(columns)})"
            f" VALUES ({', '.join(['%s'] * len(row))})" + (f" RETURNING {returning}" if self._is_postgresql else "")
        )
        with self._writing(f"insert {noun}", statement, tuple(row.values())) as cursor:
            return tuple(cursor.fetchone()) if self._is_postgresql else (int(cursor.lastrowid),)

    def _writing(self, doing: str, statement: str, values: tuple[Any, ...]) -> Any:
        self.doing = doing
        began = time.monotonic()
        cursor = self._connection.cursor()
        cursor.execute(statement, values or None)
        self.meter.time("write", doing, began)
        return cursor


class Work:
    """What one unit of work has claimed and changed. The ledger learns of it when it is committed."""

    def __init__(
        self, session: Session, ledger: Ledger, chance: random.Random, *, in_transaction: bool, labels: Iterator[str]
    ) -> None:
        self._session = session
        self._schema = session.schema
        self._ledger = ledger
        self._in_transaction = in_transaction
        self._labels = labels
        self._claimed: set[RowId] = set()
        self._changes: dict[RowId, Change] = {}
        self._inserting: str | None = None
        self._is_committing = False
        self.chance = chance

    def perform(self, action: Callable[["Work"], None]) -> None:
        """Do it all, and tell the ledger. After an error the connection may still be in the transaction."""
        try:
            if self._in_transaction:
                self._session.write("begin", "START TRANSACTION")
            action(self)
            if self._in_transaction:
                self._is_committing = True
                self._session.write("commit", "COMMIT")
            if self._changes:
                self._session.meter.succeed("write")
                self._ledger.settle(self._changes.values(), acknowledged=True)
        except Exception as error:
            if self._is_committing and self._session.is_lost_by(error):
                self._ledger.settle(self._changes.values(), acknowledged=False)
                self._ledger.doubtful_labels |= {self._inserting} if self._inserting else set()
            raise
        finally:
            self._ledger.release(self._claimed)

    def has(self, *nouns: str) -> bool:
        """Whether the schema has them."""
        return all(noun in self._schema.columns for noun in nouns)

    def draw(self, noun: str) -> Entry:
        """Some row, which nobody else changes until this is committed."""
        entry = self.draw_shared(noun, claims=True)
        self._claimed.add(entry.id)
        return entry

    def draw_shared(self, noun: str, *, claims: bool = False) -> Entry:
        """Some row of a noun that is never deleted: others may use it, too."""
        entry = self._ledger.draw(self.chance, noun, claims=claims)
        if entry is None:
            raise BusyError
        return entry

    def draw_doomed(self, noun: str) -> Entry:
        """Some row to be deleted, unless there are few."""
        if self._ledger.count(noun) < 6:
            raise BusyError
        return self.draw(noun)

    def label(self) -> str:
        """A text that nothing else has."""
        return next(self._labels)

    def text(self) -> str:
        """A text of the kind that people write."""
        return self.label() + self.chance.choice(_TEXTS)

    def choose(self, noun: str, column: str) -> str:
        """One of the column's values, where nothing keeps it from that in any case of its letters."""
        found = self.chance.choice(CHOICES[noun, column])
        is_shouted = "free values" in self._schema.flavour.lets and self.chance.random() < 0.2
        return found.upper() if is_shouted else found

    def read(self, noun: str, statement: str, *values: Any) -> list[Values]:
        """Rows of a noun by a statement of their own, with its names as `OldSchema.spell` takes them."""
        return self._session.read(noun, self._schema.spell(statement), *values)

    def read_where(self, noun: str, **values: Any) -> list[Values]:
        where = " AND ".join(f"{self._schema.column(noun, name)} = %s" for name in values)
        table = self._schema.flavour.tables[noun]
        return self._session.read(noun, f"SELECT * FROM {table} WHERE {where}", *values.values())

    def check(self, entry: Entry) -> None:
        """Read a claimed row: it is there, as it was written."""
        rows = self.read_where(entry.noun, **self._key(entry))
        if len(rows) != 1:
            self._wrong(entry, f"it is there {len(rows)} times")
        for name in entry.written:
            if not same(name, rows[0].get(name), entry.values[name]):
                self._wrong(entry, f"{name} is {rows[0].get(name)!r} instead of {entry.values[name]!r}")

    def insert(self, noun: str, **values: Any) -> Entry:
        row = {name: value for name, value in values.items() if name in self._schema.columns[noun].values()}
        key_columns = self._schema.flavour.key(noun)
        self._begin_write()
        self._inserting = None if self._in_transaction else row.get(LABELS.get(noun, ""))
        key = self._session.insert(noun, row, key_columns)
        entry = Entry(noun=noun, key=key, values=row | dict(zip(key_columns, key, strict=True)), states=[None])
        self._changes[entry.id] = Change(entry=entry, values=entry.values, written=frozenset(row))
        return entry

    def update(self, entry: Entry, **values: Any) -> None:
        row = {name: value for name, value in values.items() if name in self._schema.columns[entry.noun].values()}
        places = ", ".join(f"{self._schema.column(entry.noun, name)} = %s" for name in row)
        self._changes[entry.id] = Change(entry=entry, values=entry.values | row, written=frozenset(row))
        self._write_one(entry, "update", f"UPDATE {self._table(entry)} SET {places}", *row.values())

    def delete(self, entry: Entry) -> None:
        self._changes[entry.id] = Change(entry=entry, values=None)
        self._write_one(entry, "delete", f"DELETE FROM {self._table(entry)}")

    def delete_with(self, entry: Entry, *, everything: bool) -> None:
        """Delete a row with all that hangs on it, or only with what the server does not let stay."""
        for child, is_cascaded in self._hanging(entry, everything=everything):
            if is_cascaded and not everything:
                self._changes[child.id] = Change(entry=child, values=None)
            else:
                self.delete(child)
        self.delete(entry)

    def hanging(self, noun: str, column: str, entry: Entry) -> list[Entry]:
        """The rows that name another one, claimed."""
        found = []
        for row in self.read_where(noun, **{column: entry.key[0]}):
            key = tuple(row[name] for name in self._schema.flavour.key(noun))
            child = self._ledger.find(noun, *key) or Entry(noun=noun, key=key, values=row, states=[row])
            if child.id in self._claimed:
                continue
            if not self._ledger.claim(child):
                raise BusyError
            self._claimed.add(child.id)
            found.append(child)
        return found

    def _hanging(self, entry: Entry, *, everything: bool) -> Hanging:
        """What goes with a row, children first, and whether the server deletes it by itself."""
        found: Hanging = []
        for noun, columns in REFERENCES.items():
            for column, parent in columns.items():
                if parent != entry.noun or noun == "audit" or not self.has(noun) or (noun, column) in UNLINKED_COLUMNS:
                    continue
                guarded = self._schema.guard(noun, column)
                if not everything and guarded is None:
                    continue
                for child in self.hanging(noun, column, entry):
                    found += [*self._hanging(child, everything=everything), (child, bool(guarded))]
        return found

    def _write_one(self, entry: Entry, verb: str, statement: str, *values: Any) -> None:
        key = self._key(entry)
        where = " AND ".join(f"{self._schema.column(entry.noun, name)} = %s" for name in key)
        self._begin_write()
        count = self._session.write(f"{verb} {entry.noun}", f"{statement} WHERE {where}", *values, *key.values())
        if count != 1:
            self._wrong(entry, f"{count} rows were there for it")

    def _begin_write(self) -> None:
        self._is_committing = not self._in_transaction

    def _table(self, entry: Entry) -> str:
        return self._schema.flavour.tables[entry.noun]

    def _key(self, entry: Entry) -> Values:
        return dict(zip(self._schema.flavour.key(entry.noun), entry.key, strict=True))

    def _wrong(self, entry: Entry, message: str) -> NoReturn:
        raise WrongRowError(f"{entry.noun} {entry.key}: {message}")


def code_of(error: Exception) -> object:
    """The code that the server or the driver has given an error."""
    return error.sqlstate if isinstance(error, psycopg.Error) else next(iter(error.args), None)


def now() -> datetime:
    """The time as the older program writes it."""
    return datetime.now(UTC).replace(tzinfo=None)


# The server goes down, or has ended the session; what it did with the last statement is not known.
_LOST = {"57P01", "57P02", "57P03", "08000", "08003", "08006", 1053, 1927, 2006, 2013, 2055}
_TEXTS = ("", " 看起來不錯 \U0001f44d", " 'quoted' \"twice\"", " \\ and %s", "\nlines\n\tmore\n", " naïve ☃")
