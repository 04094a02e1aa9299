"""What every named statement must be: compilable in three dialects, and blind to deleted rows."""

import importlib
import pkgutil
import re
from functools import cache

import pytest

import holdfast
from holdfast.db.listing import listings
from holdfast.db.statements import DIALECTS, Query, Statement, registry
from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion

# A query that may see deleted rows of a table without `include_deleted` in its name, and why.
SEES_DELETED = {
    "bundle.nested_deletions: *": "it looks for earlier deletions among what the bundle carries",
    "deletions.count_*: *": "a plan counts what is deleted already, a restore what it would bring back",
    "deletions.find_taken(*: *": "a restore looks for the names of its own rows, still deleted, among the live ones",
    "deletions.lock_parents(*: *": "a restore asks which of its parents are deleted",
    "reviewed_orphans.*: image_requests": "the seed's query stands as it is (5.2)",
    "reviewed_orphans.*: image_allow_list": "the seed's query stands as it is (5.2)",
    "approved_orphans.*: image_allow_list": "a rule in the trash explains its request, too",
    "approved_orphans.*: container_repositories": "a rule in the trash explains its request, too",
    "approved_orphans.*: container_tags": "a rule in the trash explains its request, too",
    "images.lock_rules_for_all: group_list": "the row is a lock that must exist, nothing is read from it",
}


@cache
def _statements() -> list[Statement]:
    """All statements of the product, and each variant of each list."""
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for listing in list(listings.values()):
        if not listing.name.startswith("tests."):
            list(listing.declare_all())
    return [statement for statement in registry if not statement.name.startswith("tests.")]


def test_there_are_statements_to_look_at() -> None:
    assert len(_statements()) > 20


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_compiles(dialect: str) -> None:
    for statement in _statements():
        compiled = statement.compiled(dialect)
        assert compiled.sql, statement.name
        assert all(index < len(compiled.positions) for index, _ in compiled.encoders), statement.name


def test_names_are_a_feature_and_what_is_done() -> None:
    malformed = [
        each.name for each in _statements() if not re.fullmatch(r"[a-z_]+\.[a-z_]+(\([^)]*\)(:-?\w+)?)?", each.name)
    ]
    assert malformed == []


def test_no_query_reads_deleted_rows() -> None:
    faults = []
    for statement in _statements():
        if isinstance(statement, Query):
            faults += [f"{statement.name}: {table}" for table in sorted(_unfiltered(statement))]
    unexplained = [fault for fault in faults if not any(_matches(fault, pattern) for pattern in SEES_DELETED)]
    assert unexplained == [], (
        "these read rows of soft-delete tables without live(table): add it, or name the statement in SEES_DELETED with"
        " the reason why it may see what is deleted"
    )


def test_every_exception_is_still_needed() -> None:
    faults = [
        f"{statement.name}: {table}"
        for statement in _statements()
        if isinstance(statement, Query)
        for table in _unfiltered(statement)
    ]
    idle = [pattern for pattern in SEES_DELETED if not any(_matches(fault, pattern) for fault in faults)]
    assert idle == []


def _matches(fault: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), fault) is not None


def _unfiltered(statement: Statement) -> list[str]:
    """The soft-delete tables that the query reads more often than it asks for their live rows.

    A parent that a live row hangs on by a cascade is live itself: a deletion would have taken both.
    """
    if "include_deleted" in statement.name:
        return []
    sql = statement.compiled("sqlite").sql
    sources = [tuple(words.split()) for clause in _SOURCES.findall(sql) for words in clause.split(",")]
    tables = {words[-1]: words[0] for words in sources}
    live_names = {name for name in tables if f"{name}.deletion_id = ''" in sql}
    faults = []
    for name, table in tables.items():
        if table not in _SOFT or _hangs_on_a_live_row(sql, name, tables, live_names):
            continue
        wanted = sum(1 for words in sources if words[-1] == name)
        if len(re.findall(rf"\b{name}\.deletion_id = ''", sql)) < wanted:
            faults.append(table)
    return faults


def _hangs_on_a_live_row(sql: str, parent: str, tables: dict[str, str], live_names: set[str]) -> bool:
    for name in live_names:
        for key in metadata.tables[tables[name]].foreign_keys:
            if key.column.table.name == tables[parent] and key.ondelete == "CASCADE":
                child, its_parent = f"{name}.{key.parent.name}", f"{parent}.{key.column.name}"
                if f"{its_parent} = {child}" in sql or f"{child} = {its_parent}" in sql:
                    return True
    return False


_SOURCES = re.compile(r"\b(?:FROM|JOIN) ([a-z_]+(?: AS [a-z_0-9]+)?(?:, [a-z_]+(?: AS [a-z_0-9]+)?)*)")
_SOFT = {table.name for table in metadata.sorted_tables if table.info["policy"].deletion is Deletion.SOFT}
