"""Callers at the same moment, on real connections: what each is told must be what is then there.

Every round makes rows of its own, so that a race that shows once in many times has many chances.
"""

import asyncio

import pytest

from holdfast.db.lifecycle.bundle_file import BundleReader
from holdfast.db.lifecycle.purge_removal import count_pointers
from holdfast.db.lifecycle.recover import Recovery, RecoveryRefusedError
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch
from tests.instance import Instance
from tests.lifecycle.crowd import Crowd, Place
from tests.lifecycle.model import PRIMARY_KEYS, RowId, Values
from tests.lifecycle.world import count_audit_rows, dump_rows

pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mariadb"], scope="session", indirect=True)

ROUNDS = 6
# On PostgreSQL those who lock a row together can keep one waiting who wants it alone: some time they must end.
_MOST_WRITES = 40
# On MariaDB one who looks a repository up by its name can meet its deletion in a deadlock, and these do nothing else.
_MOST_RULES = 6
# What a writer is told who comes too late: the place is gone, or they are.
_TOO_LATE = {401, 404}
_WRITTEN_BENEATH = {
    "group": "project_list user_group config_files forms form_messages course_workloads",
    "project": "config_files resources forms form_messages image_requests image_allow_list course_workloads",
    "user": "forms form_messages image_requests image_allow_list course_workloads tokens",
    "form": "form_messages form_messages form_messages",
    "config-file": "resources resources",
    "repository": "container_tags container_tags container_tags",
}
_OVERLAPS = [
    ("group", "project"),
    ("group", "user"),
    ("group", "member"),
    ("group", "config-file"),
    ("project", "project"),
    ("project", "user"),
    ("project", "form"),
    ("user", "user"),
    ("user", "form"),
    ("repository", "tag"),
    ("repository", "user"),
]


@pytest.fixture
async def crowd(instance: Instance) -> Crowd:
    return await Crowd(instance).gather()


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("root_type", _WRITTEN_BENEATH)
async def test_what_is_written_beneath_while_it_is_deleted_goes_with_it_or_is_refused(
    crowd: Crowd, root_type: str
) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        begun = asyncio.Event()
        writing = [_write_until_too_late(place, table, begun) for table in _WRITTEN_BENEATH[root_type].split()]
        marking = asyncio.create_task(_mark_once_begun(crowd, place, root_type, begun))
        made = await asyncio.gather(*writing)
        deletion_id, counts = await marking
        assert await crowd.counts_of([deletion_id]) == {deletion_id: counts}
        written = [row for rows in made for row in rows]
        assert written
        for table, key in written:
            assert await crowd.is_there(table, key), f"{table} {key} was written and is lost"
    assert await find_inconsistencies(crowd.database) == []


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("root_type", _WRITTEN_BENEATH)
async def test_what_is_written_beside_a_deletion_by_its_plan_goes_with_it_or_is_refused(
    crowd: Crowd, root_type: str
) -> None:
    tables = set(_WRITTEN_BENEATH[root_type].split())
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        deleting = asyncio.create_task(crowd.delete(place, root_type))
        made = await asyncio.gather(*(_write_until_too_late(place, table, asyncio.Event(), 2) for table in tables))
        deleted = await deleting
        assert deleted.status_code == 200, deleted.text
        deletion = deleted.json()
        assert await crowd.counts_of([deletion["deletion_id"]]) == {deletion["deletion_id"]: deletion["counts"]}
        for table, key in (row for rows in made for row in rows):
            assert await crowd.is_there(table, key), f"{table} {key} was written and is lost"
    assert await find_inconsistencies(crowd.database) == []


@pytest.mark.conformance("X-06")
async def test_a_user_admitted_to_groups_while_being_deleted_leaves_no_live_membership(crowd: Crowd) -> None:
    async def admit_until_too_late(place: Place, begun: asyncio.Event) -> int:
        for admitted in range(_MOST_WRITES):
            if not await crowd.admit(place):
                return admitted
            begun.set()
        return _MOST_WRITES

    for _ in range(ROUNDS):
        place, begun = await crowd.make_place(), asyncio.Event()
        marking = asyncio.create_task(_mark_once_begun(crowd, place, "user", begun))
        admitted = await asyncio.gather(*(admit_until_too_late(place, begun) for _ in range(3)))
        deletion_id, counts = await marking
        assert await crowd.counts_of([deletion_id]) == {deletion_id: counts}
        # Two are the place's own.
        assert counts["user_group"] == 2 + sum(admitted)
    assert await find_inconsistencies(crowd.database) == []


@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("root_type", ["repository", "tag"])
async def test_no_rule_or_status_stays_beneath_an_image_that_is_allowed_while_it_is_deleted(
    crowd: Crowd, root_type: str
) -> None:
    async def allow_again_and_again(place: Place, tag: str | None, begun: asyncio.Event) -> None:
        for _ in range(_MOST_RULES):
            rule_id = await crowd.allow(place, tag)
            begun.set()
            if rule_id is not None:
                await crowd.forbid(rule_id)

    for _ in range(ROUNDS):
        place, begun = await crowd.make_place(), asyncio.Event()
        marking = asyncio.create_task(_mark_once_begun(crowd, place, root_type, begun))
        await asyncio.gather(*(allow_again_and_again(place, tag, begun) for tag in ("1.0", "2.0", None)))
        deletion_id, counts = await marking
        assert await crowd.counts_of([deletion_id]) == {deletion_id: counts}
        assert counts["container_tags"] >= 1
    assert await find_inconsistencies(crowd.database) == []


@pytest.mark.parametrize(("one", "other"), _OVERLAPS)
async def test_each_row_of_two_overlapping_deletions_goes_with_exactly_one(crowd: Crowd, one: str, other: str) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        answers = await asyncio.gather(crowd.delete(place, one), crowd.delete(place, other))
        for answer in answers:
            assert answer.status_code in {200, 404}, answer.text
        done = {
            answer.json()["deletion_id"]: answer.json()["counts"] for answer in answers if answer.status_code == 200
        }
        assert done
        assert one != other or len(done) == 1
        assert await crowd.counts_of(done) == done
    assert await find_inconsistencies(crowd.database) == []


@pytest.mark.parametrize(
    ("deleted_first", "then"), [("form", "project"), ("project", "group"), ("member", "user"), ("tag", "repository")]
)
async def test_nothing_comes_back_beneath_what_is_deleted_at_that_moment(
    crowd: Crowd, deleted_first: str, then: str
) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        first = (await crowd.delete(place, deleted_first)).json()
        restored, deleted = await asyncio.gather(
            crowd.root.post(f"/deletions/{first['deletion_id']}/restore", json={}), crowd.delete(place, then)
        )
        assert restored.status_code in {200, 409}, restored.text
        assert deleted.status_code == 200, deleted.text
        second = deleted.json()
        left = {} if restored.status_code == 200 else first["counts"]
        assert await crowd.counts_of([first["deletion_id"], second["deletion_id"]]) == {
            first["deletion_id"]: left,
            second["deletion_id"]: second["counts"],
        }
    assert await find_inconsistencies(crowd.database) == []


async def test_of_two_restores_at_once_one_does_it_and_the_other_nothing(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        deletion = (await crowd.delete(await crowd.make_place(), "group")).json()
        path = f"/deletions/{deletion['deletion_id']}/restore"
        answers = await asyncio.gather(*(crowd.root.post(path, json={}) for _ in range(3)))
        assert [answer.status_code for answer in answers] == [200] * 3, answers
        effects = [answer.json()["counts"] for answer in answers]
        assert sorted(effects, key=len) == [{}, {}, deletion["counts"]]
        ((audited,),) = await fetch(
            crowd.database,
            f"SELECT count(*) FROM audit_logs WHERE action = 'restore' AND new_data LIKE '%{deletion['deletion_id']}%'"
            if crowd.database.dialect_name == "mariadb"
            else "SELECT count(*) FROM audit_logs WHERE action = 'restore'"
            f" AND new_data::text LIKE '%{deletion['deletion_id']}%'",
        )
        assert audited == 1
    assert await find_inconsistencies(crowd.database) == []


async def test_a_row_cannot_take_the_name_that_comes_back_at_that_moment(crowd: Crowd) -> None:
    for number in range(ROUNDS):
        place = await crowd.make_place()
        deletion = (await crowd.delete(place, "config-file")).json()
        body = {"filename": "web.yaml", "content": place.writing("config_files")[2]["content"]}
        restored, made = await asyncio.gather(
            crowd.root.post(f"/deletions/{deletion['deletion_id']}/restore", json={}),
            place.client.post(f"/projects/{place.p_id}/config-files", json=body),
        )
        assert sorted([restored.status_code, made.status_code]) in ([200, 409], [201, 409]), (number, restored, made)
    assert await find_inconsistencies(crowd.database) == []


async def test_a_restored_workload_and_a_new_one_cannot_pass_the_quota_together(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        await crowd.root.patch(f"/projects/{place.p_id}", json={"gpu_quota": 1})
        asking = {"project_id": place.p_id, "name": "one", "image": "nginx:1", "resource_gpu": 1}
        first = (await place.client.post("/workloads", json=asking)).json()
        deleted = await crowd.root.delete(f"/workloads/{first['id']}", params={"take_along": "true"})
        assert deleted.status_code == 200, deleted.text
        restored, made = await asyncio.gather(
            crowd.root.post(f"/deletions/{deleted.json()['deletion_id']}/restore", json={}),
            place.client.post("/workloads", json=asking),
        )
        assert sorted([restored.status_code, made.status_code]) in ([200, 409], [201, 409]), (restored.text, made.text)


async def test_a_restore_and_a_purge_at_once_have_one_effect(crowd: Crowd) -> None:
    for number in range(ROUNDS):
        place = await crowd.make_place()
        deletion = (await crowd.delete(place, "group")).json()
        deletion_id, counts = deletion["deletion_id"], deletion["counts"]
        restoring = crowd.root.post(f"/deletions/{deletion_id}/restore", json={})
        purging = crowd.purge(deletion_id)
        # Whoever comes first in the list begins first.
        if number % 2:
            purged, restored = await asyncio.gather(purging, restoring)
        else:
            restored, purged = await asyncio.gather(restoring, purging)
        assert await crowd.counts_of([deletion_id]) == {deletion_id: {}}
        if restored.status_code == 200:
            assert (await crowd.state_of(deletion_id), restored.json()["counts"], purged) == ("restored", counts, 0)
        else:
            assert restored.status_code == 409, restored.text
            assert (await crowd.state_of(deletion_id), purged) == ("purged", sum(counts.values()))
        assert await crowd.is_there("project_list", place.p_id) == (restored.status_code == 200)
    assert await find_inconsistencies(crowd.database) == []


async def test_of_three_purges_at_once_one_does_it(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        deletion = (await crowd.delete(await crowd.make_place(), "project")).json()
        removed = await asyncio.gather(*(crowd.purge(deletion["deletion_id"]) for _ in range(3)))
        assert sorted(removed) == [0, 0, sum(deletion["counts"].values())]
    assert await find_inconsistencies(crowd.database) == []


async def test_purges_that_overlap_lose_nothing(crowd: Crowd) -> None:
    """Rows of each hang on rows of the other; what both took comes back."""
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        before = await dump_rows(crowd.database)
        ids = [(await crowd.delete(place, root_type)).json()["deletion_id"] for root_type in ("form", "user", "group")]
        await asyncio.gather(*(crowd.purge(each) for each in ids))
        states = {await crowd.state_of(each) for each in ids}
        assert states == {"purged"}, await fetch(crowd.database, "SELECT id, state, failure FROM deletions")
        assert await find_inconsistencies(crowd.database) == []
        await crowd.bring_back(ids)
        assert _lasting(await dump_rows(crowd.database)) == _lasting(before)


async def test_a_purge_that_ends_while_another_makes_its_bundle_is_noticed(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await crowd.make_place()
    before = await dump_rows(crowd.database)
    first, second = [(await crowd.delete(place, each)).json()["deletion_id"] for each in ("user", "group")]

    async def overtaken(reader: BundleReader) -> dict[str, int]:
        # The bundle of the second stands, its removal has not begun; the first goes before it, and takes rows of both.
        monkeypatch.undo()
        await crowd.purge(first)
        return await count_pointers(reader)

    monkeypatch.setattr("holdfast.db.lifecycle.purge.count_pointers", overtaken)
    await crowd.purge(second)
    assert {await crowd.state_of(each) for each in (first, second)} == {"purged"}
    assert await find_inconsistencies(crowd.database) == []
    await crowd.bring_back([first, second])
    assert _lasting(await dump_rows(crowd.database)) == _lasting(before)


async def test_nothing_is_recovered_beneath_what_is_deleted_at_that_moment(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        deletion_id = (await crowd.delete(place, "project")).json()["deletion_id"]
        await crowd.purge(deletion_id)
        recovered, deleted = await asyncio.gather(
            crowd.world.recover(deletion_id), crowd.delete(place, "group"), return_exceptions=True
        )
        assert isinstance(recovered, Recovery | RecoveryRefusedError), recovered
        assert not isinstance(deleted, BaseException)
        assert deleted.status_code == 200
        assert await find_inconsistencies(crowd.database) == []


async def test_of_two_recoveries_at_once_each_row_comes_back_once(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        before = await dump_rows(crowd.database)
        audited = await count_audit_rows(crowd.database)
        deletion_id = (await crowd.delete(place, "user")).json()["deletion_id"]
        await crowd.purge(deletion_id)
        outcomes = await asyncio.gather(*(crowd.world.recover(deletion_id) for _ in range(2)), return_exceptions=True)
        assert any(isinstance(outcome, Recovery) for outcome in outcomes), outcomes
        assert await crowd.state_of(deletion_id) == "restored"
        assert _lasting(await dump_rows(crowd.database)) == _lasting(before)
        assert (await count_audit_rows(crowd.database)).get(place.u_id) == audited.get(place.u_id)


async def test_who_joins_again_while_the_old_membership_is_purged_is_in_or_refused(crowd: Crowd) -> None:
    for _ in range(ROUNDS):
        place = await crowd.make_place()
        deletion_id = (await crowd.delete(place, "member")).json()["deletion_id"]
        joined, _ = await asyncio.gather(
            crowd.root.post(f"/groups/{place.g_id}/members", json={"u_id": place.u_id}), crowd.purge(deletion_id)
        )
        assert joined.status_code in {201, 409}, joined.text
        members = (await crowd.root.get(f"/groups/{place.g_id}/members")).json()["items"]
        assert [each["u_id"] for each in members] == ([place.u_id] if joined.status_code == 201 else [])


async def _mark_once_begun(
    crowd: Crowd, place: Place, root_type: str, begun: asyncio.Event
) -> tuple[str, dict[str, int]]:
    await begun.wait()
    return await crowd.mark_at_once(place, root_type)


async def _write_until_too_late(
    place: Place, table: str, begun: asyncio.Event, most: int = _MOST_WRITES
) -> list[tuple[str, str]]:
    """Make rows until the place, or the writer, is gone; tables and ids of what was made."""
    written: list[tuple[str, str]] = []
    for _ in range(most):
        method, path, body = place.writing(table)
        answer = await place.client.request(method, path, json=body)
        if answer.status_code in _TOO_LATE:
            return written
        if table == "user_group" and answer.status_code == 409:
            assert answer.json()["code"] == "already_member"
            continue
        assert answer.status_code in {200, 201}, answer.text
        made = answer.json()
        written.append((table, made["resources"][0]["r_id"] if table == "resources" else made[PRIMARY_KEYS[table][0]]))
        begun.set()
    return written


def _lasting(rows: dict[RowId, Values]) -> dict[RowId, Values]:
    """Without what a deletion changes for good: sessions end, and emptied pointers raise a row's version."""
    changed = {"updated_at", "revoked_at"}
    return {row: {name: value for name, value in values.items() if name not in changed} for row, values in rows.items()}
