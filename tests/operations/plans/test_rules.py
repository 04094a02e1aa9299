"""Tests of the tests: what breaks a rule is told in a sentence that names the statement."""

import ast
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.listing import listings
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.statements import Query, Statement, registry
from holdfast.operations.plans.review import review_estimates
from holdfast.operations.plans.statements import declared_statements
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.operations.plans.population import populate

# What speaks to the database in text on purpose stands below the features, or beside them.
_WITHOUT_TEXT = ("api", "app.py", "cli", "console", "features", "worker")
# Whether the database answers at all, and the migration tool's own table, which is none of the product's.
_NO_ROWS_OF_THE_PRODUCT = (["SELECT 1"], ["SELECT version_num FROM alembic_version"])
_TEXT_CALLS = {"fetch_text", "exec_driver_sql", "text", "explain"}


@pytest.fixture(scope="module")
async def small(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    settings = Settings(database_url=new_database("sqlite"), data_dir=tmp_path_factory.mktemp("small"))
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        await populate(database, scale=0.2)
        yield database


async def test_a_dropped_index_is_told(small: Database) -> None:
    declared_statements()
    statement = _variant("forms", "forms.after(all,project_id):-created_at")
    before = await review_estimates(small, [statement])
    assert before.suffering == []
    async with small.write() as tx:
        await tx.fetch_text("DROP INDEX ix_forms_project_id_created_at_id")
        await tx.fetch_text("DROP INDEX ix_forms_created_at_id")
    try:
        after = await review_estimates(small, [statement])
    finally:
        async with small.write() as tx:
            await tx.fetch_text("CREATE INDEX ix_forms_project_id_created_at_id ON forms (project_id, created_at, id)")
            await tx.fetch_text("CREATE INDEX ix_forms_created_at_id ON forms (created_at, id)")
    told = [fault.sentence for fault in after.suffering]
    assert any(each.startswith("forms.after(all,project_id):-created_at ") for each in told), told


async def test_an_order_without_its_index_is_told(small: Database) -> None:
    declared_statements()
    listing = listings["forms"]
    sorted_by_title = listing._select.selected_columns["title"]
    statement = Query(
        "tests.plans.after(all)", listing._select.order_by(sorted_by_title, listing._row_id).limit(20), listing.row
    )
    told = [fault.sentence for fault in (await review_estimates(small, [statement])).suffering]
    assert "tests.plans.after(all) sorts rows for one page: no index has its order" in told


def test_every_page_ends_its_order_with_the_row() -> None:
    """Without the id behind it, rows of one moment would change places between pages."""
    declared_statements()
    assert [name for name in _product_lists() for each in _untied(name) if each] == []


def test_a_removed_tie_breaker_is_told() -> None:
    declared_statements()
    listing = listings["forms"]
    column = listing.sorts["created_at"]
    broken = Query("tests.plans.list(all):created_at", listing._select.order_by(column).limit(20), listing.row)
    assert list(_order_faults(broken, str(listing._row_id))) == [
        f"{broken.name} is not ordered by forms.id at its end: rows with equal values would change places between pages"
    ]


def test_no_feature_runs_text() -> None:
    source = Path(holdfast.__path__[0])
    files = [path for name in _WITHOUT_TEXT for path in _python_files(source / name)]
    assert len(files) > 50
    assert [told for path in files for told in _text_in(path.read_text(encoding="utf-8"), str(path))] == []


def test_text_in_a_feature_is_told() -> None:
    written = 'async def list_forms(tx):\n    return await tx.fetch_text("SELECT id FROM forms")\n'
    assert list(_text_in(written, "forms/service.py")) == [
        "forms/service.py, line 2: 'SELECT id FROM forms' is run outside the registry: declare it in queries.py"
    ]


def _variant(listing: str, name: str) -> Statement:
    list(listings[listing].declare_all(1))
    found = registry.find(name)
    assert found is not None
    return found


def _product_lists() -> list[str]:
    return [name for name in listings if not name.startswith("tests.")]


def _untied(name: str) -> Iterator[str]:
    listing = listings[name]
    for statement in listing.declare_all(0):
        if ".count(" not in statement.name:
            yield from _order_faults(statement, str(listing._row_id))


def _order_faults(statement: Statement, row_id: str) -> Iterator[str]:
    order = statement.compiled("sqlite").sql.rpartition(" ORDER BY ")[2].partition(" LIMIT ")[0]
    if order.split(", ")[-1].removesuffix(" DESC") != row_id:
        yield (
            f"{statement.name} is not ordered by {row_id} at its end: rows with equal values would change places"
            " between pages"
        )


def _python_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _text_in(source: str, path: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if texts in _NO_ROWS_OF_THE_PRODUCT:
            continue
        if name in _TEXT_CALLS and (name == "fetch_text" or any(_is_sql(text) for text in texts)):
            told = repr(texts[0]) if texts else "a text"
            yield f"{path}, line {node.lineno}: {told} is run outside the registry: declare it in queries.py"


def _is_sql(text: str) -> bool:
    return text.lstrip().upper().startswith(("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "))
