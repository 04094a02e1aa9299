"""Ask an engine for the plan of a statement."""

import re
from collections.abc import Mapping

from sqlalchemy import UniqueConstraint

from holdfast.db.engines.base import Transaction
from holdfast.db.statements import CompiledStatement, Query, QueryWithTotal, Statement, compile_statement
from holdfast.db.tables import metadata
from holdfast.operations.plans import mariadb, postgresql, sqlite
from holdfast.operations.plans.parameters import Drawing, Samples
from holdfast.operations.plans.types import Plan

_SOURCES = re.compile(
    r"\b(?:FROM|JOIN|UPDATE|INTO) ([a-z_0-9]+(?: AS [a-z_0-9]+)?(?:, [a-z_0-9]+(?: AS [a-z_0-9]+)?)*)"
)


class Explainer:
    """The plans of statements on one database, with parameters drawn from it."""

    def __init__(self, tx: Transaction, samples: Samples, sqlite_indexes: Mapping[str, str]) -> None:
        self._tx = tx
        self._samples = samples
        self._drawing = Drawing(samples)
        self._sqlite_indexes = sqlite_indexes

    def on(self, tx: Transaction) -> "Explainer":
        """The same in another transaction of the database."""
        return Explainer(tx, self._samples, self._sqlite_indexes)

    async def estimate(self, statement: Statement) -> Plan:
        """The plan without running the statement."""
        return await self._explain(statement, {"postgresql": postgresql.ESTIMATE, "mariadb": mariadb.ESTIMATE})

    async def measure(self, statement: Statement) -> Plan:
        """The plan with the rows that were read. PostgreSQL runs the statement for it, MariaDB only a query."""
        prefixes = {"postgresql": postgresql.MEASURE, "mariadb": mariadb.ESTIMATE}
        if isinstance(statement, Query):
            prefixes["mariadb"] = mariadb.MEASURE
        return await self._explain(statement, prefixes)

    async def _explain(self, statement: Statement, prefixes: Mapping[str, str]) -> Plan:
        dialect = self._tx.dialect_name
        parameters = self._drawing.parameters_of(statement, dialect)
        compiled = compiled_without_total(statement, dialect)
        answer = await self._tx.explain(statement, compiled, prefixes.get(dialect, sqlite.ESTIMATE), parameters)
        if dialect == "postgresql":
            return postgresql.read_plan(statement.name, answer[0][0])
        aliases = aliases_in(compiled.sql)
        if dialect == "mariadb":
            limit = mariadb.limit_of(compiled.sql, compiled.arguments(parameters))
            return mariadb.read_plan(statement.name, answer[0][0], aliases, limit)
        return sqlite.read_plan(statement.name, [row[3] for row in answer], aliases, self._sqlite_indexes)


def compiled_without_total(statement: Statement, dialect_name: str) -> CompiledStatement:
    """A page without the number of all rows: counting them is a statement of its own, and reviewed as such."""
    if isinstance(statement, QueryWithTotal):
        return compile_statement(statement.name, statement.page_for(dialect_name), dialect_name)
    return statement.compiled(dialect_name)


def aliases_in(sql: str) -> dict[str, str]:
    """The table behind each name that a statement gives to one, its own name included."""
    sources = [tuple(words.split()) for clause in _SOURCES.findall(sql) for words in clause.split(",")]
    return {words[-1]: words[0] for words in sources if words[0] in metadata.tables}


async def find_sqlite_indexes(tx: Transaction) -> dict[str, str]:
    """The names, as the tables declare them, of the indexes that SQLite makes for keys and numbers by itself."""
    if tx.dialect_name != "sqlite":
        return {}
    rows = await tx.fetch_text(
        "SELECT m.name, l.name, i.name FROM sqlite_master m JOIN pragma_index_list(m.name) l"
        " JOIN pragma_index_info(l.name) i WHERE m.type = 'table' AND l.origin <> 'c' ORDER BY m.name, l.name, i.seqno"
    )
    keyed: dict[tuple[str, str], list[str]] = {}
    for table_name, index_name, column_name in rows:
        keyed.setdefault((table_name, index_name), []).append(column_name)
    declared: dict[tuple[str, tuple[str, ...]], str] = {}
    for table in metadata.sorted_tables:
        for key in (table.primary_key, *(each for each in table.constraints if isinstance(each, UniqueConstraint))):
            declared[table.name, tuple(column.name for column in key.columns)] = str(key.name)
    found = {name: declared.get((table, tuple(columns))) for (table, name), columns in keyed.items()}
    return {name: key for name, key in found.items() if key is not None}
