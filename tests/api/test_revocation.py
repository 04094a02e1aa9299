"""What was taken away works no more at the next request, on every replica; and tokens that may do less than all."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import bindparam, update

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import user_group, users
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts.policy import AREAS
from tests.factories import (
    PASSWORD,
    make_group,
    make_member,
    make_project,
    make_super_admin,
    make_token,
    make_user,
)
from tests.features.images.deletion import delete_row
from tests.instance import Instance, run_instance
from tests.rules.permission_rows import ROWS, Row
from tests.rules.permission_world import World

_AREA_OF = {
    "audit-logs": "audit",
    "config-files": "config-files",
    "forms": "forms",
    "groups": "groups",
    "image-requests": "images",
    "images": "images",
    "projects": "projects",
    "repositories": "images",
    "tokens": "tokens",
    "users": "users",
    "workloads": "workloads",
    "deletion-plans": "deletions",
    "deletions": "deletions",
    "statistics": "admin",
    "cleanup": "deletions",
}
_BEFORE_PASSWORD_CHANGE = {
    "GET /api/v1/me",
    "GET /api/v1/sessions/current",
    "DELETE /api/v1/sessions/current",
    "PUT /api/v1/users/{u_id}/password",
}


def _setter(column: str) -> Command:
    that_user = users.c.u_id == bindparam("u_id", type_=users.c.u_id.type)
    return Command(f"tests.set_{column}", update(users).where(that_user).values(parameters_for(users, column)))


_SET_STATUS = _setter("status")
_DEMAND_PASSWORD_CHANGE = _setter("must_change_password")


class Course:
    """A group with a manager, signed in at two replicas with a session and with an API token."""

    def __init__(self, first: Instance, second: Instance) -> None:
        self.first, self.second, self.database = first, second, first.database

    async def fill(self) -> "Course":
        self.g_id = await make_group(self.database)
        self.p_id = await make_project(self.database, self.g_id)
        self.u_id = await make_user(self.database, "manager")
        await make_member(self.database, self.u_id, self.g_id, "manager")
        self.root = self.first.client(await make_token(self.database, await make_super_admin(self.database)))
        self.session_id = new_long_id()
        self.clients = []
        for values in ({"id": self.session_id}, {"kind": "api"}):
            token = await make_token(self.database, self.u_id, **values)
            self.clients += [self.first.client(token), self.second.client(token)]
        return self

    async def reads(self) -> list[int]:
        """How each replica answers each token when it reads the project."""
        return [(await client.get(f"/projects/{self.p_id}")).status_code for client in self.clients]

    async def changes(self) -> list[int]:
        """How each replica answers each token when it changes the project."""
        path, body = f"/projects/{self.p_id}", {"description": "changed"}
        return [(await client.patch(path, json=body)).status_code for client in self.clients]


@pytest.fixture
async def replica(instance: Instance) -> AsyncIterator[Instance]:
    """A second server on the same database."""
    async with run_instance(instance.engine, instance.settings) as second:
        yield second
        await second.close_clients()


@pytest.fixture
async def course(instance: Instance, replica: Instance) -> Course:
    course = await Course(instance, replica).fill()
    assert await course.reads() == [200, 200, 200, 200]
    assert await course.changes() == [200, 200, 200, 200]
    return course


async def test_a_lesser_role_counts_at_the_next_request(course: Course) -> None:
    answer = await course.root.patch(f"/groups/{course.g_id}/members/{course.u_id}", json={"role": "user"})
    assert answer.status_code == 200, answer.text
    assert await course.changes() == [403, 403, 403, 403]
    assert await course.reads() == [200, 200, 200, 200]


async def test_a_lost_membership_counts_at_the_next_request(course: Course) -> None:
    await delete_row(course.database, user_group, course.u_id)
    assert await course.changes() == [404, 404, 404, 404]
    assert await course.reads() == [404, 404, 404, 404]


@pytest.mark.conformance("A-02")
async def test_a_disabled_user_is_out_at_the_next_request_and_stays_out(course: Course) -> None:
    answer = await course.root.patch(f"/users/{course.u_id}", json={"status": "delete"})
    assert answer.status_code == 200, answer.text
    assert await course.reads() == [401, 401, 401, 401]
    assert await course.changes() == [401, 401, 401, 401]
    for instance in (course.first, course.second):
        credentials = {"username": "manager", "password": PASSWORD}
        assert (await instance.client().post("/sessions", json=credentials)).status_code == 401
    await course.root.patch(f"/users/{course.u_id}", json={"status": "offline"})
    assert await course.reads() == [401, 401, 401, 401], "tokens of before come to life again"


async def test_a_user_disabled_in_the_database_itself_is_out_at_the_next_request(course: Course) -> None:
    async with course.database.write() as tx:
        await tx.execute(_SET_STATUS, u_id=course.u_id, status="delete")
    assert await course.reads() == [401, 401, 401, 401]


async def test_a_deleted_user_is_out_at_the_next_request(course: Course) -> None:
    await delete_row(course.database, users, course.u_id)
    assert await course.reads() == [401, 401, 401, 401]
    assert await course.changes() == [401, 401, 401, 401]


@pytest.mark.conformance("A-03")
async def test_a_revoked_token_is_worth_nothing_at_the_next_request(course: Course) -> None:
    assert (await course.clients[2].delete(f"/tokens/{course.session_id}")).status_code == 204
    assert await course.reads() == [401, 401, 200, 200]
    assert await course.changes() == [401, 401, 200, 200]


@pytest.mark.conformance("A-03")
async def test_signing_out_at_one_replica_is_signing_out_at_all(course: Course) -> None:
    assert (await course.clients[0].delete("/sessions/current")).status_code == 204
    assert await course.reads() == [401, 401, 200, 200]


async def test_a_new_password_ends_the_other_tokens_at_the_next_request(course: Course) -> None:
    body = {"old_password": PASSWORD, "new_password": "a better password"}
    assert (await course.clients[1].put(f"/users/{course.u_id}/password", json=body)).status_code == 204
    assert await course.reads() == [200, 200, 401, 401]


@pytest.mark.conformance("A-03")
async def test_an_expired_token_is_worth_nothing(course: Course) -> None:
    for kind in ("session", "api"):
        token = await make_token(course.database, course.u_id, kind=kind, expires_at=utc_now() - timedelta(seconds=1))
        for instance in (course.first, course.second):
            answer = await instance.client(token).get("/me")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.conformance("A-03")
async def test_a_super_administrator_is_none_at_the_next_request_after_the_demotion(course: Course) -> None:
    u_id = await make_super_admin(course.database, "was-super")
    token = await make_token(course.database, u_id)
    clients = [course.first.client(token), course.second.client(token)]

    async def sees_all() -> list[int]:
        return [(await client.get(f"/projects/{course.p_id}")).status_code for client in clients]

    assert await sees_all() == [200, 200]
    demoted = await course.root.patch(f"/groups/{SUPER_GROUP_ID}/members/{u_id}", json={"role": "user"})
    assert demoted.status_code == 200, demoted.text
    assert await sees_all() == [404, 404]


async def test_a_token_needs_the_scope_of_each_route(instance: Instance) -> None:
    world = await World(instance).fill()
    asked: set[str] = set()
    for row in _one_row_for_each_route():
        scope = _scope_of(row)
        if scope is None:
            continue
        asked.add(scope)
        allowed = await _call_with_scopes(world, row, {scope})
        assert allowed.status_code < 300, f"{row.title} with {scope}: {allowed.text}"
        refused = await _call_with_scopes(world, row, _all_scopes() - {scope})
        assert (refused.status_code, refused.json().get("scope")) == (403, scope), f"{row.title}: {refused.text}"
    assert {scope.split(":")[0] for scope in asked} == set(AREAS)


async def test_what_reaches_into_another_area_needs_its_scope_too(instance: Instance) -> None:
    world = await World(instance).fill()
    titles = {
        "GET /api/v1/projects/{p_id}?include=config_files": "config-files:read",
        "POST /api/v1/groups/{g_id}/roster (new accounts)": "users:write",
    }
    for row in (row for row in ROWS if row.title in titles):
        answer = await _call_with_scopes(world, row, _all_scopes() - {titles.pop(row.title)})
        assert answer.status_code == 403, row.title
    assert not titles


async def test_a_token_for_everything_of_one_kind_is_no_token_for_the_other(instance: Instance) -> None:
    world = await World(instance).fill()
    for row in _one_row_for_each_route():
        scope = _scope_of(row)
        if scope is not None:
            answer = await _call_with_scopes(world, row, {f"*:{scope.split(':')[1]}"})
            assert answer.status_code < 300, f"{row.title}: {answer.text}"
            other = {"read": "write", "write": "read"}[scope.split(":")[1]]
            assert (await _call_with_scopes(world, row, {f"*:{other}"})).status_code == 403, row.title


@pytest.mark.conformance("V-05")
async def test_a_first_password_opens_nothing_but_its_own_change(instance: Instance) -> None:
    world = await World(instance).fill()
    rows = [row for row in _one_row_for_each_route() if _scope_of(row) or row.route in _BEFORE_PASSWORD_CHANGE]
    targets = [await row.target(world) | {"u_id": world.id_of("super")} for row in rows]
    await _mark_first_password(instance, world.id_of("super"))
    for row, ids in zip(rows, targets, strict=True):
        body = row.body(world, ids) if callable(row.body) else row.body
        token = await make_token(world.database, world.id_of("super"))
        answer = await world.call("super", row.method, row.path.format(**ids), json=body, token=token)
        if row.route in _BEFORE_PASSWORD_CHANGE:
            assert answer.status_code < 300, f"{row.title}: {answer.text}"
            await _mark_first_password(instance, world.id_of("super"))
        else:
            assert answer.status_code == 403, row.title
            assert answer.json()["code"] == "password_change_required", row.title


async def _mark_first_password(instance: Instance, u_id: str) -> None:
    async with instance.database.write() as tx:
        await tx.execute(_DEMAND_PASSWORD_CHANGE, u_id=u_id, must_change_password=True)


def _one_row_for_each_route() -> list[Row]:
    """The plainest row of each route that wants a token; of a deletion that with the plan's token."""
    rows: dict[str, Row] = {}
    for row in sorted(ROWS, key=lambda row: not row.planned):
        rows.setdefault(row.route, row)
    return list(rows.values())


def _scope_of(row: Row) -> str | None:
    parts = row.path.split("/")
    if parts[1] != "api":
        return None
    noun = parts[4] if parts[3] == "admin" else parts[3]
    area = "config-files" if "config-files" in parts else _AREA_OF.get(noun)
    return area and f"{area}:{'read' if _only_reads(row) else 'write'}"


def _only_reads(row: Row) -> bool:
    """A plan is made by POST, and changes nothing."""
    return row.method == "GET" or row.path.endswith("/deletion-plans")


def _all_scopes() -> set[str]:
    return {f"{area}:{access}" for area in AREAS for access in ("read", "write")}


async def _call_with_scopes(world: World, row: Row, scopes: set[str]) -> httpx.Response:
    """Call as a super administrator whose API token has the scopes."""
    ids = await row.target(world)
    body = row.body(world, ids) if callable(row.body) else row.body
    plan = await world.plan(row.planned, ids) if row.planned else ""
    token = await make_token(world.database, world.id_of("super"), kind="api", scopes=" ".join(sorted(scopes)))
    path = (row.path + row.query).format(**ids, plan=plan)
    return await world.call("super", row.method, path, json=body, token=token)
