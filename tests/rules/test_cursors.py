"""Every list, walked by cursor while rows come and go: what stays is seen once, in the order of the list."""

from typing import Any

import httpx
import pytest

from holdfast.core.clock import utc_now
from tests.instance import Instance
from tests.rules.listed_many import ManyRows
from tests.rules.test_statement_counts import LIST_ROUTES

_ROWS = 7
# Of each list the table and the key of its rows.
_TABLES = {
    "/users": ("users", "u_id"),
    "/groups": ("group_list", "g_id"),
    "/groups/{g_id}/members": ("user_group", "u_id"),
    "/projects": ("project_list", "p_id"),
    "/projects/{p_id}/config-files": ("config_files", "cf_id"),
    "/config-files/{cf_id}/resources": ("resources", "r_id"),
    "/users/{u_id}/groups": ("user_group", "g_id"),
    "/forms": ("forms", "id"),
    "/forms/{form_id}/messages": ("form_messages", "id"),
    "/image-requests": ("image_requests", "id"),
    "/images": ("image_allow_list", "id"),
    "/repositories": ("container_repositories", "id"),
    "/repositories/{repository_id}/tags": ("container_tags", "id"),
    "/workloads": ("course_workloads", "id"),
    "/tokens": ("tokens", "id"),
    "/deletions": ("deletions", "id"),
    "/audit-logs": ("audit_logs", "id"),
}


@pytest.fixture
async def many(instance: Instance) -> ManyRows:
    return await ManyRows(instance).fill()


def test_every_list_is_walked() -> None:
    missing = {route for route in LIST_ROUTES if not route.startswith("/admin")} - _TABLES.keys()
    assert not missing, f"name the table and the key of {missing} in tests/rules/test_cursors.py"


@pytest.mark.conformance("Q-03")
@pytest.mark.parametrize("route", sorted(_TABLES))
async def test_a_walk_misses_nothing_and_repeats_nothing(many: ManyRows, route: str) -> None:
    await many.grow_to(_ROWS)
    client = many.instance.client(many.super_token)
    number = _ROWS
    for limit in range(1, 10):
        before = [_key(route, row) for row in await _all(client, many.path(route))]
        gone: set[str] = set()
        seen: list[str] = []
        cursor: dict[str, Any] = {}
        while True:
            page = (await client.get(many.path(route), params={"limit": limit, **cursor})).json()
            seen += [_key(route, row) for row in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
            if len(gone) < 2:
                gone |= await _change(many, route, seen, before)
                number += 1
                many.moment = utc_now()
                await many.grow_to(number)
        assert len(seen) == len(set(seen)), f"{route} with limit {limit} shows a row twice"
        stayed = [key for key in before if key not in gone]
        assert [key for key in seen if key in set(stayed)] == stayed, f"{route} with limit {limit} leaves a row out"


async def _change(many: ManyRows, route: str, seen: list[str], before: list[str]) -> set[str]:
    """Delete one row that was seen and one that was not, but none that the caller or the data hangs on."""
    kept = {many.u_id, many.super_id, many.g_id, many.p_id, many.cf_id, many.form_id, many.repository_id, "super_group"}
    table, column = _TABLES[route]
    async with many.database.read() as tx:
        # The tokens of the callers; the others bear their id as their hash.
        kept |= {row[0] for row in await tx.fetch_text("SELECT id FROM tokens WHERE token_hash <> id")}
    ahead = [key for key in before if key not in seen and key not in kept]
    chosen = {*[key for key in seen if key not in kept][:1], *ahead[len(ahead) // 2 :][:1]}
    async with many.database.write() as tx:
        for key in chosen:
            await tx.fetch_text(f"DELETE FROM {table} WHERE {column} = '{key}'")
    return chosen


async def _all(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await client.get(path, params={"limit": 100})
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert page["next"] is None, "more rows than one page holds"
    items: list[dict[str, Any]] = page["items"]
    return items


def _key(route: str, row: dict[str, Any]) -> str:
    return str(row[_TABLES[route][1]])
