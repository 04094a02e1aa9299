"""Every route that is not a GET: what it changes stands in the audit log, written in the same transaction (X-07)."""

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.app import declared_budgets
from holdfast.db.tables import metadata
from holdfast.features.audit import service as audit
from holdfast.settings import Settings
from tests.factories import make_token
from tests.instance import Instance
from tests.rules.audited_rows import RECORDED, RECORDED_BY_TITLE, UNRECORDED, Recorded
from tests.rules.budget_rows import BUDGET_ROWS
from tests.rules.permission_rows import Row
from tests.rules.permission_world import Ids, World

_READS = {"GET", "HEAD", "OPTIONS"}
_ADDRESS = "127.0.0.1"
_CHANGING = [row for row in BUDGET_ROWS if row.method not in _READS]
# The rows of each table, as text, for comparing.
Content = dict[str, Counter[str]]


class Entry(msgspec.Struct, frozen=True):
    """What a row of the audit log says of who did what to what."""

    user_id: str
    action: str
    resource_type: str
    resource_id: str
    ip_address: str | None


class Call(msgspec.Struct, frozen=True):
    """A request to be sent, and what it is about."""

    row: Row
    ids: Ids
    path: str
    body: dict[str, Any] | None
    token: str | None
    deletion: dict[str, str]


def table_faults(routes: set[str], listed: set[str], called: set[str]) -> list[str]:
    """A sentence for each route that the table misses, or names though there is none, or that nothing calls."""
    where = "tests/rules/audited_rows.py"
    return [
        *(
            f"add {route} to RECORDED in {where}: which entry of the audit log a successful call leaves;"
            " or to UNRECORDED, with the reason why it leaves none"
            for route in sorted(routes - listed)
        ),
        *(f"{where} names {route}, which there is not" for route in sorted(listed - routes)),
        *(
            f"add a row to tests/rules/permission_rows.py by which a super administrator can call {route}"
            for route in sorted(routes & listed - called)
        ),
    ]


def entry_faults(title: str, wanted: Entry, found: list[Entry]) -> list[str]:
    """A sentence for what is missing in the audit log after a successful call, or wrong; * fits any letters."""
    about = f"{wanted.action} {wanted.resource_type} {wanted.resource_id}"
    if not found:
        return [f"{title} wrote nothing to the audit log: record {about} in its transaction (audit.record)"]
    sentences = []
    if not any(fnmatchcase(f"{each.action} {each.resource_type} {each.resource_id}", about) for each in found):
        told = "; ".join(f"{each.action} {each.resource_type} {each.resource_id}" for each in found)
        sentences.append(f"{title} must record {about}, and recorded {told}")
    for each in found:
        if each.user_id != wanted.user_id:
            sentences.append(f"{title}: the entry about {each.resource_type} names another actor than who asked")
        if each.ip_address != wanted.ip_address:
            sentences.append(f"{title}: the entry about {each.resource_type} lacks the address of the request")
    return sentences


@pytest.mark.conformance("X-07")
async def test_every_change_is_in_the_audit_log_or_does_not_happen(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await World(instance).fill()
    sentences: list[str] = []
    answered: set[str] = set()
    for row in _CHANGING:
        call = await _prepared(world, row)
        if row.route in UNRECORDED:
            sentences += await _unrecorded_faults(world, call)
            answered.add(row.route)
            continue
        if row.route not in RECORDED:
            continue
        # Once for each route, with the very request that succeeds afterwards.
        kept = [] if row.route in answered else await _faults_without_entry(world, call, monkeypatch)
        if kept:
            sentences += kept
            answered.add(row.route)
            continue
        last = await _last_entry(world)
        answer = await world.call("super", row.method, call.path, json=call.body, token=call.token)
        if answer.status_code >= 400:
            continue
        answered.add(row.route)
        wanted = _wanted(world, call, answer.json() if answer.content else {})
        sentences += entry_faults(row.title, wanted, await _entries_after(world, last))
    routes = {
        route for route in declared_budgets(Settings(data_dir=Path("nowhere"))) if route.split(" ")[0] not in _READS
    }
    sentences += table_faults(routes, RECORDED.keys() | UNRECORDED.keys(), answered)
    assert not sentences, "\n" + "\n".join(sentences)


def test_a_route_without_an_entry_in_the_table_is_told_with_what_to_add() -> None:
    known, new, gone, refused = "POST /a", "PUT /b", "POST /c", "DELETE /d"
    assert table_faults({known}, {known}, {known}) == []
    added, named, uncalled = table_faults({known, new, refused}, {known, gone, refused}, {known})
    assert added == (
        "add PUT /b to RECORDED in tests/rules/audited_rows.py: which entry of the audit log a successful call leaves;"
        " or to UNRECORDED, with the reason why it leaves none"
    )
    assert named == "tests/rules/audited_rows.py names POST /c, which there is not"
    assert uncalled == "add a row to tests/rules/permission_rows.py by which a super administrator can call DELETE /d"


def test_an_entry_that_is_missing_or_wrong_is_told() -> None:
    wanted = Entry("ada", "create", "member", "g1/*", _ADDRESS)
    right = msgspec.structs.replace(wanted, resource_id="g1/u1")
    beside = Entry("ada", "create", "user", "u1", _ADDRESS)
    assert entry_faults("POST /m", wanted, [beside, right]) == []
    assert entry_faults("POST /m", wanted, []) == [
        "POST /m wrote nothing to the audit log: record create member g1/* in its transaction (audit.record)"
    ]
    assert entry_faults("POST /m", wanted, [beside]) == [
        "POST /m must record create member g1/*, and recorded create user u1"
    ]
    assert entry_faults("POST /m", wanted, [msgspec.structs.replace(right, user_id="bob", ip_address=None)]) == [
        "POST /m: the entry about member names another actor than who asked",
        "POST /m: the entry about member lacks the address of the request",
    ]


async def _prepared(world: World, row: Row) -> Call:
    ids = await row.target(world)
    body = row.body(world, ids) if callable(row.body) else row.body
    token = await make_token(world.database, world.id_of("super")) if "fresh_token" in ids else None
    plan = await world.plan(row.planned, ids) if row.planned else ""
    deletion: dict[str, str] = {}
    if "deletion_id" in ids:
        deletion = (await world.call("super", "GET", f"/api/v1/deletions/{ids['deletion_id']}")).json()
    return Call(row, ids, (row.path + row.query).format(**ids, plan=plan), body, token, deletion)


async def _unrecorded_faults(world: World, call: Call) -> list[str]:
    """What a route that records nothing changed all the same, beyond what is said of it."""
    before = await _content(world)
    answer = await world.call("super", call.row.method, call.path, json=call.body, token=call.token)
    assert answer.status_code < 400, f"{call.row.title}: {answer.text}"
    changed = _changed(before, await _content(world)) - UNRECORDED[call.row.route].tables
    return [f"{call.row.title} changed {table}, and records nothing" for table in sorted(changed)]


async def _faults_without_entry(world: World, call: Call, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stays of a change whose entry the database refuses: nothing may, or it was another transaction's."""
    write_row = audit._row
    before = await _content(world)
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_row", lambda actor, entry, clock: write_row(actor, entry, clock) | {"action": None})
        answer = await world.call("super", call.row.method, call.path, json=call.body, token=call.token)
    sentences = [
        f"{call.row.title} changed {table} although its entry in the audit log was refused: write both in one"
        " transaction"
        for table in sorted(_changed(before, await _content(world)))
    ]
    if answer.status_code < 400:
        sentences.append(f"{call.row.title} was answered {answer.status_code} although its entry was refused")
    return sentences


def _wanted(world: World, call: Call, answer: dict[str, Any]) -> Entry:
    recorded: Recorded = RECORDED_BY_TITLE.get(call.row.title) or RECORDED[call.row.route]
    actor = world.id_of(recorded.actor)
    known = {**call.ids, "answer": answer, "deletion": call.deletion, "actor": actor}
    return Entry(
        actor,
        recorded.action,
        recorded.resource_type.format(**known),
        recorded.resource_id.format(**known),
        _ADDRESS,
    )


async def _last_entry(world: World) -> int:
    async with world.database.read() as tx:
        ((last,),) = await tx.fetch_text("SELECT coalesce(max(id), 0) FROM audit_logs")
    return int(last)


async def _entries_after(world: World, last: int) -> list[Entry]:
    columns = ", ".join(Entry.__struct_fields__)
    async with world.database.read() as tx:
        rows = await tx.fetch_text(f"SELECT {columns} FROM audit_logs WHERE id > {last} ORDER BY id")
    return [Entry(*row) for row in rows]


async def _content(world: World) -> Content:
    """Every row of every table."""
    async with world.database.read() as tx:
        return {
            table.name: Counter(map(repr, await tx.fetch_text(f"SELECT * FROM {table.name}")))
            for table in metadata.sorted_tables
        }


def _changed(before: Content, after: Content) -> set[str]:
    return {name for name in before if before[name] != after[name]}
