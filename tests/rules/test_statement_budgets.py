"""Every route, reads and writes: no more statements than it declares, whatever the number of rows (Q-04, Q-05)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from litestar import Router, get

import holdfast.app
from holdfast.api.budgets import requests_over_budget
from holdfast.api.deps import ApiRequest, Door
from holdfast.app import declared_budgets
from holdfast.core.actor import Actor
from holdfast.core.pages import page_request
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Transaction
from holdfast.db.migrate import migrate
from holdfast.features.forms import service as forms
from holdfast.features.forms.types import Form
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.factories import make_form, make_token
from tests.instance import Instance, instance_settings, run_instance
from tests.rules.budget_rows import BUDGET_ROWS, LONG_BODIES, make_target
from tests.rules.grown import grow_course
from tests.rules.permission_rows import Row
from tests.rules.permission_world import World
from tests.rules.statement_budgets import Run, faults, statements_run

BUDGETS = declared_budgets(Settings(data_dir=Path("nowhere")))
_FEW, _SOME, _MANY = 2, 20, 100


@pytest.mark.conformance("Q-04", "Q-05")
async def test_every_route_keeps_its_budget_for_2_20_and_100_rows(instance: Instance) -> None:
    world = await World(instance).fill()
    runs: list[Run] = []
    answered: set[tuple[str, int]] = set()
    for number in (_FEW, _SOME, _MANY):
        await grow_course(world, number)
        for row in BUDGET_ROWS:
            for role in ("super", "admin", "self") if number == _SOME else ("super",):
                run, status = await _run(world, row, role, number)
                runs.append(run)
                if status < 400:
                    answered.add((row.route, number))
    refused = sorted({(row.route, number) for row in BUDGET_ROWS for number in (_FEW, _SOME, _MANY)} - answered)
    assert not refused, f"these were refused, so that their count says nothing: {refused}"
    found = faults(runs, BUDGETS)
    assert not found, "\n" + "\n".join(found)


async def _run(world: World, row: Row, role: str, number: int) -> tuple[Run, int]:
    ids = await make_target(world, row, number)
    body = row.body(world, ids) if callable(row.body) else row.body
    if row.title in LONG_BODIES:
        body = LONG_BODIES[row.title](world, ids, number)
    token = None
    if (role == "self" and "self" in ids) or "fresh_token" in ids:
        token = await make_token(world.database, ids.get("self") or world.id_of(role))
    plan = await world.plan(row.planned, ids) if row.planned else ""
    path = (row.path + row.query).format(**ids, plan=plan)
    before = statements_run()
    answer = await world.call(role, row.method, path, json=body, token=token)
    return Run(row.route, f"{row.title} as {role}", number, statements_run() - before), answer.status_code


@get("/forms-one-by-one", summary="A list as it must not be", tags=["forms"])
async def list_forms_one_by_one(request: ApiRequest) -> dict[str, Any]:
    async def read(tx: Transaction, actor: Actor) -> list[Form]:
        page = await forms.list_forms(tx, actor, page_request(1, 100), cursor_key=b"key")
        return [await forms.get_form(tx, actor, form.id) for form in page.items]

    return {"items": await Door("forms").read(request, read)}


@pytest.mark.conformance("Q-04")
async def test_an_added_n_plus_one_is_told_and_counted(
    engine: str, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        holdfast.app, "_ROUTERS", [*holdfast.app._ROUTERS, Router("/", route_handlers=[list_forms_one_by_one])]
    )
    budgets = declared_budgets(Settings(data_dir=Path("nowhere")))
    route = "GET /api/v1/forms-one-by-one"
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    runs: list[Run] = []
    counted_before = requests_over_budget.read().get((route,), 0)
    async with run_instance(engine, settings) as running:
        await running.clear()
        world = await World(running).fill()
        client = running.client(await make_token(running.database, world.id_of("super")))
        for number in (_FEW, _SOME):
            for _ in range(number - (_FEW if runs else 0)):
                await make_form(running.database, world.id_of("self"), world.p_id)
            # The framework's own way, and the short one.
            for path in ("/forms-one-by-one?other=%20", "/forms-one-by-one"):
                before = statements_run()
                assert (await client.get(path)).status_code == 200
                runs.append(Run(route, route, number, statements_run() - before))
        text = (await client.get(f"{running.base_url}/metrics")).text
        await running.close_clients()
    sentences = faults(runs, budgets)
    assert (
        f"{route} with 20 rows ran forms.get_form 20 times, and 2 times with 2: the number of statements must not grow"
        " with the rows (N+1)"
    ) in sentences
    assert any(each.startswith(f"{route} with 2 rows ran forms.get_form 2 times in one request") for each in sentences)
    assert any(f"{route} with 20 rows ran 62 statements, and its route declares 4: " in each for each in sentences)
    assert f'holdfast_requests_over_budget_total{{route="{route}"}}' in text
    assert requests_over_budget.read()[route,] == counted_before + 4, "both ways to the route count"


def test_a_request_over_budget_is_logged_with_the_statement_that_ran_most() -> None:
    script = """
from holdfast.api.budgets import allow_key, hold_budget
from holdfast.api.forms import open_form
from holdfast.core.logs import configure_logs

configure_logs("warning", "json")
scope = {"method": "POST", "state": {}, "route_handler": open_form}
hold_budget(scope, "/api/v1/forms", ["a.b", *["c.d"] * 4])
hold_budget(scope, "/api/v1/forms", ["a.b", *["c.d"] * 5])
allow_key(scope["state"])
hold_budget(scope, "/api/v1/forms", ["a.b", *["c.d"] * 6])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = [json.loads(line) for line in ran.stderr.splitlines()]
    told = {name: line[name] for name in ("event", "route", "statements", "budget", "most_run", "times")}
    assert told == {
        "event": "request_over_budget",
        "route": "POST /api/v1/forms",
        "statements": 6,
        "budget": 5,
        "most_run": "c.d",
        "times": 5,
    }


async def test_an_idempotency_key_is_beside_the_budget(instance: Instance) -> None:
    world = await World(instance).fill()
    client = instance.client(await make_token(instance.database, world.id_of("self")))
    before = requests_over_budget.read()
    for _ in range(2):
        opened = await client.post("/forms", json={"title": "Help"}, headers={"Idempotency-Key": "one"})
        assert opened.status_code == 201
    assert requests_over_budget.read() == before
