"""The peers do the product's work: the same answers to the same requests, and the same rows after a write."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.peers import PEERS, Peer
from bench.population import Population, Size, load
from bench.recording import send
from bench.scenarios import Request, Scenario, scenarios
from bench.stand import Server, Stand
from tests.instance import Instance

_SIZE = Size(users=100, groups=6, projects=10, forms=200)
_AUDITED = ("actor_name", "action", "resource_type", "resource_label", "g_id", "new_data", "ip_address", "user_agent")


@pytest.mark.skipif(not all(peer.is_installed for peer in PEERS), reason="needs holdfast[bench]")
async def test_peers_answer_the_same_requests_with_the_same_rows(instance: Instance, tmp_path: Path) -> None:
    population = Population(_SIZE)
    await load(instance.database, population)
    async with _clients(instance, tmp_path) as (product, peers):
        for scenario in scenarios(population):
            for request in [] if scenario.is_write else scenario.requests[:2]:
                expected = await _content(product, request)
                assert expected["items"]
                for peer in peers:
                    assert await _content(peer, request) == expected
        for request in _refused(population):
            statuses = [(await send(client, request)).status_code for client in (product, *peers)]
            assert statuses[0] >= 400
            assert len(set(statuses)) == 1, (request, statuses)
        request = _write_of(scenarios(population)).requests[0]
        opened = [await _opened(client, product, population, request) for client in (product, *peers)]
        assert opened[0]["messages"]
        assert opened[1:] == opened[:1] * len(peers)


def test_a_peer_without_its_packages_is_left_out_with_a_sentence() -> None:
    peer = Peer("Elsewhere", "bench.peers.elsewhere", ("msgspec", "a_package_that_nobody_has"))
    assert not peer.is_installed
    assert peer.how_to_install == "Elsewhere: left out, it needs `pip install 'holdfast[bench]'`"


@asynccontextmanager
async def _clients(
    instance: Instance, folder: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, list[httpx.AsyncClient]]]:
    stand = Stand(instance.engine, instance.settings.database_url, (), folder)
    with ExitStack() as stack:

        def start(peer: Peer) -> Server:
            return stack.enter_context(stand.peer(peer))

        # They start side by side: each takes a second or two.
        with ThreadPoolExecutor(len(PEERS)) as executor:
            loop = asyncio.get_running_loop()
            servers = await asyncio.gather(*(loop.run_in_executor(executor, start, peer) for peer in PEERS))
        urls = [instance.base_url, *(f"http://127.0.0.1:{server.port}" for server in servers)]
        clients = [httpx.AsyncClient(base_url=url, timeout=30) for url in urls]
        try:
            yield clients[0], clients[1:]
        finally:
            for client in clients:
                await client.aclose()


def _refused(population: Population) -> list[Request]:
    """What each must refuse: an unknown token, another user's groups, a form in a project of strangers."""
    stranger = next(u_id for u_id in population.user_ids if u_id not in {member[0] for member in population.members})
    token = population.token_of(stranger)
    project = population.project_ids[0]
    return [
        Request("GET", "/api/v1/forms?limit=20", "hf_unknown"),
        Request("GET", f"/api/v1/users/{population.user_ids[0]}/groups", token),
        Request("POST", "/api/v1/forms", token, {"title": "Let me in", "project_id": project, "message": "Please"}),
    ]


def _write_of(found: list[Scenario]) -> Scenario:
    return next(scenario for scenario in found if scenario.is_write)


async def _content(client: httpx.AsyncClient, request: Request) -> dict[str, Any]:
    """A page without the order of keys and the nesting, in which the peers differ."""
    answer = await send(client, request)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    items = [_form(item) if "title" in item else _membership(item) for item in page["items"]]
    return {"total": page["total"], "page": page["page"], "limit": page["limit"], "items": items}


def _form(item: dict[str, Any]) -> dict[str, Any]:
    project = item.get("project", item)
    kept = {name: item[name] for name in ("id", "title", "description", "tag", "status")}
    return kept | {
        "created_at": item["created_at"].rstrip("Z"),
        "user": _user(item),
        "project": (project["p_id"] if "p_id" in project else project["project_id"], project["project_name"]),
        "messages": [(each["id"], each["content"], _user(each)) for each in item["messages"]],
    }


def _user(item: dict[str, Any]) -> tuple[str, str, str]:
    user = item.get("user", item)
    return user.get("u_id", user.get("user_id")), user["username"], user["full_name"]


def _membership(item: dict[str, Any]) -> dict[str, Any]:
    group = item.get("group", item)
    return {"role": item["role"], "created_at": item["created_at"].rstrip("Z")} | {
        name: group[name] for name in ("g_id", "group_name", "description")
    }


async def _opened(
    client: httpx.AsyncClient, product: httpx.AsyncClient, population: Population, request: Request
) -> dict[str, Any]:
    """Open a form; what the product then finds of it, and in the audit log, without ids and times."""
    answer = await send(client, request)
    assert answer.status_code == 201, answer.text
    form_id = answer.json()["id"]
    token = population.token_of(population.super_admin_id)
    form = (await send(product, Request("GET", f"/api/v1/forms/{form_id}", token))).json()
    assert _form(answer.json()) == _form(form)
    audited = (await send(product, Request("GET", f"/api/v1/audit-logs?resource_id={form_id}", token))).json()["items"]
    assert len(audited) == 1
    return {
        "form": {name: form[name] for name in ("user_id", "project_id", "title", "description", "tag", "status")},
        "messages": [(each["user_id"], each["content"]) for each in form["messages"]],
        "audited": {name: audited[0][name] for name in _AUDITED},
    }
