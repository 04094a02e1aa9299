"""What the older program was told of its writes, and what of it an older database and a Holdfast must hold."""

import itertools
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.operations.legacy.expected import TARGETS, new_key, new_key_column
from tests.operations.legacy.flavours import REFERENCES, UNLINKED_COLUMNS
from tests.operations.legacy.loading import LegacyDatabase, Rows
from tests.operations.legacy.old_schema import CHOICES, LABELS, OldSchema, Values

RowId = tuple[str, tuple[int, ...]]
Identity = tuple[Any, ...]
States = list[Values | None]

# What stands for a row that is gone, where orphans are kept.
_PLACEHOLDERS = {"users": "former_user", "groups": "group_quarantine", "projects": "proj_quarantine"}
_RENAMED = {"create_at": "created_at", "update_at": "updated_at"}
_MENTION = re.compile(r"\b(u_id|g_id|p_id|cf_id)=([0-9]+)")
_MENTIONED = {"u_id": "users", "g_id": "groups", "p_id": "projects", "cf_id": "config_files"}
_ROWS_AT_ONCE = 500


class Entry(msgspec.Struct, kw_only=True):
    """One row of the older database.

    `states` are what it may hold, None for no row: one where the last write was acknowledged, several where its
    connection was lost while it was committed. `values` is all that was last known of it, `written` the columns that
    the program has written.
    """

    noun: str
    key: tuple[int, ...]
    values: Values
    states: States
    written: frozenset[str] = frozenset()
    is_touched: bool = False

    @property
    def id(self) -> RowId:
        return self.noun, self.key

    @property
    def is_there(self) -> bool:
        """Whether it is surely there, and not marked as deleted."""
        return len(self.states) == 1 and self.states[0] is not None and self.values.get("deleted_at") is None


class Change(msgspec.Struct, kw_only=True):
    """What a statement makes of a row; no values where it deletes it."""

    entry: Entry
    values: Values | None
    written: frozenset[str] = frozenset()


class Ledger:
    """The rows that the clients know. Whoever changes a row, or hangs another on it, claims it until that is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[RowId, Entry] = {}
        self._free: dict[str, list[RowId]] = {}
        self._claimed: set[RowId] = set()
        # Labels of rows whose insertion was in doubt before their key was known.
        self.doubtful_labels: set[str] = set()

    def add(self, entry: Entry) -> None:
        """A row that the clients may work on."""
        self._entries[entry.id] = entry
        self._free.setdefault(entry.noun, []).append(entry.id)

    def find(self, noun: str, *key: int) -> Entry | None:
        return self._entries.get((noun, key))

    def count(self, noun: str) -> int:
        """How many rows there are to work on."""
        return len(self._free.get(noun, ()))

    def draw(self, chance: random.Random, noun: str, *, claims: bool = True) -> Entry | None:
        """Some row that nobody has claimed; None where there is hardly any."""
        with self._lock:
            pool = self._free.get(noun) or []
            for _ in range(min(len(pool), 5)):
                drawn = chance.choice(pool)
                if drawn not in self._claimed:
                    self._claimed |= {drawn} if claims else set()
                    return self._entries[drawn]
        return None

    def claim(self, entry: Entry) -> bool:
        """Claim a row that was met; False where another client has it or has deleted it meanwhile, or nobody knows."""
        with self._lock:
            known = self._entries.get(entry.id, entry)
            if entry.id in self._claimed or len(known.states) > 1 or known.states == [None]:
                return False
            self._claimed.add(entry.id)
            return True

    def release(self, ids: Iterable[RowId]) -> None:
        with self._lock:
            self._claimed -= set(ids)

    def settle(self, changes: Iterable[Change], *, acknowledged: bool) -> None:
        """Take in the changes of a unit of work, which is done, or which may be done."""
        with self._lock:
            for change in changes:
                entry = change.entry
                entry.states = [change.values] if acknowledged else [*entry.states, change.values]
                entry.values = change.values or entry.values
                entry.written |= change.written
                entry.is_touched = True
                self._entries[entry.id] = entry
                pool = self._free.setdefault(entry.noun, [])
                if not entry.is_there and entry.id in pool:
                    pool.remove(entry.id)
                elif entry.is_there and entry.id not in pool:
                    pool.append(entry.id)

    def touched(self, noun: str) -> list[Entry]:
        """The rows that the program has written or deleted."""
        return [entry for entry in self._entries.values() if entry.noun == noun and entry.is_touched]

    def may_be_gone(self, noun: str, number: int) -> bool:
        """Whether a row is deleted, or may be. What nobody has loaded is there."""
        entry = self.find(noun, number)
        return entry is not None and None in entry.states

    def gone_parents(self, entry: Entry) -> dict[str, str]:
        """The columns that name a row which is gone, each with the noun of that row."""
        return {
            column: parent
            for column, parent in REFERENCES.get(entry.noun, {}).items()
            if (number := entry.values.get(column)) is not None and self.may_be_gone(parent, number)
        }

    def is_orphan(self, entry: Entry) -> bool:
        """Whether what it belongs to is gone, or belongs itself to what is."""
        for column, parent in REFERENCES.get(entry.noun, {}).items():
            number = entry.values.get(column)
            if number is None or entry.noun == "audit" or (entry.noun, column) in UNLINKED_COLUMNS:
                continue
            owner = self.find(parent, number)
            if self.may_be_gone(parent, number) or (owner is not None and self.is_orphan(owner)):
                return True
        return False


def old_differences(ledger: Ledger, schema: OldSchema, database: LegacyDatabase, marker: str) -> Iterator[str]:
    """What the older tables hold otherwise than the program was told."""
    for noun in schema.flavour.tables:
        identity = schema.identity(noun)
        wanted: dict[Identity, States] = {}
        for entry in ledger.touched(noun):
            _add(wanted, tuple(entry.values[column] for column in identity), _old_states(schema, entry))
        columns = tuple(schema.column(noun, column) for column in identity)
        table = _Table(database, schema.flavour.tables[noun], columns)
        yield from _differences(table, wanted, schema.label(noun), marker, ledger.doubtful_labels)


def new_differences(ledger: Ledger, schema: OldSchema, database: LegacyDatabase, marker: str) -> Iterator[str]:
    """What Holdfast's tables hold otherwise than its rules make of what the program was told."""
    for noun in schema.flavour.tables:
        target = TARGETS[noun]
        if target is None:
            continue
        wanted: dict[Identity, States] = {}
        for entry in ledger.touched(noun):
            identity = _new_identity(entry, target)
            if identity is not None:
                _add(wanted, identity, _new_states(ledger, entry))
        columns = {"memberships": ("u_id", "g_id"), "audit": (LABELS["audit"],)}.get(noun) or (new_key_column(target),)
        table = _Table(database, target, columns)
        yield from _differences(table, wanted, LABELS.get(noun), marker, ledger.doubtful_labels)


def _add(wanted: dict[Identity, States], identity: Identity, states: States) -> None:
    """A pair of user and group that was parted may have come together again under another number."""
    if identity not in wanted or states != [None]:
        wanted[identity] = states


def _old_states(schema: OldSchema, entry: Entry) -> States:
    return [
        None
        if values is None
        else {schema.column(entry.noun, name): values[name] for name in entry.written & values.keys()}
        for values in entry.states
    ]


def _new_identity(entry: Entry, target: str) -> Identity | None:
    """How Holdfast calls the row; None where its number is too long for a rule."""
    if entry.noun == "audit":
        return (entry.values[LABELS["audit"]],)
    if entry.noun == "memberships":
        return new_key("users", entry.values["u_id"]), new_key("group_list", entry.values["g_id"])
    key = new_key(target, entry.key[0])
    return None if key is None else (key,)


def _new_states(ledger: Ledger, entry: Entry) -> States:
    found: States = []
    for values in entry.states:
        found += [None] if values is None else _new_rows(ledger, entry, values)
    if any(found) and ledger.is_orphan(entry):
        gone = ledger.gone_parents(entry).items()
        kept = {
            column: _PLACEHOLDERS[parent]
            for column, parent in gone
            if parent in _PLACEHOLDERS and (entry.noun, column) not in UNLINKED_COLUMNS
        }
        found += [None, kept]
    return found


def _new_rows(ledger: Ledger, entry: Entry, values: Values) -> Iterator[Values]:
    """What the row may be in Holdfast: more than one where that depends on what was there when it came."""
    row = {_RENAMED.get(name, name): _new_value(entry.noun, name, values) for name in entry.written & values.keys()}
    if entry.noun != "audit":
        form = ledger.find("forms", values["form_id"]) if entry.noun == "messages" else None
        row["deleted_at"] = values.get("deleted_at") or (form.values.get("deleted_at") if form else None)
    options = {
        column: [None if (entry.noun, column) in UNLINKED_COLUMNS else _PLACEHOLDERS[parent]]
        for column, parent in ledger.gone_parents(entry).items()
        if column in row and (entry.noun == "audit" or (entry.noun, column) in UNLINKED_COLUMNS)
    }
    if "resource_id" in row:
        options["resource_id"] = _resolved(ledger, values["resource_id"])
    for chosen in itertools.product(*options.values()):
        yield row | dict(zip(options, chosen, strict=True))


def _new_value(noun: str, name: str, values: Values) -> Any:
    value = values[name]
    parent = REFERENCES.get(noun, {}).get(name)
    if parent is not None:
        return None if value is None else new_key(str(TARGETS[parent]), value)
    if noun == "resources" and name in {"type", "name"}:
        kind = values["type"].lower()
        return kind if name == "type" else f"{kind}/{value}"
    return next((each for each in CHOICES.get((noun, name), ()) if each.casefold() == value.casefold()), value)


def _resolved(ledger: Ledger, text: str) -> list[Any]:
    """`u_id=3,g_id=7` with the new ids; what is gone may have been so before the entry came."""
    parts: list[list[str]] = []
    for part in text.split(","):
        mention = _MENTION.fullmatch(part)
        if mention is None:
            parts.append([part])
            continue
        noun, number = _MENTIONED[mention[1]], int(mention[2])
        new = f"{mention[1]}={new_key(str(TARGETS[noun]), number)}"
        parts.append([new, part] if ledger.may_be_gone(noun, number) else [new])
    return [",".join(chosen) for chosen in itertools.product(*parts)]


class _Table:
    """A table to look rows up in, by the columns that tell them apart."""

    def __init__(self, database: LegacyDatabase, name: str, identity: tuple[str, ...]) -> None:
        self._database = database
        self._columns = database.columns(name)
        self._identity = identity
        self.name = name

    def rows(self, identities: list[Identity]) -> Iterator[tuple[Identity, Values]]:
        place = f"({', '.join(['%s'] * len(self._identity))})"
        for start in range(0, len(identities), _ROWS_AT_ONCE):
            page = identities[start : start + _ROWS_AT_ONCE]
            where = f"({', '.join(self._identity)}) IN ({', '.join([place] * len(page))})"
            for row in self._select(self._columns, where, *itertools.chain(*page)):
                found = dict(zip(self._columns, row, strict=True))
                yield tuple(found[name] for name in self._identity), found

    def labelled(self, label: str, marker: str) -> Rows:
        """Identity and label of the rows that a program has made."""
        return self._select([*self._identity, label], f"{label} LIKE %s", f"%{marker}%")

    def _select(self, columns: Iterable[str], where: str, *values: Any) -> Rows:
        return self._database.run(f"SELECT {', '.join(columns)} FROM {self.name} WHERE {where}", *values)


def _differences(
    table: _Table, wanted: Mapping[Identity, States], label: str | None, marker: str, doubtful: set[str]
) -> Iterator[str]:
    found: dict[Identity, list[Values]] = {}
    for identity, row in table.rows(list(wanted)):
        found.setdefault(identity, []).append(row)
    for identity, states in wanted.items():
        rows = found.get(identity, [])
        if len(rows) > 1:
            yield f"{table.name} {identity} is there {len(rows)} times"
        problems = [_problem(rows[0] if rows else None, state) for state in states]
        if None not in problems:
            yield f"{table.name} {identity}: {', or '.join(filter(None, problems))}"
    if label is None:
        return
    labelled = table.labelled(label, marker)
    counts = Counter(row[-1] for row in labelled)
    for *columns, text in labelled:
        identity = tuple(columns)
        if identity not in wanted and not any(text.endswith(each) for each in doubtful):
            yield f"{table.name} {identity}: {text!r} was never told to be there"
        if counts[text] > 1:
            yield f"{table.name} {identity}: {text!r} is there {counts[text]} times"


def _problem(row: Values | None, state: Values | None) -> str | None:
    """What keeps a row from being in a state."""
    if row is None:
        return None if state is None else "it is lost"
    if state is None:
        return "it is there, though it was deleted"
    wrong = [name for name, value in state.items() if not same(name, row.get(name, "no such column"), value)]
    return "; ".join(f"{name} is {row.get(name)!r} instead of {state[name]!r}" for name in wrong) or None


def same(column: str, found: Any, written: Any) -> bool:
    """Whether a value is the one that was written, however a driver gives it."""
    return bool(_plain(column, found) == _plain(column, written))


def _plain(column: str, value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return json.loads(value) if column in {"parsed_yaml", "old_data", "new_data"} and isinstance(value, str) else value
