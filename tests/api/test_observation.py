"""What surrounds every answer: request ids, security headers, probes and metrics."""

import asyncio
import json
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send

from holdfast.api.observation import Observation
from holdfast.db.engines.base import Database
from tests.factories import make_token, make_user
from tests.instance import Instance


async def test_an_answer_bears_the_request_id_that_was_sent_or_one_of_its_own(instance: Instance) -> None:
    client = instance.client()
    given = await client.get("/me", headers={"X-Request-ID": "trace-42"})
    assert given.headers["x-request-id"] == "trace-42"
    assert given.json()["request_id"] == "trace-42"
    first, second = await client.get("/me"), await client.get("/me")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_every_answer_has_its_security_headers(instance: Instance) -> None:
    client = instance.client()
    for path in ("/me", "/nothing", "/docs", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
    assert (await client.get("/me")).headers["cache-control"] == "no-store"


async def test_the_probes_answer_without_a_token(instance: Instance) -> None:
    client = instance.client()
    assert (await client.get(f"{instance.base_url}/healthz")).json()["status"] == "ok"
    ready = await client.get(f"{instance.base_url}/readyz")
    assert ready.json() == {"status": "ok", "database": instance.engine}


async def test_metrics_count_requests_by_route_and_statements_by_name(instance: Instance, database: Database) -> None:
    client = instance.client(await make_token(database, await make_user(database)))
    unknown = "Aabcdefghijklmnopqrst"
    await client.get("/forms")
    await client.get(f"/forms/{unknown}")
    text = (await client.get(f"{instance.base_url}/metrics")).text
    assert 'holdfast_requests_total{method="GET",route="/api/v1/forms/{form_id}",status="404"}' in text
    assert 'holdfast_request_seconds_count{method="GET",route="/api/v1/forms"}' in text
    assert 'holdfast_statements_total{statement="accounts.find_session"}' in text
    assert 'holdfast_statement_seconds_bucket{le="+Inf",statement="accounts.find_session"}' in text.replace(
        'statement="accounts.find_session",le="+Inf"', 'le="+Inf",statement="accounts.find_session"'
    )
    assert f'holdfast_pool_open_connections{{pool="{instance.engine}"}}' in text
    assert unknown not in text


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js"])
async def test_the_reference_page_is_served_from_here(instance: Instance, path: str) -> None:
    answer = await instance.client().get(path)
    assert answer.status_code == 200
    assert "http" not in answer.headers["content-security-policy"]
    assert len(answer.content) > 100


@pytest.mark.parametrize(
    ("method", "code"),
    [("GET", "server_ended"), ("PATCH", "commit_outcome_unknown"), ("POST", "commit_outcome_unknown")],
)
async def test_a_request_that_the_ending_server_cuts_short_is_told_what_may_have_become_of_it(
    method: str, code: str
) -> None:
    start, body = await _cut_short(method, begins_answer=False)
    headers = dict(start["headers"])
    told = json.loads(body["body"])
    assert (start["status"], told["status"], told["code"]) == (503, 503, code)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"retry-after"].isdigit()
    assert headers[b"connection"] == b"close"
    assert headers[b"x-request-id"].decode() == told["request_id"]
    assert int(headers[b"content-length"]) == len(body["body"])


async def test_an_answer_that_is_cut_short_is_not_followed_by_another() -> None:
    with pytest.raises(asyncio.CancelledError):
        await _cut_short("GET", begins_answer=True)


async def _cut_short(method: str, *, begins_answer: bool) -> list[Any]:
    sent: list[Any] = []
    begun = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begins_answer:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await asyncio.Event().wait()

    scope: Any = {"type": "http", "method": method, "path": "/api/v1/forms", "headers": []}
    request = asyncio.ensure_future(Observation(app, access_log=True)(scope, receive, send))
    await begun.wait()
    request.cancel()
    await request
    return sent
