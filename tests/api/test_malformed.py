"""Malformed requests of every kind give 4xx and a clear sentence, never 5xx (target R4)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.app import describe_api
from holdfast.settings import Settings
from tests.factories import make_super_admin, make_token
from tests.instance import Instance

_DESCRIPTION = describe_api(Settings(data_dir=Path("nowhere")))
_JSON = {"content-type": "application/json"}
_SOME_ID = "Aabcdefghijklmnopqrst"


def _routes(*methods: str) -> Iterator[tuple[str, str]]:
    for path, operations in _DESCRIPTION["paths"].items():
        if not path.startswith("/api/v1/"):
            continue
        for method in methods:
            if method in operations:
                yield method.upper(), _filled(path)


def _filled(path: str) -> str:
    return "/".join(_SOME_ID[:20] if part.startswith("{") else part for part in path.split("/")).removeprefix("/api/v1")


CHANGING = sorted(_routes("post", "put", "patch"))
WITHOUT_BODY = {
    _filled(path)
    for path, operations in _DESCRIPTION["paths"].items()
    if not operations.get("post", {}).get("requestBody", {"required": True})["required"]
}
# These ask for one thing, whatever comes with them.
IGNORING_BODIES = {"/backups", "/doctor"}
# This one answers 404 before there is anything to show.
MAY_BE_ABSENT = {"/doctor"}
LISTS = sorted((method, path) for method, path in _routes("get") if not path.endswith(_SOME_ID[:20]))
# The parameters of the query that each of them knows; to the others they mean nothing.
KNOWN_PARAMETERS = {
    _filled(path): {each["name"] for each in operations["get"].get("parameters", ()) if each["in"] == "query"}
    for path, operations in _DESCRIPTION["paths"].items()
    if "get" in operations
}

BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{title: x}",
    "a list": b"[1, 2]",
    "a number": b"17",
    "null": b"null",
    "an unknown field": b'{"no_such_field": 1}',
    "invalid UTF-8": b'{"title": "\xff\xfe"}',
    "half a surrogate": b'{"title": "\\ud800"}',
    "cut off": b'{"title": "abc',
    "deeply nested": b"[" * 100_000,
    "a huge number": b'{"gpu_quota": 1e400}',
}


def assert_refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text[:300]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert len(problem["detail"]) > 10
    assert problem["code"]


@pytest.fixture
async def client(instance: Instance) -> httpx.AsyncClient:
    return instance.client(await make_token(instance.database, await make_super_admin(instance.database)))


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_malformed_body_is_refused_everywhere(client: httpx.AsyncClient, name: str) -> None:
    for method, path in CHANGING:
        if path in IGNORING_BODIES or (name == "nothing" and path in WITHOUT_BODY):
            continue
        answer = await client.request(method, path, content=BAD_BODIES[name], headers=_JSON)
        if path == "/sessions" or answer.status_code != 401:
            assert_refused(answer)


def test_what_ignores_bodies_declares_none() -> None:
    declaring_none = {
        _filled(path)
        for path, operations in _DESCRIPTION["paths"].items()
        if "post" in operations and "requestBody" not in operations["post"]
    }
    assert declaring_none >= IGNORING_BODIES


async def test_a_missing_body_is_named_and_not_the_parameter_that_would_take_it(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/image-requests/{_SOME_ID}/reject")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("the body is missing")


async def test_where_a_body_only_changes_what_is_done_it_may_be_missing(client: httpx.AsyncClient) -> None:
    assert sorted(WITHOUT_BODY) == [
        "/admin/cleanup/audit-logs",
        "/admin/cleanup/soft-deleted",
        f"/deletions/{_SOME_ID[:20]}/restore",
    ]
    statuses = [(await client.post(path)).status_code for path in sorted(WITHOUT_BODY)]
    assert statuses == [202, 202, 404]


def _wrong_values(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    reference = schema["requestBody"]["content"]["application/json"]["schema"]
    fields = _DESCRIPTION["components"]["schemas"][reference["$ref"].rsplit("/", 1)[1]]["properties"]
    wrong: list[Any] = [{"a": 1}, [[]], "\x00", "x" * 3_000_000, -(2**70), 1.5, "\x1b[31m", "\ud7ff\uffff" * 30_000]
    for name in fields:
        for value in wrong:
            yield {name: value}


@pytest.mark.parametrize(("method", "path"), CHANGING)
async def test_wrong_types_and_values_are_never_an_internal_error(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    template = next(
        template
        for template in _DESCRIPTION["paths"]
        if method.lower() in _DESCRIPTION["paths"][template]
        and "/".join(_SOME_ID[:20] if part.startswith("{") else part for part in template.split("/"))
        == f"/api/v1{path}"
    )
    operation = _DESCRIPTION["paths"][template][method.lower()]
    if "requestBody" not in operation:
        return
    for body in _wrong_values(operation):
        answer = await client.request(method, path, content=json.dumps(body).encode(), headers=_JSON)
        assert_refused(answer)


@pytest.mark.parametrize(
    "query",
    [
        "page=abc",
        "page=99999999999999999999",
        "limit=x",
        "sort=password",
        "sort=created_at;drop table users",
        "cursor=AAAA",
        "cursor=%00",
        "cursor=" + "A" * 5000,
        "q=%00",
        "q=" + "x" * 1000,
        "page=1&page=2&limit=x",
    ],
)
async def test_malformed_list_parameters_are_refused_by_each_route_that_knows_them(
    client: httpx.AsyncClient, query: str
) -> None:
    # In the last one, `limit` is what is wrong.
    name = query.rsplit("&", 1)[-1].partition("=")[0]
    assert sum(name in known for known in KNOWN_PARAMETERS.values()) >= 15
    for _, path in LISTS:
        answer = await client.get(f"{path}?{query}")
        if name in KNOWN_PARAMETERS[path]:
            assert_refused(answer)
            # What a list hangs on does not exist here, which may be noticed first.
            assert answer.status_code == 400 or (answer.status_code == 404 and _SOME_ID[:20] in path), path
        else:
            may_be_absent = _SOME_ID[:20] in path or path in MAY_BE_ABSENT
            assert answer.status_code in ({200, 404} if may_be_absent else {200}), path
    assert (await client.get("/me")).status_code == 200


@pytest.mark.parametrize(("strange", "plain"), [("limit=1e3", "limit=1000"), ("q=%ff", "q=%EF%BF%BD")])
async def test_strange_list_parameters_that_have_a_meaning_are_settled(
    client: httpx.AsyncClient, strange: str, plain: str
) -> None:
    for path in (path for _, path in LISTS if "page" in KNOWN_PARAMETERS[path]):
        answer = await client.get(f"{path}?{strange}")
        assert answer.status_code == (404 if _SOME_ID[:20] in path else 200), path
        if answer.status_code == 200:
            assert answer.json() == (await client.get(f"{path}?{plain}")).json(), path
    assert (await client.get("/me")).status_code == 200


@pytest.mark.parametrize("page", ["-1", "0", "999999999"])
async def test_pages_outside_a_list_are_settled_by_the_rule(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get("/forms", params={"page": page, "limit": "-5"})
    assert answer.status_code == 200
    assert answer.json() == {
        "items": [],
        "total": 0,
        "page": max(1, int(page)),
        "limit": 20,
        "next": None,
    }


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer hf_short",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer " + "x" * 9000,
        "bearer \x80\xff",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    ],
)
async def test_a_malformed_token_is_not_signed_in(instance: Instance, authorization: str) -> None:
    client = instance.client()
    answer = await client.get("/me", headers=[(b"authorization", authorization.encode("latin-1"))])
    assert answer.status_code == 401
    assert_refused(answer)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_malformed_headers_are_refused_or_mean_nothing(client: httpx.AsyncClient) -> None:
    body = {"title": "A question"}
    for key in ("", "x" * 256, "a\x80b"):
        answer = await client.post("/forms", json=body, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
        assert_refused(answer)
    form = (await client.post("/forms", json=body)).json()
    for tag in ("abc", '"', 'W/"1"', "\x80"):
        answer = await client.patch(
            f"/forms/{form['id']}",
            json={"tag": "x"},
            headers=[(b"If-Match", tag.encode("latin-1"))],
        )
        assert answer.status_code == 412
    named = await client.get("/forms", headers={"X-Request-ID": "bad id" * 5})
    assert named.status_code == 200
    assert "bad id" not in named.headers["x-request-id"]


async def test_a_body_above_the_limit_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/forms", json={"title": "x", "description": "y" * 10_000_000})
    assert answer.status_code == 413
    assert_refused(answer)


@pytest.mark.parametrize(
    "path", ["/nothing", "/forms/%00", "/forms/..%2f..", "/forms/" + "x" * 300, "/forms/%ff", "/users/%F0%9F%92%A9"]
)
async def test_paths_that_name_nothing_are_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert_refused(answer)


async def test_a_wrong_method_is_told_so(client: httpx.AsyncClient) -> None:
    answer = await client.request("TRACE", "/forms")
    assert answer.status_code == 405
    answer = await client.put("/forms", json={})
    assert answer.status_code == 405
    assert_refused(answer)


async def test_a_wrong_media_type_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/forms", content=b"<form/>", headers={"content-type": "application/xml"})
    assert_refused(answer)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/groups", {"group_name": "physics\n"}),
        ("/forms", {"title": "Hello\n"}),
        ("/forms", {"title": "Hello", "tag": "question\n"}),
        ("/tokens", {"name": "nightly\n"}),
        ("/users", {"username": "ada\n"}),
        ("/users", {"username": "ada", "full_name": "Ada\n"}),
        ("/users", {"username": "ada", "email": "ada@example.org\n"}),
    ],
)
async def test_a_line_break_at_the_end_of_a_name_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, str]
) -> None:
    assert_refused(await client.post(path, json=body))
