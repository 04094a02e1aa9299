"""Every list: as many statements for many rows as for few, a stable order, and no sort but its own (Q-03 to Q-06)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.app import Budget, describe_api
from holdfast.settings import Settings
from tests.instance import Instance
from tests.rules.listed_many import ManyRows
from tests.rules.statement_budgets import Run, faults, statements_run

_MOST_STATEMENTS = 4
# What only super administrators may list.
_FOR_SUPER = ("/admin/", "/jobs", "/runs")
_NESTED = [
    "/forms?include=messages&limit=100",
    "/forms/{form_id}",
    "/groups?include=members&limit=100",
    "/groups/{g_id}?include=members",
    "/projects/{p_id}?include=config_files",
    "/config-files/{cf_id}",
    "/me",
    "/admin/statistics/orphans?strict=true&limit=100",
]


def _list_routes() -> Iterator[str]:
    """The routes that answer a page, as the description tells."""
    description = describe_api(Settings(data_dir=Path("nowhere")))
    schemas = description["components"]["schemas"]
    for path, operations in description["paths"].items():
        answer = operations.get("get", {}).get("responses", {}).get("200", {})
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        fields = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], {}).get("properties", {})
        if {"items", "total", "page", "limit", "next"} <= fields.keys():
            yield path.removeprefix("/api/v1")


LIST_ROUTES = sorted(_list_routes())


def test_the_description_tells_the_lists() -> None:
    assert len(LIST_ROUTES) >= 16
    assert {"/forms", "/groups/{g_id}/members", "/audit-logs"} <= set(LIST_ROUTES)


@pytest.fixture
async def many(instance: Instance) -> ManyRows:
    return await ManyRows(instance).fill()


@pytest.mark.conformance("Q-04", "Q-05", "Q-06")
async def test_a_hundred_rows_take_as_many_statements_as_two(many: ManyRows) -> None:
    reads = [f"{route}?limit=100" for route in LIST_ROUTES] + _NESTED
    runs: list[Run] = []
    for number in (2, 20, 100):
        await many.grow_to(number)
        for role, token in (("admin", many.admin_token), ("super", many.super_token)):
            client = many.instance.client(token)
            for read in reads:
                if role == "admin" and read.startswith(_FOR_SUPER):
                    continue
                before = statements_run()
                answer = await client.get(many.path(read))
                runs.append(Run(read, f"GET {read} as {role}", number, statements_run() - before))
                assert answer.status_code == 200, f"{read}: {answer.text}"
                assert runs[-1].total, f"no statement of {read} was counted"
                _assert_long(read, answer.json(), number)
    # With the token's look-up.
    found = faults(runs, dict.fromkeys(reads, Budget(_MOST_STATEMENTS, repeated=())))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.conformance("Q-04")
async def test_a_page_behind_the_last_stays_within_the_budget(many: ManyRows) -> None:
    """It tells no total by itself, so that one more statement counts; with deleted rows the parent is looked for."""
    await many.grow_to(2)
    client = many.instance.client(many.super_token)
    runs: list[Run] = []
    for route in LIST_ROUTES:
        for deleted in ("false", "true"):
            before = statements_run()
            answer = await client.get(many.path(route), params={"page": 50, "limit": 20, "include_deleted": deleted})
            title = f"GET {route} behind the last page, include_deleted={deleted}"
            runs.append(Run(route, title, 2, statements_run() - before))
            assert answer.status_code == 200, answer.text
            assert answer.json()["items"] == []
    found = faults(runs, dict.fromkeys(LIST_ROUTES, Budget(_MOST_STATEMENTS, repeated=())))
    assert not found, "\n" + "\n".join(found)


async def test_every_list_comes_without_its_total_where_that_is_asked(many: ManyRows) -> None:
    await many.grow_to(20)
    client = many.instance.client(many.super_token)
    for route in LIST_ROUTES:
        path = many.path(route)
        for deleted in ({}, {"include_deleted": "true"}):
            counted = await client.get(path, params={"limit": 8, "total": "exact", **deleted})
            before = statements_run()
            plain = await client.get(path, params={"limit": 8, "total": "none", **deleted})
            ran = statements_run() - before
            assert plain.status_code == counted.status_code == 200, plain.text
            assert not [name for name in ran if ".list" in name or ".count(" in name], f"{route} counts all the same"
            assert plain.json() | {"total": 0, "next": ""} == counted.json() | {"total": 0, "next": ""}, route
            assert plain.json()["total"] is None
            assert counted.json()["total"] >= 20
            following = {"limit": 8, "cursor": plain.json()["next"], **deleted}
            second = (await client.get(path, params=following)).json()
            assert second["items"] == await _items(client, path, limit=8, page=2, **deleted), route
        refused = await client.get(path, params={"total": "some"})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["field"] == "total", refused.text


@pytest.mark.conformance("Q-03")
async def test_every_list_has_a_total_order_for_each_of_its_sorts(many: ManyRows) -> None:
    await many.grow_to(20)
    admin, super_admin = many.instance.client(many.admin_token), many.instance.client(many.super_token)
    for route in LIST_ROUTES:
        client = super_admin if route.startswith(_FOR_SUPER) else admin
        path = many.path(route)
        for sort in await sorts_of(client, path):
            whole = await _items(client, path, sort=sort, limit=100)
            assert len(whole) >= 20, route
            assert len({str(row) for row in whole}) == len(whole), f"{route} sorted by {sort} shows a row twice"
            paged = [row for page in range(1, 4) for row in await _items(client, path, sort=sort, limit=8, page=page)]
            assert paged == whole[:24], f"{route} sorted by {sort} is in another order page by page"
            assert await _walk(client, path, sort) == whole, f"{route} sorted by {sort} is in another order by cursor"


def _assert_long(read: str, content: dict[str, Any], number: int) -> None:
    """A count over rows that were not there would prove nothing."""
    lists = [value for name, value in content.items() if isinstance(value, list) and name != "scopes"]
    assert lists, f"{read} answers no list"
    assert max(len(each) for each in lists) >= number, f"{read} answers fewer than {number} rows"
    if "include=" in read and "items" in content:
        nested = [value for value in content["items"][-1].values() if isinstance(value, list)]
        assert nested, f"{read} nests no list"


async def sorts_of(client: httpx.AsyncClient, path: str) -> list[str]:
    """What a list can be sorted by, as its refusal of any other says."""
    answer = await client.get(path, params={"sort": "no_such_column"})
    assert answer.status_code == 400, f"{path} takes any sort"
    _, _, named = answer.json()["detail"].partition("use one of ")
    names = [name.strip() for name in named.partition(", with a -")[0].split(",")]
    assert names[0], answer.text
    return [direction + name for name in names for direction in ("", "-")]


async def _items(client: httpx.AsyncClient, path: str, **parameters: Any) -> list[dict[str, Any]]:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _walk(client: httpx.AsyncClient, path: str, sort: str) -> list[dict[str, Any]]:
    walked: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={"sort": sort, "limit": 8, **cursor})).json()
        walked += page["items"]
        if page["next"] is None:
            return walked
        cursor = {"cursor": page["next"]}
