"""The short way to a route answers as the framework does, for what is plain and for what is not."""

from typing import Any

import pytest

from holdfast.api import express
from holdfast.api.responses import send_json
from tests.api.cast import Cast
from tests.instance import Instance

# Of the moment, or of the connection.
_OF_THE_REQUEST = {"date", "x-request-id"}

_READS = [
    "/forms",
    "/forms?limit=1&page=2",
    "/forms?limit=0",
    "/forms?limit=many",
    "/forms?limit=",
    "/forms?limit=1&limit=2",
    "/forms?limit=%31",
    "/forms?page=1+1",
    "/forms?unknown=1",
    "/forms?status=Pending",
    "/forms?status=pending",
    "/forms?sort=-created_at&include=messages",
    "/forms?sort=title",
    "/forms?total=none&limit=1",
    "/forms?total=exact",
    "/forms?total=many",
    "/forms?total=",
    "/forms?total=none&total=exact",
    "/forms?include=everything",
    "/forms?cursor=nonsense",
    "/forms?q=",
    "/forms?q=caf%C3%A9",
    "/forms?tag=a;b&&",
    "/forms?project_id=not an id".replace(" ", "%20"),
    "/forms?=1",
    "/forms?limit",
    "/forms/",
    "//forms",
    "/forms/nothing-of-this-name",
    "/forms/no.such.id",
    f"/forms/{'x' * 22}",
    "/users/{u_id}",
    "/users/{u_id}/groups?limit=20",
    "/users/{u_id}/groups?role=admin",
    "/users/{u_id}/groups?role=king",
    "/me",
    "/no/such/route",
    "/audit-logs?from=yesterday",
    "/audit-logs?from=2026-01-01T00:00:00Z",
]
_BODIES: list[dict[str, Any]] = [
    {"json": {"title": ""}},
    {"json": {"title": "x", "unknown": 1}},
    {"json": {"title": 4}},
    {"json": []},
    {"json": {"title": "x", "project_id": "none-of-this-name"}},
    {"content": b"{", "headers": {"content-type": "application/json"}},
    {"content": b"\xff", "headers": {"content-type": "application/json"}},
    {"content": b"", "headers": {"content-type": "application/json"}},
    {"content": b'{"title": 1}', "headers": {"content-type": "application/json; charset=utf-8"}},
    {"content": b"title=x", "headers": {"content-type": "application/x-www-form-urlencoded"}},
    {"content": b'{"title": 1}'},
    {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
    {"content": b'"' + b"x" * 3_000_000 + b'"', "headers": {"content-type": "application/json"}},
]


@pytest.fixture
async def cast(instance: Instance) -> Cast:
    return await Cast(instance).fill()


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"])
async def test_reads_are_answered_alike(cast: Cast, method: str) -> None:
    me = (await cast.user.get("/me")).json()
    for path in _READS:
        await _both_ways(cast, method, path.replace("{u_id}", me["u_id"]))


@pytest.mark.parametrize("body", _BODIES, ids=range(len(_BODIES)))
async def test_bodies_are_answered_alike(cast: Cast, body: dict[str, Any]) -> None:
    await _both_ways(cast, "POST", "/forms", **body)
    await _both_ways(cast, "POST", "/forms?unknown=1", **body)
    await _both_ways(cast, "PATCH", "/forms/none-of-this-name", **body)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eA=="}, {"authorization": "Bearer hf_x"}])
async def test_refusals_of_a_token_are_answered_alike(cast: Cast, headers: dict[str, str]) -> None:
    cast.user.headers.pop("authorization")
    for method in ("GET", "POST"):
        await _both_ways(cast, method, "/forms", headers=headers)


async def test_plain_requests_take_the_short_way(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above would hold one way against itself."""
    taken = []

    async def noted(content: Any, status: int, send: Any) -> None:
        taken.append(status)
        await send_json(content, status, send)

    monkeypatch.setattr(express, "send_json", noted)
    assert (await cast.user.get("/forms?limit=5&sort=-created_at")).status_code == 200
    assert taken == [200]
    assert (await cast.user.get("/forms?limit=%35")).status_code == 200
    assert taken == [200]


async def _both_ways(cast: Cast, method: str, path: str, **options: Any) -> None:
    client = cast.user
    short = await client.request(method, path, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(express, "_METHODS", frozenset())
        long = await client.request(method, path, **options)
    assert short.status_code == long.status_code
    assert _comparable(short) == _comparable(long)


def _comparable(answer: Any) -> tuple[dict[str, str], Any]:
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_REQUEST}
    if not answer.content or not answer.headers.get("content-type", "").endswith("json"):
        return headers, answer.content
    body = answer.json()
    # Its length goes into a header; its value is of the request.
    body.pop("request_id", None)
    return headers, body
