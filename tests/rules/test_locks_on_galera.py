"""On a cluster a lock reaches no further than its node, so every statement that locks rows must also write them."""

import importlib
import pkgutil
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Integer, Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter

import holdfast
from holdfast.core.clock import utc_now
from holdfast.db.engines.mariadb_node import touching_of
from holdfast.db.engines.mariadb_transaction import run
from holdfast.db.statements import ListOf, Query, registry
from holdfast.db.types import Timestamp
from tests.instance import Instance


@cache
def _locking() -> list[Query[Any]]:
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [each for each in registry if isinstance(each, Query) and _lock_of(each) is not None]


def _lock_of(query: Query[Any]) -> Any:
    element = query.by_dialect.get("mariadb", query.element)
    return element._for_update_arg if isinstance(element, Select) else None


def test_every_statement_that_locks_rows_writes_them_there_and_back() -> None:
    assert len(_locking()) > 60
    for query in _locking():
        touching = touching_of(query)
        if _lock_of(query).skip_locked or query.removes_what_it_locks:
            assert touching is None
            continue
        assert touching is not None, f"{query.name} locks rows, but would not write them on a node of a cluster"
        for there, back in zip(touching.statements[::2], touching.statements[1::2], strict=True):
            assert there.sql.replace("+ INTERVAL", "- INTERVAL") == back.sql
        assert "FOR UPDATE" not in touching.sql
        assert "LOCK IN SHARE MODE" not in touching.sql


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
async def test_what_writes_the_locked_rows_is_taken_by_the_server(instance: Instance) -> None:
    async with instance.database.write() as tx:
        for query in _locking():
            if (touching := touching_of(query)) is not None:
                arguments = touching.arguments(_some_values(query))
                assert await run(tx._connection, touching.sql, arguments) >= 0, query.name  # type: ignore[attr-defined]


def _some_values(query: Query[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in visitors.iterate(query.by_dialect.get("mariadb", query.element)):
        # A condition of our own keeps its parameter to itself.
        for each in (part, getattr(part, "parameter", None)):
            if isinstance(each, BindParameter):
                values[each.key] = _some_value(each.type)
    return values


def _some_value(type_: Any) -> Any:
    if isinstance(type_, ListOf):
        return ["none"]
    if isinstance(type_, Timestamp):
        return utc_now()
    return 1 if isinstance(type_, Integer) else "none"
