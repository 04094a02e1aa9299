"""`holdfast plans`, at the command line: what it tells of a database as it is, and of one with a worse index."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from holdfast.cli.main import application
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.operations.plans.population import populate

_SERVERS = [pytest.param(engine, marks=pytest.mark.slow) for engine in ("postgresql", "mariadb")]
_STATEMENT = "forms.after(all):-created_at"
_INDEX = "ix_forms_created_at_id"
# Of the same name and columns, so that the schema is that of this version, and of no use to any list.
_PARTIAL = (
    f"DROP INDEX {_INDEX}",
    f"CREATE INDEX {_INDEX} ON forms (created_at, id) WHERE title = 'none'",
    "ANALYZE forms",
)
_MADE_WORSE = {
    "sqlite": _PARTIAL[:2],
    "postgresql": _PARTIAL,
    # The beginning of an id puts nothing in order.
    "mariadb": (f"DROP INDEX {_INDEX} ON forms", f"CREATE INDEX {_INDEX} ON forms (created_at, id(1))"),
}
_MADE_GOOD = {
    "sqlite": (f"DROP INDEX {_INDEX}", f"CREATE INDEX {_INDEX} ON forms (created_at, id)"),
    "postgresql": (f"DROP INDEX {_INDEX}", f"CREATE INDEX {_INDEX} ON forms (created_at, id)"),
    "mariadb": (f"DROP INDEX {_INDEX} ON forms", f"CREATE INDEX {_INDEX} ON forms (created_at, id)"),
}
_DROPPED = {"mariadb": f"DROP INDEX {_INDEX} ON forms"}


class _Populated(msgspec.Struct):
    """A database with 11,000 forms, and the command on it."""

    database: Database
    environment: Mapping[str, str]

    async def plans(self, *arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, application, ["plans", *arguments], env=dict(self.environment), catch_exceptions=False
        )

    async def execute(self, *statements: str) -> None:
        async with self.database.write() as tx:
            for statement in statements:
                await tx.fetch_text(statement)


@pytest.fixture(scope="module", params=["sqlite", *_SERVERS])
async def populated(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[_Populated]:
    settings = Settings(database_url=new_database(request.param), data_dir=tmp_path_factory.mktemp("plans"))
    await migrate(parse_address(settings.database_url))
    environment = {"HOLDFAST_DATABASE_URL": settings.database_url, "HOLDFAST_DATA_DIR": str(settings.data_dir)}
    async with open_database(settings).running() as database:
        await populate(database, scale=0.11)
        yield _Populated(database, environment)


async def _content(database: Database) -> list[tuple[Any, ...]]:
    """How many rows there are, from when to when, and when the forms were changed."""
    texts = [
        f"SELECT count(*), min(created_at), max(created_at) FROM {table}"
        for table in ("forms", "form_messages", "users", "audit_logs", "jobs")
    ]
    texts.append("SELECT status, count(*), max(updated_at) FROM forms GROUP BY status ORDER BY status")
    async with database.read() as tx:
        return [tuple(row) for text in texts for row in await tx.fetch_text(text)]


async def test_a_database_as_it_should_be_suffers_nothing_and_stays_as_it_is(populated: _Populated) -> None:
    before = await _content(populated.database)
    said = await populated.plans("forms.")
    assert said.exit_code == 0, said.output
    assert said.stdout.strip().endswith("none would suffer.")
    one = await populated.plans(_STATEMENT)
    assert (one.exit_code, one.stdout.startswith(f"{_STATEMENT}: ")) == (0, True)
    assert f"forms by {_INDEX}" in one.stdout
    assert await _content(populated.database) == before


async def test_a_worse_index_in_the_place_of_one_is_told_with_the_statement(populated: _Populated) -> None:
    engine = populated.database.dialect_name
    await populated.execute(*_MADE_WORSE[engine])
    try:
        said = await populated.plans(_STATEMENT)
        as_json = await populated.plans(_STATEMENT, "--json")
    finally:
        await populated.execute(*_MADE_GOOD[engine])
    assert said.exit_code == 1, said.output
    assert f"{_STATEMENT} sorts " in said.output
    assert as_json.exit_code == 1
    answer = json.loads(as_json.stdout)
    assert list(answer["plans"]) == [_STATEMENT]
    assert "sort" in answer["plans"][_STATEMENT]
    assert {"rows", "plans", "findings"} == set(answer)
    assert {finding["statement"] for finding in answer["findings"]} == {_STATEMENT}
    assert "sort" in {finding["rule"] for finding in answer["findings"] if not finding["accepted_because"]}
    assert (await populated.plans(_STATEMENT)).exit_code == 0


async def test_a_missing_index_is_named_by_another_exit_code(populated: _Populated) -> None:
    engine = populated.database.dialect_name
    await populated.execute(_DROPPED.get(engine, f"DROP INDEX {_INDEX}"))
    try:
        said = await populated.plans(_STATEMENT)
    finally:
        await populated.execute(f"CREATE INDEX {_INDEX} ON forms (created_at, id)")
    assert said.exit_code == 3, said.output
    assert f"forms: index {_INDEX} is missing" in said.output
