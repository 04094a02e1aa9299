"""Lists: the seed's page rules, keyset cursors while rows change, and what a cursor may not do (seed 3.3)."""

import base64
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from sqlalchemy import bindparam, select

from holdfast.core.errors import InvalidInputError
from holdfast.core.pages import MAX_PAGE, Page, PageRequest, page_request
from holdfast.db.engines.base import Database
from holdfast.db.listing import Listing
from holdfast.db.statements import contains_text, live, registry
from holdfast.db.tables import course_workloads
from tests.db.rows import make_row
from tests.factories import insert_rows

KEY = b"a key of the tests"


class Workload(msgspec.Struct, frozen=True):
    """A row of the list under test."""

    id: str
    name: str
    priority: int
    created_at: datetime


_COLUMNS = (course_workloads.c.id, course_workloads.c.name, course_workloads.c.priority, course_workloads.c.created_at)


def _listing(name: str) -> "Listing[Workload]":
    return Listing(
        name,
        select(*_COLUMNS).where(live(course_workloads)),
        Workload,
        row_id=course_workloads.c.id,
        sorts={
            "created_at": course_workloads.c.created_at,
            "priority": course_workloads.c.priority,
            "name": course_workloads.c.name,
        },
        default_sort="created_at",
        filters={"status": course_workloads.c.status == bindparam("status", type_=course_workloads.c.status.type)},
        search=contains_text(course_workloads.c.name, "q"),
    )


WORKLOADS = _listing("tests.listing.workloads")
OTHERS = _listing("tests.listing.others")


@pytest.fixture
async def owner(database: Database) -> dict[str, Any]:
    """The keys of a user and a project that own workloads."""
    row = await make_row(database, course_workloads, deleted_at=datetime.now(UTC), deletion_id="d", name="deleted")
    return {"user_id": row["user_id"], "project_id": row["project_id"]}


async def _add(database: Database, owner: dict[str, Any], ids: list[str], **values: Any) -> None:
    rows = [
        {"id": each, "name": f"job {each}", "namespace": "n", "image": "i", "k8s_pod_name": f"pod-{each}"}
        | {"priority": len(each) * 100, "created_at": _moment(number)}
        | owner
        | values
        for number, each in enumerate(ids)
    ]
    await insert_rows(database, course_workloads, rows)


def _moment(number: int) -> datetime:
    # Three rows share each moment, so that pages end among equal sort values.
    return datetime(2026, 2, 5, 12, tzinfo=UTC) + timedelta(microseconds=number // 3)


async def _page(database: Database, request: PageRequest, **filters: Any) -> Page[Workload]:
    async with database.read() as tx:
        return await WORKLOADS.fetch_page(tx, request, cursor_key=KEY, **filters)


def _runs_by_verb() -> "Counter[str]":
    """How often the statements of the list ran, by what they do: list, page, after or count."""
    runs: Counter[str] = Counter()
    for statement in registry:
        if statement.name.startswith("tests.listing.workloads."):
            verb = statement.name.removeprefix("tests.listing.workloads.").partition("(")[0]
            runs[verb] += sum(statement.timing.buckets)
    return runs


async def _walk(database: Database, limit: int, sort: str | None = None, **filters: Any) -> list[str]:
    page = await _page(database, page_request(limit=limit, sort=sort), **filters)
    seen = [item.id for item in page.items]
    while page.next is not None:
        page = await _page(database, page_request(limit=limit, sort=sort, cursor=page.next), **filters)
        seen += [item.id for item in page.items]
    return seen


@pytest.mark.conformance("Q-02")
@given(page=st.integers(), limit=st.integers())
def test_page_and_limit_follow_the_rule_of_the_seed(page: int, limit: int) -> None:
    request = page_request(page, limit)
    assert request.page == min(max(page, 1), MAX_PAGE)
    assert request.limit == (limit if 1 <= limit <= 100 else 20)
    assert request.offset == (request.page - 1) * request.limit


@pytest.mark.conformance("Q-02")
async def test_a_page_holds_its_items_and_the_total(database: Database, owner: dict[str, Any]) -> None:
    await _add(database, owner, [f"w-{number:02}" for number in range(7)])
    second = await _page(database, page_request(2, 3))
    assert [item.id for item in second.items] == ["w-03", "w-04", "w-05"]
    assert (second.total, second.page, second.limit) == (7, 2, 3)
    last = await _page(database, page_request(3, 3))
    assert [item.id for item in last.items] == ["w-06"]
    assert last.next is None
    beyond = await _page(database, page_request(10**12, 100))
    assert (beyond.items, beyond.total, beyond.next) == ([], 7, None)


async def test_a_page_without_its_total_is_the_same_page_and_counts_nothing(
    database: Database, owner: dict[str, Any]
) -> None:
    await _add(database, owner, [f"w-{number:02}" for number in range(7)], status="Running")
    await _add(database, owner, ["other"], status="Failed")
    for page in (1, 2, 3, 4):
        before = _runs_by_verb()
        counted = await _page(database, page_request(page, 3), status="Running")
        ran = _runs_by_verb() - before
        # Behind the last page no row tells the total.
        assert ran == Counter({"list" if page == 1 else "list_later": 1, "count": int(page == 4)}) - Counter()
        before = _runs_by_verb()
        plain = await _page(database, page_request(page, 3, is_counted=False), status="Running")
        assert _runs_by_verb() - before == Counter({"page" if page == 1 else "page_later": 1})
        assert (plain.items, plain.page, plain.limit, plain.total) == (counted.items, page, 3, None)
        assert (plain.next is None) == (counted.next is None)


async def test_a_cursor_carries_no_total_where_none_was_counted(database: Database, owner: dict[str, Any]) -> None:
    await _add(database, owner, [f"w-{number:02}" for number in range(7)])
    uncounted, counted = page_request(limit=3, is_counted=False), page_request(limit=3)
    seen: list[str] = []
    request: PageRequest | None = uncounted
    while request is not None:
        page = await _page(database, request)
        assert page.total is None
        seen += [item.id for item in page.items]
        # Asked for or not: nobody counted when the walk began.
        request = None if page.next is None else msgspec.structs.replace(counted, cursor=page.next)
    assert seen == [f"w-{number:02}" for number in range(7)]
    cursor = (await _page(database, counted)).next
    second = await _page(database, msgspec.structs.replace(uncounted, cursor=cursor))
    assert second.total is None
    assert (await _page(database, msgspec.structs.replace(counted, cursor=second.next))).total == 7


@pytest.mark.conformance("Q-03")
@pytest.mark.parametrize("sort", ["created_at", "-created_at", "priority", "-priority", "name", "-name"])
async def test_every_page_size_shows_all_rows_once_in_order(
    database: Database, owner: dict[str, Any], sort: str
) -> None:
    ids = [f"w{'x' * (number % 3)}-{number:02}" for number in range(11)]
    await _add(database, owner, ids)
    whole = await _walk(database, 100, sort)
    assert sorted(whole) == sorted(ids)
    assert await _walk(database, 100, sort.removeprefix("-")) == (whole[::-1] if sort.startswith("-") else whole)
    for limit in range(1, 13):
        assert await _walk(database, limit, sort) == whole


@pytest.mark.conformance("Q-03")
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("sort", ["created_at", "-created_at"])
async def test_rows_that_stay_are_seen_once_while_others_come_and_go(
    database: Database, owner: dict[str, Any], limit: int, sort: str
) -> None:
    ids = [f"w-{number:02}" for number in range(18)]
    await _add(database, owner, ids)
    gone: set[str] = set()
    seen: list[str] = []
    page = await _page(database, page_request(limit=limit, sort=sort))
    for step in range(100):
        seen += [item.id for item in page.items]
        if page.next is None:
            break
        # One row that was already seen goes, one that was not, and one comes at each end.
        ahead = [each for each in ids if each not in seen and each not in gone]
        for each in (seen[0], ahead[len(ahead) // 2] if len(ahead) > 2 else seen[0]):
            gone.add(each)
            async with database.write() as tx:
                await tx.fetch_text(f"DELETE FROM course_workloads WHERE id = '{each}'")
        await _add(database, owner, [f"new-{step:02}"], created_at=_moment(-30))
        await _add(database, owner, [f"own-{step:02}"], created_at=_moment(300), deleted_at=_moment(0), deletion_id="d")
        page = await _page(database, page_request(limit=limit, sort=sort, cursor=page.next))
    stayed = [each for each in sorted(ids, reverse=sort.startswith("-")) if each not in gone]
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each in stayed] == stayed


@pytest.mark.parametrize("year", [1, 1969, 1970, 2500, 9999])
async def test_cursors_hold_times_of_all_years(database: Database, owner: dict[str, Any], year: int) -> None:
    # The last microsecond of 9999 is "infinity" to the driver of PostgreSQL.
    moment = datetime(year, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC)
    await _add(database, owner, ["a", "b", "c"], created_at=moment)
    assert await _walk(database, 1) == ["a", "b", "c"]
    assert await _walk(database, 1, "-created_at") == ["c", "b", "a"]


async def test_filters_and_search_hold_on_every_page(database: Database, owner: dict[str, Any]) -> None:
    await _add(database, owner, ["a1", "a2", "a3"], status="Running", name="Übung 100%")
    await _add(database, owner, ["b1", "b2"], status="Running", name="Übung 1000")
    await _add(database, owner, ["c1", "c2"], status="Failed", name="Übung 100%")
    assert await _walk(database, 1, status="Running", q="übung 100%") == ["a1", "a2", "a3"]
    assert sorted(await _walk(database, 1, status="Running", q=None)) == ["a1", "a2", "a3", "b1", "b2"]


async def test_an_unknown_sort_is_refused(database: Database) -> None:
    for sort in ("id; DROP TABLE users", "password", "--created_at", "Priority"):
        with pytest.raises(InvalidInputError, match="created_at, name, priority"):
            await _page(database, page_request(sort=sort))


async def test_a_cursor_of_elsewhere_is_refused(database: Database, owner: dict[str, Any]) -> None:
    await _add(database, owner, ["a", "b", "c"])
    cursor = (await _page(database, page_request(limit=1), status="Pending")).next
    assert cursor is not None
    assert (await _page(database, page_request(limit=1, cursor=cursor), status="Pending")).items[0].id == "b"
    for filters, sort in (({}, None), ({"status": "Running"}, None), ({"status": "Pending"}, "-created_at")):
        with pytest.raises(InvalidInputError):
            await _page(database, page_request(limit=1, cursor=cursor, sort=sort), **filters)
    async with database.read() as tx:
        with pytest.raises(InvalidInputError):
            await OTHERS.fetch_page(tx, page_request(cursor=cursor), cursor_key=KEY, status="Pending")
        with pytest.raises(InvalidInputError):
            await WORKLOADS.fetch_page(tx, page_request(cursor=cursor), cursor_key=b"another", status="Pending")


async def test_a_forged_or_damaged_cursor_is_refused(database: Database, owner: dict[str, Any]) -> None:
    await _add(database, owner, ["a", "b", "c"])
    cursor = (await _page(database, page_request(limit=1))).next
    assert cursor is not None
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    damaged = [cursor[:cut] for cut in range(1, len(cursor))]
    damaged += [
        base64.urlsafe_b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode() for at in range(len(raw))
    ]
    damaged += [cursor + "A", cursor * 50, "é", "\0", " ", "=", "====", "a" * 5, "A" * 100_000, "null", "[]", "🙂"]
    for each in damaged:
        with pytest.raises(InvalidInputError):
            await _page(database, page_request(limit=1, cursor=each))


@given(text=st.text(min_size=1))
async def test_no_text_makes_a_cursor_fail_otherwise(shared_database: Any, text: str) -> None:
    with pytest.raises(InvalidInputError):
        await _page(shared_database.database, page_request(cursor=text))


@pytest.mark.conformance("Q-06")
async def test_a_page_of_100_runs_as_many_statements_as_one_of_2(database: Database, owner: dict[str, Any]) -> None:
    counts = []
    for wanted in (2, 100):
        await _add(database, owner, [f"w{wanted}-{number}" for number in range(wanted)])
        async with database.read() as tx:
            page = await WORKLOADS.fetch_page(tx, page_request(limit=100), cursor_key=KEY)
            assert len(page.items) == wanted
            counts.append(tx.statements_run)
    assert counts == [1, 1]
