"""Two servers on one database: whatever the one did, the other knows at once, because nothing is kept in a process."""

import asyncio
import uuid

import httpx
import pytest
from sqlalchemy import text

from tests.db.live import other_connection
from tests.ha.replicas import PASSWORD
from tests.replicas.cluster import SIGN_IN_ATTEMPTS, Cluster, answered, make_project, new_name
from tests.replicas.releases import this_release

pytestmark = pytest.mark.slow


def test_servers_that_start_together_make_one_administrator_and_one_group(cluster: Cluster) -> None:
    with other_connection(cluster.database_url) as connection:
        users = connection.execute(text("SELECT count(*) FROM users WHERE username = 'admin'")).scalar_one()
        groups = connection.execute(text("SELECT count(*) FROM group_list WHERE group_name = 'super'")).scalar_one()
    assert (users, groups) == (1, 1)
    told = [server.log().count("This is the first start") for server in cluster.servers]
    assert sorted(told) == [0, 1]


async def test_a_session_of_the_one_is_good_at_the_other_and_ends_at_both(cluster: Cluster) -> None:
    token = await cluster.administrator()
    async with cluster.clients(token) as (here, there):
        assert answered(await there.get("/me"), 200)["username"] == "admin"
        assert (await there.delete("/sessions/current")).status_code == 204
        assert [(await client.get("/me")).status_code for client in (here, there)] == [401, 401]


async def test_a_revoked_token_and_a_changed_password_count_everywhere_at_once(cluster: Cluster) -> None:
    async with cluster.clients() as (here, _):
        made = answered(await here.post("/tokens", json={"name": new_name("token"), "scopes": ["groups:read"]}), 201)
        async with cluster.client(1, made["token"]) as program:
            assert (await program.get("/groups")).status_code == 200
            # Warm at both servers, revoked at the one.
            assert (await here.get("/groups", headers={"Authorization": f"Bearer {made['token']}"})).status_code == 200
            assert (await here.delete(f"/tokens/{made['id']}")).status_code in {200, 204}
            assert (await program.get("/groups")).status_code == 401
        _, user_id, token = await cluster.make_user(here)
        async with cluster.client(1, token) as of_user:
            assert (await of_user.get("/me")).status_code == 200
            # An administrator sets another password: every session of the user ends.
            changed = await here.put(f"/users/{user_id}/password", json={"new_password": "a third password"})
            assert changed.status_code == 204, changed.text
            assert (await of_user.get("/me")).status_code == 401


async def test_roles_given_and_taken_at_the_one_hold_at_the_other(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        project = await make_project(here)
        _, user_id, token = await cluster.make_user(here)
        async with cluster.client(1, token) as of_user:
            path = f"/projects/{project['p_id']}"
            assert (await of_user.get(path)).status_code == 404
            member = {"u_id": user_id, "role": "manager"}
            answered(await here.post(f"/groups/{project['g_id']}/members", json=member), 201)
            assert (await of_user.get(path)).status_code == 200
            gone = await there.delete(f"/groups/{project['g_id']}/members/{user_id}")
            assert gone.status_code == 200, gone.text
            assert (await of_user.get(path)).status_code == 404


async def test_failed_sign_ins_are_counted_for_all_servers_together(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        username, _, _ = await cluster.make_user(here)
    async with cluster.client(0) as here, cluster.client(1) as there:
        wrong = {"username": username, "password": "not the password"}
        for attempt in range(SIGN_IN_ATTEMPTS):
            answer = await (here, there)[attempt % 2].post("/sessions", json=wrong)
            assert answer.status_code == 401, answer.text
        for client in (here, there):
            refused = await client.post("/sessions", json={"username": username, "password": PASSWORD})
            assert refused.status_code == 429, refused.text
            assert int(refused.headers["Retry-After"]) > 0


async def test_of_many_attempts_at_one_moment_no_more_are_told_than_the_limit(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        username, _, _ = await cluster.make_user(here)
        wrong = {"username": username, "password": "not the password"}
        sent = [client.post("/sessions", json=wrong) for _ in range(SIGN_IN_ATTEMPTS) for client in (here, there)]
        told = sorted(answer.status_code for answer in await asyncio.gather(*sent))
    assert told == [401] * SIGN_IN_ATTEMPTS + [429] * SIGN_IN_ATTEMPTS


async def test_a_request_that_is_repeated_at_another_server_is_answered_and_not_done_again(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        project = await make_project(here)
        body = {"title": new_name("form"), "project_id": project["p_id"]}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        first = await here.post("/forms", json=body, headers=key)
        again = await there.post("/forms", json=body, headers=key)
        assert (first.status_code, again.status_code) == (201, 201), again.text
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.content == first.content
        other = await there.post("/forms", json=body | {"title": "another"}, headers=key)
        assert other.status_code == 409, other.text
        assert other.json()["code"] == "idempotency_key_reused"
        # The same in one moment: one of them makes it, whoever comes first.
        key = {"Idempotency-Key": str(uuid.uuid4())}
        sent = [client.post("/forms", json=body, headers=key) for _ in range(6) for client in (here, there)]
        answers = await asyncio.gather(*sent)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        listed = answered(await there.get("/forms", params={"project_id": project["p_id"]}), 200)
        assert listed["total"] == 2


async def test_a_cursor_of_the_one_goes_on_at_the_other(cluster: Cluster) -> None:
    async with cluster.clients() as clients:
        project = await make_project(clients[0])
        made = set()
        for number in range(7):
            body = {"title": f"form {number}", "project_id": project["p_id"]}
            made.add(answered(await clients[number % 2].post("/forms", json=body), 201)["id"])
        asked = {"project_id": project["p_id"], "limit": "2", "total": "none"}
        found: list[str] = []
        for turn in range(4):
            page = answered(await clients[turn % 2].get("/forms", params=asked), 200)
            found += [form["id"] for form in page["items"]]
            asked["cursor"] = page["next"]
        assert sorted(found) == sorted(made)


async def test_a_plan_of_the_one_is_carried_out_and_undone_by_the_other(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        project = await make_project(here)
        answered(await here.post("/forms", json={"title": "asked", "project_id": project["p_id"]}), 201)
        plan = answered(await here.post("/deletion-plans", json={"type": "project", "id": project["p_id"]}), 200)
        gone = answered(await there.delete(f"/projects/{project['p_id']}", params={"plan": plan["token"]}), 200)
        assert (await here.get(f"/projects/{project['p_id']}")).status_code == 404
        restored = await here.post(f"/deletions/{gone['deletion_id']}/restore")
        assert restored.status_code == 200, restored.text
        assert (await there.get(f"/projects/{project['p_id']}")).status_code == 200


async def test_a_change_at_the_one_makes_the_version_of_the_other_too_old(cluster: Cluster) -> None:
    async with cluster.clients() as (here, there):
        project = await make_project(here)
        form = answered(await here.post("/forms", json={"title": "first", "project_id": project["p_id"]}), 201)
        path = f"/forms/{form['id']}"
        etag = (await there.get(path)).headers["ETag"]
        assert (await here.patch(path, json={"title": "second"}, headers={"If-Match": etag})).status_code == 200
        late = await there.patch(path, json={"title": "third"}, headers={"If-Match": etag})
        assert late.status_code == 412, late.text
        assert answered(await there.get(path), 200)["title"] == "second"


async def test_a_server_with_another_secret_refuses_what_the_others_signed(cluster: Cluster) -> None:
    stranger = cluster.processes.ready_server(
        this_release(), secret="another secret, which is a mistake of the operator", worker_in_server="false"
    )
    token = await cluster.administrator()
    async with cluster.clients(token) as (here, _):
        project = await make_project(here)
        for number in range(3):
            answered(await here.post("/forms", json={"title": str(number), "project_id": project["p_id"]}), 201)
        page = answered(await here.get("/forms", params={"project_id": project["p_id"], "limit": "1"}), 200)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"{stranger.url}/api/v1", headers=headers, timeout=60) as client:
        asked = {"project_id": project["p_id"], "limit": "1", "cursor": page["next"]}
        refused = await client.get("/forms", params=asked)
        assert refused.status_code == 400, refused.text
    assert stranger.stop() == 0
