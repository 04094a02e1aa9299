"""Forms over HTTP (conformance O-01 to O-03, X-03, Q-04)."""

from collections.abc import AsyncIterator

import pytest

from holdfast.db.engines.base import Database
from tests.db.rows import fetch
from tests.factories import make_form, make_group, make_member, make_message, make_project, make_token, make_user
from tests.instance import Instance


class Course:
    """A group with a project, a teacher (manager), a student (user) and an outsider, each with a token."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    async def fill(self) -> "Course":
        database = self.instance.database
        self.g_id = await make_group(database)
        self.p_id = await make_project(database, self.g_id)
        self.student_id = await make_user(database, "student")
        self.teacher_id = await make_user(database, "teacher")
        self.outsider_id = await make_user(database, "outsider")
        await make_member(database, self.student_id, self.g_id, "user")
        await make_member(database, self.teacher_id, self.g_id, "manager")
        self.student = self.instance.client(await make_token(database, self.student_id))
        self.teacher = self.instance.client(await make_token(database, self.teacher_id))
        self.outsider = self.instance.client(await make_token(database, self.outsider_id))
        return self


@pytest.fixture
async def course(instance: Instance) -> Course:
    return await Course(instance).fill()


@pytest.mark.conformance("O-01", "X-03")
async def test_a_form_is_opened_with_its_first_message(course: Course) -> None:
    answer = await course.student.post(
        "/forms", json={"title": "GPU is slow", "project_id": course.p_id, "tag": "gpu", "message": "Since Monday"}
    )
    assert answer.status_code == 201, answer.text
    form = answer.json()
    assert form["status"] == "Pending"
    read = await course.teacher.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert read.json() == form
    assert [message["content"] for message in form["messages"]] == ["Since Monday"]
    assert read.headers["ETag"] == answer.headers["ETag"]


@pytest.fixture
async def refused_messages(database: Database) -> AsyncIterator[None]:
    """A database that takes no message."""
    refusal = {
        "sqlite": "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        "postgresql": "EXECUTE FUNCTION refuse_messages()",
        "mariadb": "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'",
    }
    on_postgresql = database.dialect_name == "postgresql"
    async with database.write() as tx:
        if on_postgresql:
            await tx.fetch_text(
                "CREATE FUNCTION refuse_messages() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$"
            )
        await tx.fetch_text(
            "CREATE TRIGGER refuse_messages BEFORE INSERT ON form_messages"
            f" FOR EACH ROW {refusal[database.dialect_name]}"
        )
    yield
    async with database.write() as tx:
        await tx.fetch_text(f"DROP TRIGGER refuse_messages{' ON form_messages' if on_postgresql else ''}")
        if on_postgresql:
            await tx.fetch_text("DROP FUNCTION refuse_messages()")


@pytest.mark.conformance("X-03")
@pytest.mark.usefixtures("refused_messages")
async def test_no_form_is_left_where_its_first_message_fails(course: Course, database: Database) -> None:
    answer = await course.student.post(
        "/forms", json={"title": "GPU is slow", "project_id": course.p_id, "message": "Since Monday"}
    )
    assert answer.status_code >= 400
    for table in ("forms", "form_messages", "audit_logs"):
        assert await fetch(database, f"SELECT count(*) FROM {table}") == [(0,)], table
    # It was the message alone that was refused.
    answer = await course.student.post("/forms", json={"title": "GPU is slow", "project_id": course.p_id})
    assert answer.status_code == 201, answer.text


@pytest.mark.conformance("O-01")
async def test_an_outsider_cannot_open_a_form_in_a_project(course: Course) -> None:
    answer = await course.outsider.post("/forms", json={"title": "Let me in", "project_id": course.p_id})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "project_not_found"


@pytest.mark.conformance("O-02")
async def test_each_sees_the_forms_of_their_scope(course: Course, database: Database) -> None:
    own = await make_form(database, course.student_id, course.p_id)
    other = await make_form(database, course.teacher_id)
    foreign = await make_form(database, course.outsider_id)

    async def seen(client: object) -> set[str]:
        answer = await client.get("/forms")  # type: ignore[attr-defined]
        return {form["id"] for form in answer.json()["items"]}

    assert await seen(course.student) == {own}
    assert await seen(course.teacher) == {own, other}
    assert await seen(course.outsider) == {foreign}
    assert (await course.student.get(f"/forms/{foreign}")).status_code == 404


@pytest.mark.conformance("O-02")
async def test_only_staff_change_the_status(course: Course, database: Database) -> None:
    form_id = await make_form(database, course.student_id, course.p_id)
    refused = await course.student.patch(f"/forms/{form_id}", json={"status": "Completed"})
    assert refused.status_code == 403
    done = await course.teacher.patch(f"/forms/{form_id}", json={"status": "Completed"})
    assert done.json()["status"] == "Completed"
    assert done.json()["updated_at"] > done.json()["created_at"]
    wrong = await course.teacher.patch(f"/forms/{form_id}", json={"status": "Lost"})
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "status"


@pytest.mark.conformance("O-03")
async def test_a_closed_form_takes_no_message_until_it_is_reopened(course: Course, database: Database) -> None:
    form_id = await make_form(database, course.student_id, course.p_id, status="Rejected")
    refused = await course.student.post(f"/forms/{form_id}/messages", json={"content": "Why?"})
    assert refused.status_code == 409
    await course.teacher.patch(f"/forms/{form_id}", json={"status": "Processing"})
    assert (await course.student.post(f"/forms/{form_id}/messages", json={"content": "Why?"})).status_code == 201
    listed = (await course.teacher.get(f"/forms/{form_id}/messages")).json()
    assert [(each["username"], each["content"]) for each in listed["items"]] == [("student", "Why?")]
    assert listed["total"] == 1
    one = await course.student.get(f"/forms/{form_id}/messages/{listed['items'][0]['id']}")
    assert one.json() == listed["items"][0]
    assert (await course.outsider.get(f"/forms/{form_id}/messages/{one.json()['id']}")).status_code == 404


async def test_a_stale_version_is_refused(course: Course, database: Database) -> None:
    form_id = await make_form(database, course.student_id, course.p_id)
    etag = (await course.teacher.get(f"/forms/{form_id}")).headers["ETag"]
    first = await course.teacher.patch(f"/forms/{form_id}", json={"tag": "a"}, headers={"If-Match": etag})
    assert first.status_code == 200
    second = await course.teacher.patch(f"/forms/{form_id}", json={"tag": "b"}, headers={"If-Match": etag})
    assert second.status_code == 412
    assert (await course.teacher.get(f"/forms/{form_id}")).json()["tag"] == "a"


async def test_a_repeated_post_with_one_key_makes_one_form(course: Course) -> None:
    headers = {"Idempotency-Key": "6f1c"}
    first = await course.student.post("/forms", json={"title": "Once"}, headers=headers)
    again = await course.student.post("/forms", json={"title": "Once"}, headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert (await course.student.get("/forms")).json()["total"] == 1
    other = await course.student.post("/forms", json={"title": "Twice"}, headers=headers)
    assert other.status_code == 409


async def test_cursors_walk_the_whole_list_once(course: Course, database: Database) -> None:
    made = {await make_form(database, course.student_id, title=f"Form {number}") for number in range(7)}
    seen: list[str] = []
    answer = (await course.student.get("/forms", params={"limit": 3})).json()
    while True:
        seen += [form["id"] for form in answer["items"]]
        assert answer["total"] == 7
        if answer["next"] is None:
            break
        answer = (await course.student.get("/forms", params={"limit": 3, "cursor": answer["next"]})).json()
    assert len(seen) == 7
    assert set(seen) == made


@pytest.mark.conformance("Q-04")
async def test_a_list_with_messages_holds_those_of_each_form(course: Course, database: Database) -> None:
    first = await make_form(database, course.student_id)
    second = await make_form(database, course.student_id)
    await make_message(database, first, course.student_id, content="one")
    await make_message(database, second, course.student_id, content="two")
    listed = (await course.student.get("/forms", params={"include": "messages"})).json()
    contents = {form["id"]: [message["content"] for message in form["messages"]] for form in listed["items"]}
    assert contents == {first: ["one"], second: ["two"]}
