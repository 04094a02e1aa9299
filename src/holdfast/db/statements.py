"""Named statements: the one way to the database.

A statement is declared once, in a feature's `queries.py`, in SQLAlchemy Core, with a name of the form `feature.verb`.
It is compiled once per dialect and run on the native driver; its rows go straight into msgspec structs. There is no
session and no lazy loading, so each access to the database has a name, an owner and a place in `registry`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Dialect, Integer, Select, Table, bindparam, func, insert, literal, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, CompoundSelect, visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ClauseList, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, NullType, String, TypeDecorator, TypeEngine

from holdfast.db import metrics
from holdfast.db.errors import UnstorableValueError
from holdfast.db.types import Flag, Json, Key, Timestamp

Row = TypeVar("Row")
Convert = Callable[[Any], Any]

DIALECTS = ("sqlite", "postgresql", "mariadb")
_DIALECT_URLS = {"sqlite": "sqlite+pysqlite://", "postgresql": "postgresql+asyncpg://", "mariadb": "mariadb+asyncmy://"}


class CompiledStatement(msgspec.Struct, frozen=True):
    """A statement in one dialect: its text, and how values go in and come out.

    `positions` names the parameter of each placeholder; a placeholder whose name is None takes its value from
    `constants`, and there are `plain_positions` where no placeholder does. `encoders` and `decoders` hold the
    conversions by position, for those that need one; `key_positions` are those whose text must be ASCII.
    """

    name: str
    sql: str
    positions: tuple[str | None, ...]
    constants: tuple[Any, ...]
    encoders: tuple[tuple[int, Convert], ...]
    key_positions: tuple[int, ...]
    decoders: tuple[tuple[int, Convert], ...]
    plain_positions: tuple[str, ...] | None

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """The values for the placeholders, in order."""
        if self.plain_positions is not None:
            values = [parameters[name] for name in self.plain_positions]
        else:
            pairs = zip(self.positions, self.constants, strict=True)
            values = [constant if name is None else parameters[name] for name, constant in pairs]
        for index in self.key_positions:
            value = values[index]
            if value.__class__ is str and not value.isascii():
                # MariaDB refuses other characters in such a column, even to look for: the other engines do as it does.
                raise UnstorableValueError("an id or a key word has letters, digits and signs of ASCII only")
        for index, encode in self.encoders:
            value = values[index]
            if value is not None:
                values[index] = encode(value)
        return values


class Statement:
    """A named statement. Equal names are refused: a name stands for one statement in logs, metrics and plans."""

    def __init__(
        self,
        name: str,
        element: ClauseElement,
        *,
        by_dialect: Mapping[str, ClauseElement] | None = None,
        heavy: bool = False,
    ) -> None:
        self.name = name
        self.element = element
        self.by_dialect = by_dialect or {}
        # A heavy statement may run long: on SQLite it leaves the event loop for a thread.
        self.heavy = heavy
        self.timing = metrics.statement_timings.of(name)
        # Rows given or matched, by all its runs in this process.
        self.rows = 0
        self._compiled: dict[str, CompiledStatement] = {}
        registry.add(self)

    def is_compiled(self, dialect_name: str) -> bool:
        """Whether it was used in this dialect, or compiled beforehand."""
        return dialect_name in self._compiled

    def compiled(self, dialect_name: str) -> CompiledStatement:
        """The statement in the named dialect, compiled at first use."""
        compiled = self._compiled.get(dialect_name)
        if compiled is None:
            element = self.by_dialect.get(dialect_name, self.element)
            compiled = compile_statement(self.name, element, dialect_name)
            self._compiled[dialect_name] = compiled
        return compiled


class Query(Statement, Generic[Row]):
    """A statement that returns rows, each read into the struct `row`, whose first fields bear the names of its columns.

    Further fields must have defaults; a service fills them, such as the messages of a form. `removes_what_it_locks`
    says that the rows are locked only to be deleted by the same transaction.
    """

    def __init__(
        self,
        name: str,
        element: Select[Any] | CompoundSelect[Any],
        row: type[Row],
        *,
        by_dialect: Mapping[str, ClauseElement] | None = None,
        heavy: bool = False,
        removes_what_it_locks: bool = False,
    ) -> None:
        fields = row.__struct_fields__  # type: ignore[attr-defined]
        columns = tuple(element.selected_columns.keys())
        if fields[: len(columns)] != columns or len(fields) - len(columns) > len(row.__struct_defaults__):  # type: ignore[attr-defined]
            raise TypeError(f"statement {name}: {row.__name__} has the fields {fields}, but the columns are {columns}")
        self.row = row
        self.make: Callable[..., Row] = row
        self.removes_what_it_locks = removes_what_it_locks
        super().__init__(name, element, by_dialect=by_dialect, heavy=heavy)


class QueryWithTotal(Query[Row]):
    """A query of a page of rows whose last column is the number of all that match: one round trip instead of two.

    `counting` is the plain select whose rows are counted. A page without rows tells no total. `page` is the query
    without it. `by_dialect` gives both selects for an engine that is asked in another way.
    """

    def __init__(
        self,
        name: str,
        element: Select[Any],
        counting: Select[Any],
        row: type[Row],
        *,
        by_dialect: Mapping[str, tuple[Select[Any], Select[Any]]] | None = None,
    ) -> None:
        super().__init__(name, element, row)
        self.page: ClauseElement = element
        self.element = _with_total(element, counting)
        pairs = by_dialect or {}
        self._pages = {dialect: page for dialect, (page, _) in pairs.items()}
        self.by_dialect = {dialect: _with_total(page, counted) for dialect, (page, counted) in pairs.items()}

    def page_for(self, dialect_name: str) -> ClauseElement:
        """The query without the total, as the engine is asked it."""
        return self._pages.get(dialect_name, self.page)


class Command(Statement):
    """A statement that changes rows and returns how many it matched."""

    def __init__(
        self,
        name: str,
        element: Insert | Update | Delete,
        *,
        by_dialect: Mapping[str, ClauseElement] | None = None,
        heavy: bool = False,
    ) -> None:
        super().__init__(name, element, by_dialect=by_dialect, heavy=heavy)


class Registry:
    """All statements by name, in the order of their declaration."""

    def __init__(self) -> None:
        self._statements: dict[str, Statement] = {}

    def add(self, statement: Statement) -> None:
        """Take in a statement under its name."""
        if statement.name in self._statements:
            raise ValueError(f"two statements bear the name {statement.name}: rename one")
        self._statements[statement.name] = statement

    def find(self, name: str) -> Statement | None:
        """The statement of that name, or None."""
        return self._statements.get(name)

    def __iter__(self) -> Iterator[Statement]:
        return iter(list(self._statements.values()))

    def __len__(self) -> int:
        return len(self._statements)


registry = Registry()


class Count(msgspec.Struct, frozen=True):
    """A single number."""

    value: int


def live(table: Any) -> ColumnElement[bool]:
    """The rows of a table (or alias) that are not deleted."""
    return _not_by_index(table.c.deletion_id) == literal_column("''")


def not_by_index(column: Any) -> ColumnElement[Any]:
    """The column, for a condition that nearly every row meets: SQLite, which keeps no counts, must not search by it."""
    return _not_by_index(column)


def is_live_condition(element: Any) -> bool:
    """Whether this is what `live` gives."""
    if not isinstance(element, BinaryExpression) or not isinstance(element.left, _not_by_index):
        return False
    return all(column.name == "deletion_id" for column in element.left.clauses)


class _not_by_index(FunctionElement[str]):  # noqa: N801 - it stands for its column
    """A column that must not choose the index.

    Nearly every row is live. SQLite keeps no count of that and would read whole tables through the index of
    `deletion_id`, for each list; a + before the column forbids it. The servers know better from their statistics.
    """

    inherit_cache = True
    type = String()


@compiles(_not_by_index)
def _by_any_index(element: _not_by_index, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(_not_by_index, "sqlite")
def _not_by_index_sqlite(element: _not_by_index, compiler: SQLCompiler, **kw: Any) -> str:
    return f"+{compiler.process(element.clauses, **kw)}"


def locked_as_parent(select: Select[Any], *tables: Any) -> Select[Any]:
    """The rows of `tables` stay live until the transaction ends: a child may be made under them.

    The lock waits for a deletion under way and then finds the row deleted. On SQLite writers are alone anyway.
    KEY SHARE would be too weak on PostgreSQL: it lets a deletion pass where no unique key holds `deletion_id`.
    """
    return select.with_for_update(read=True, of=tables or None)


def parameters_for(table: Table, *columns: str) -> dict[str, BindParameter[Any]]:
    """A parameter for each named column, of the column's type: the values of an INSERT or the SET of an UPDATE."""
    return {column: bindparam(column, type_=table.c[column].type) for column in columns}


def new_value(table: Table, *columns: str) -> dict[str, BindParameter[Any]]:
    """As `parameters_for`, with parameters named `new_<column>`, for an UPDATE whose WHERE names the columns too."""
    return {column: bindparam(f"new_{column}", type_=table.c[column].type) for column in columns}


def insert_unless_present(name: str, table: Table, *columns: str) -> Command:
    """An INSERT for `Transaction.insert_unless_present`, which leaves an existing row with the same key alone.

    MariaDB has no ON CONFLICT, and its INSERT IGNORE would hide foreign-key errors too: there it is a plain INSERT.
    """
    values = parameters_for(table, *columns)
    return Command(
        name,
        insert(table).values(values),
        by_dialect={
            "sqlite": sqlite.insert(table).values(values).on_conflict_do_nothing(),
            "postgresql": postgresql.insert(table).values(values).on_conflict_do_nothing(),
        },
    )


class any_of(ColumnElement[bool]):  # noqa: N801 - it reads as the SQL operator it renders
    """`column IN (…)` with one parameter that takes a sequence of any length, so that the text stays the same."""

    inherit_cache = False
    # Not Boolean: engines without that type would get a comparison with 1 around the operator.
    type = NullType()  # type: ignore[assignment]

    def __init__(self, column: ColumnElement[Any], parameter: str) -> None:
        self.column = column
        self.parameter = bindparam(parameter, type_=ListOf(column.type))


class ListOf(TypeDecorator[Any]):
    """The type of a parameter that holds a sequence of values."""

    impl = Integer
    cache_ok = False

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item


@compiles(any_of, "postgresql")
def _any_of_postgresql(element: any_of, compiler: SQLCompiler, **kw: Any) -> str:
    parameter = compiler.process(element.parameter, **kw).split("::")[0]
    item = "bigint" if isinstance(element.column.type, Integer) else "varchar"
    return f"{compiler.process(element.column, **kw)} = ANY ({parameter}::{item}[])"


@compiles(any_of, "sqlite")
def _any_of_sqlite(element: any_of, compiler: SQLCompiler, **kw: Any) -> str:
    column = compiler.process(element.column, **kw)
    return f"{column} IN (SELECT value FROM json_each({compiler.process(element.parameter, **kw)}))"


@compiles(any_of, "mariadb")
def _any_of_mariadb(element: any_of, compiler: SQLCompiler, **kw: Any) -> str:
    # The driver writes a sequence as a list in parentheses.
    return f"{compiler.process(element.column, **kw)} IN {compiler.process(element.parameter, **kw)}"


class contains_text(ColumnElement[bool]):  # noqa: N801 - it reads as the SQL operator it renders
    """Whether a column holds the text of a parameter made by `search_pattern`, whatever the case of either."""

    inherit_cache = False
    # Not Boolean: engines without that type would get a comparison with 1 around the operator.
    type = NullType()  # type: ignore[assignment]

    def __init__(self, column: ColumnElement[Any], parameter: str) -> None:
        self.column = column
        self.parameter = bindparam(parameter, type_=column.type)


@compiles(contains_text)
def _contains_text(element: contains_text, compiler: SQLCompiler, **kw: Any) -> str:
    column = compiler.process(element.column, **kw)
    parameter = compiler.process(element.parameter, **kw)
    if compiler.dialect.name == "postgresql":
        # COLLATE "C" lowers only ASCII; the database's own collation knows the other letters.
        return f"""lower({column} COLLATE "default") LIKE lower({parameter} COLLATE "default") ESCAPE '!'"""
    return f"lower({column}) LIKE lower({parameter}) ESCAPE '!'"


def search_pattern(text: str) -> str:
    """The LIKE pattern for "contains this text", with its wildcards taken literally."""
    for special in ("!", "%", "_"):
        text = text.replace(special, f"!{special}")
    return f"%{text}%"


@cache
def dialect_named(name: str) -> Dialect:
    """The SQLAlchemy dialect that compiles for the named engine; it is never connected."""
    return make_url(_DIALECT_URLS[name]).get_dialect()()


def compile_statement(name: str, element: ClauseElement, dialect_name: str) -> CompiledStatement:
    """A statement in the named dialect; those that run are compiled by `Statement.compiled`."""
    dialect = dialect_named(dialect_name)
    written_out: Any = visitors.replacement_traverse(element, {}, _written_out)
    compiled = written_out.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    types = {key: parameter.type for parameter, key in compiled.bind_names.items()}
    required = {key for parameter, key in compiled.bind_names.items() if parameter.required}
    keys = compiled.positiontup or ()
    positions = tuple(key if key in required else None for key in keys)
    encoders = [(index, _encoder(types[key], dialect_name)) for index, key in enumerate(keys)]
    return CompiledStatement(
        name=name,
        sql=" ".join(str(compiled).split()),
        plain_positions=None if None in positions else tuple(key for key in positions if key),
        positions=positions,
        constants=tuple(None if key in required else compiled.params[key] for key in keys),
        encoders=tuple((index, encode) for index, encode in encoders if encode is not None),
        key_positions=tuple(index for index, key in enumerate(keys) if isinstance(types[key], Key)),
        decoders=_decoders(element, dialect_name),
    )


def _written_out(element: Any, **kw: Any) -> ClauseElement | None:
    """For `column.in_((…))` with constants: a list of as many placeholders. A list that varies is `any_of`."""
    if isinstance(element, BindParameter) and element.expanding:
        return Grouping(ClauseList(*(literal(value, element.type) for value in element.effective_value or ())))
    return None


def _decoders(element: ClauseElement, dialect_name: str) -> tuple[tuple[int, Convert], ...]:
    if not isinstance(element, Select | CompoundSelect):
        return ()
    decoders = []
    for index, column in enumerate(element.selected_columns):
        decode = _decoder(column.type, dialect_name)
        if decode is not None:
            decoders.append((index, decode))
    return tuple(decoders)


def _encoder(type_: TypeEngine[Any], dialect_name: str) -> Convert | None:
    if isinstance(type_, ListOf):
        return _ENCODE_LIST[dialect_name]
    if isinstance(type_, Timestamp):
        return _ENCODE_TIMESTAMP.get(dialect_name)
    if isinstance(type_, Json):
        return _json_to_text
    if isinstance(type_, Boolean | Flag) and dialect_name != "postgresql":
        return int
    return None


def _decoder(type_: TypeEngine[Any], dialect_name: str) -> Convert | None:
    if isinstance(type_, Timestamp):
        return _DECODE_TIMESTAMP.get(dialect_name)
    if isinstance(type_, Json):
        return _json_from_text
    if isinstance(type_, Boolean | Flag) and dialect_name != "postgresql":
        return bool
    return None


def _timestamp_to_text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _timestamp_to_naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _timestamp_from_text(text: str) -> datetime:
    # Half the time of reading it without a zone and giving it one.
    return datetime.fromisoformat(text + "+00:00")


def _timestamp_from_naive(moment: datetime) -> datetime:
    # As moment.replace(tzinfo=UTC), in a tenth of its time: a page holds hundreds.
    return _EPOCH + (moment - _NAIVE_EPOCH)


def _json_to_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _json_from_text(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def _list_to_json(values: Sequence[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _list_to_tuple(values: Sequence[Any]) -> tuple[Any, ...]:
    # SQL has no empty list; no id is the empty string.
    return tuple(values) or ("",)


_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what it is subtracted from has no zone either
_EPOCH = _NAIVE_EPOCH.replace(tzinfo=UTC)
_ENCODE_TIMESTAMP: dict[str, Convert] = {"sqlite": _timestamp_to_text, "mariadb": _timestamp_to_naive}
_DECODE_TIMESTAMP: dict[str, Convert] = {"sqlite": _timestamp_from_text, "mariadb": _timestamp_from_naive}
_ENCODE_LIST: dict[str, Convert] = {"sqlite": _list_to_json, "postgresql": list, "mariadb": _list_to_tuple}


def count_of(
    name: str, element: Select[Any], *, by_dialect: Mapping[str, Select[Any]] | None = None, heavy: bool = False
) -> Query[Count]:
    """A query that counts the rows of `element`, which must be a plain select without order and limit."""
    counted = {dialect: _counted(each) for dialect, each in (by_dialect or {}).items()}
    return Query(name, _counted(element), Count, by_dialect=counted, heavy=heavy)


def _with_total(page: Select[Any], counting: Select[Any]) -> Select[Any]:
    return page.add_columns(_counted(counting).correlate(None).scalar_subquery().label("total"))


def _counted(element: Select[Any]) -> Select[Any]:
    return element.with_only_columns(func.count().label("value"), maintain_column_froms=True)
