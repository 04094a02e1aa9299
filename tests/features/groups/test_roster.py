"""Importing a roster over HTTP: all or nothing, repeatable, in a fixed number of statements."""

import asyncio
from typing import Any

import httpx
import pytest

from holdfast.core.actor import Actor
from holdfast.db.engines.base import Database
from holdfast.features.groups import roster
from holdfast.features.groups.types import RosterRow
from tests.factories import make_group, make_member, make_super_admin, make_token, make_user
from tests.instance import Instance


class Course:
    """A group with an admin, and a super administrator."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def fill(self) -> "Course":
        database = self.instance.database
        self.g_id = await make_group(database, "physics")
        self.root_id = await make_super_admin(database, "root")
        self.head_id = await make_user(database, "head")
        await make_member(database, self.head_id, self.g_id, "admin")
        self.root = self.instance.client(await make_token(database, self.root_id))
        self.head = self.instance.client(await make_token(database, self.head_id))
        return self

    async def import_rows(
        self, client: httpx.AsyncClient, rows: list[dict[str, Any]], *, dry_run: bool = False
    ) -> httpx.Response:
        numbered = [{"line": number, **row} for number, row in enumerate(rows, 2)]
        return await client.post(f"/groups/{self.g_id}/roster", json={"rows": numbered, "dry_run": dry_run})

    async def members(self) -> dict[str, str]:
        answer = await self.root.get(f"/groups/{self.g_id}/members", params={"limit": 100})
        return {member["username"]: member["role"] for member in answer.json()["items"]}


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


async def test_a_roster_makes_accounts_and_members_and_a_second_run_changes_nothing(course: Course) -> None:
    rows = [
        {"username": "ada", "full_name": "Ada Lovelace", "email": "ada@example.org", "role": "manager"},
        {"username": "berta", "password": "given by the dean"},
        {"username": " carl ", "full_name": " ", "role": ""},
    ]
    dry = await course.import_rows(course.root, rows, dry_run=True)
    assert dry.status_code == 200, dry.text
    assert await course.members() == {"head": "admin"}
    answer = await course.import_rows(course.root, rows)
    done = answer.json()
    assert done == dry.json() | {"dry_run": False, "first_passwords": done["first_passwords"]}
    assert done["created_users"] == ["ada", "berta", "carl"]
    assert done["added_members"][0] == {"username": "ada", "role": "manager"}
    assert sorted(done["first_passwords"]) == ["ada", "carl"]
    assert await course.members() == {"ada": "manager", "berta": "user", "carl": "user", "head": "admin"}
    again = (await course.import_rows(course.root, rows)).json()
    assert again == {
        "dry_run": False,
        "created_users": [],
        "added_members": [],
        "changed_roles": [],
        "updated_users": [],
        "unchanged": 3,
        "first_passwords": {},
    }
    for username, password in (("ada", done["first_passwords"]["ada"]), ("berta", "given by the dean")):
        client = course.instance.client()
        signed_in = await client.post("/sessions", json={"username": username, "password": password})
        assert signed_in.json()["user"]["must_change_password"] is True


async def test_a_roster_changes_roles_and_profiles(course: Course, database: Database) -> None:
    u_id = await make_user(database, "ada", full_name="Ada")
    await make_member(database, u_id, course.g_id, "user")
    rows = [{"username": "ada", "full_name": "Ada Lovelace", "role": "manager"}, {"username": "head"}]
    done = (await course.import_rows(course.root, rows)).json()
    assert done["changed_roles"] == [{"username": "ada", "old": "user", "new": "manager"}]
    assert done["updated_users"] == ["ada"]
    assert done["unchanged"] == 1
    user = (await course.root.get(f"/users/{u_id}")).json()
    assert (user["full_name"], user["email"]) == ("Ada Lovelace", None)
    rows = (await course.root.get("/audit-logs", params={"resource_type": "member"})).json()["items"]
    assert [row["new_data"] for row in rows] == [{"role": "manager"}]


async def test_each_line_that_cannot_be_imported_is_named_and_nothing_is_stored(
    course: Course, database: Database
) -> None:
    await make_user(database, "disabled", status="delete")
    answer = await course.import_rows(
        course.root,
        [
            {"username": "ada"},
            {"username": "a b"},
            {"username": "ada"},
            {"username": "berta", "role": "boss"},
            {"username": "disabled"},
            {"username": "carl", "email": "nowhere", "password": "short"},
            {"username": "nul\x00"},
        ],
    )
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["code"] == "roster_refused"
    named = [(error["line"], error["field"]) for error in problem["errors"]]
    assert named == [
        (3, "username"),
        (4, "username"),
        (5, "role"),
        (6, "username"),
        (7, "email"),
        (7, "password"),
        (8, "username"),
    ]
    assert problem["errors"][1]["reason"] == "stands in line 2 already"
    assert await course.members() == {"head": "admin"}
    assert (await course.root.get("/users", params={"q": "ada"})).json()["total"] == 0


async def test_a_group_admin_adds_existing_users_alone(course: Course, database: Database) -> None:
    u_id = await make_user(database, "ada", full_name="Ada")
    rows = [{"username": "ada", "full_name": "Somebody Else", "role": "manager"}, {"username": "head"}]
    done = (await course.import_rows(course.head, rows)).json()
    assert (done["added_members"], done["updated_users"]) == ([{"username": "ada", "role": "manager"}], [])
    assert (await course.root.get(f"/users/{u_id}")).json()["full_name"] == "Ada"
    refused = await course.import_rows(
        course.head,
        [{"username": "new-one"}, {"username": "ada", "role": "admin"}, {"username": "head", "role": "user"}],
    )
    assert refused.status_code == 400
    assert [(error["line"], error["field"]) for error in refused.json()["errors"]] == [
        (2, "username"),
        (3, "role"),
        (4, "role"),
    ]


async def test_only_admins_of_the_group_import(course: Course, database: Database) -> None:
    teacher_id = await make_user(database, "teacher")
    await make_member(database, teacher_id, course.g_id, "manager")
    teacher = course.instance.client(await make_token(database, teacher_id))
    outsider = course.instance.client(await make_token(database, await make_user(database, "outsider")))
    rows = [{"username": "outsider"}]
    assert (await course.import_rows(teacher, rows)).status_code == 403
    assert (await course.import_rows(outsider, rows)).status_code == 404
    course.g_id = "super_group"
    assert (await course.import_rows(course.root, rows)).status_code == 403


async def test_a_token_without_users_write_makes_no_accounts(course: Course, database: Database) -> None:
    client = course.instance.client(await make_token(database, course.root_id, kind="api", scopes="groups:write"))
    assert (await course.import_rows(client, [{"username": "head"}])).status_code == 200
    refused = await course.import_rows(client, [{"username": "ada"}])
    assert refused.status_code == 403
    assert refused.json()["scope"] == "users:write"


async def test_two_imports_of_one_roster_at_once_make_each_account_once(course: Course) -> None:
    rows = [{"username": f"student-{number}"} for number in range(40)]
    answers = await asyncio.gather(*(course.import_rows(course.root, rows) for _ in range(3)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    made = [name for answer in answers if answer.status_code == 200 for name in answer.json()["created_users"]]
    assert sorted(made) == sorted(row["username"] for row in rows)
    assert len(await course.members()) == 41


@pytest.mark.conformance("Q-06")
async def test_a_large_roster_runs_as_many_statements_as_a_small_one(course: Course, database: Database) -> None:
    actor = Actor(user_id=course.root_id, username="root", is_super_admin=True)
    statements = []
    for size in (2, 700):
        rows = [RosterRow(line=n, username=f"of-{size}-{n}") for n in range(size)]
        async with database.read() as tx:
            plan = await roster.plan_roster(tx, actor, course.g_id, rows)
        made = await roster.make_passwords(plan)
        async with database.write() as tx:
            result = await roster.import_roster(tx, actor, course.g_id, rows, made)
            statements.append(tx.statements_run)
        assert len(result.created_users) == len(result.first_passwords) == size
    assert statements[0] == statements[1] <= 8


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rows": "all"},
        {"rows": [{"username": "ada"}]},
        {"rows": [{"line": 1, "username": "ada", "shoe_size": 38}]},
        {"rows": [{"line": 1, "username": f"u{n}"} for n in range(5001)]},
    ],
)
async def test_a_malformed_roster_is_refused(course: Course, body: dict[str, Any]) -> None:
    assert (await course.root.post(f"/groups/{course.g_id}/roster", json=body)).status_code == 400
