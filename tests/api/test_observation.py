"""What surrounds every answer: request ids, security headers, probes and metrics."""

import pytest

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
