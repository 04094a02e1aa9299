"""Deletions made for tests of what comes after them, and a small course to delete."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.plan import Root, root_of
from holdfast.db.lifecycle.purge import PurgeStep, purge
from holdfast.db.lifecycle.trash import mark
from holdfast.db.tables import (
    audit_logs,
    cluster_image_status,
    course_workloads,
    deletions,
    idempotency_keys,
    resources,
)
from tests.factories import (
    insert_row,
    make_config_file,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_token,
    make_user,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class Course(msgspec.Struct):
    """A group with a project, a teacher and a student, and everything that hangs on them; and who stays."""

    stays: str
    teacher: str
    student: str
    group: str
    project: str
    other_project: str
    form: str
    messages: list[str]
    config_file: str
    request: str
    rule: str
    outside_request: str
    outside_rule: str


async def make_course(database: Database) -> Course:
    """A row in every table, some of which point across."""
    stays = await make_user(database, "stays")
    teacher, student = await make_user(database, "teacher"), await make_user(database, "student")
    group, other_group = await make_group(database, "physics"), await make_group(database, "chemistry")
    for user, role in ((stays, "admin"), (teacher, "manager"), (student, "user")):
        await make_member(database, user, group, role)
    project, other_project = await make_project(database, group), await make_project(database, other_group)
    form = await make_form(database, student, project, description='»ÄÖÜ« \u2028 \n \\ " and 日本')
    messages = [await make_message(database, form, user) for user in (student, teacher, stays)]
    config_file = await make_config_file(database, project)
    request = await make_image_request(database, student, project, reviewer_id=teacher, status="approved")
    outside_request = await make_image_request(database, stays, other_project, reviewer_id=teacher, status="approved")
    rule = await make_rule(database, teacher, project, request_id=request)
    outside_rule = await make_rule(database, stays, other_project, request_id=request)
    await _make_the_rest(database, student, teacher, project, config_file, rule)
    return Course(
        stays=stays,
        teacher=teacher,
        student=student,
        group=group,
        project=project,
        other_project=other_project,
        form=form,
        messages=messages,
        config_file=config_file,
        request=request,
        rule=rule,
        outside_request=outside_request,
        outside_rule=outside_rule,
    )


async def _make_the_rest(  # noqa: PLR0917 - one row each
    database: Database, student: str, teacher: str, project: str, config_file: str, rule: str
) -> None:
    for name in ("pod/web", "service/web"):
        await insert_row(
            database,
            resources,
            r_id=new_long_id(),
            cf_id=config_file,
            type="Pod",
            name=name,
            parsed_yaml=msgspec.Raw(b'{"big": 12345678901234567890123, "a": 1.50, "b": "\\u00e9"}'),
        )
    await insert_row(
        database,
        course_workloads,
        id=new_long_id(),
        user_id=student,
        project_id=project,
        name="train",
        namespace="physics",
        image="docker.io/library/nginx:1.27",
        k8s_pod_name="train-1",
        resource_gpu=1,
        started_at=NOON,
    )
    ((tag_id,),) = await _fetch(database, f"SELECT tag_id FROM image_allow_list WHERE id = '{rule}'")
    await insert_row(database, cluster_image_status, id=new_long_id(), tag_id=tag_id, is_pulled=True)
    for user in (student, teacher):
        await make_token(database, user)
        for number in range(3):
            await insert_row(
                database,
                audit_logs,
                user_id=user,
                actor_name="somebody",
                action="update",
                resource_type="form",
                resource_id=f"form-{number}",
                new_data={"title": "é"},
                created_at=NOON,
            )
            await insert_row(
                database, idempotency_keys, user_id=user, idempotency_key=f"key {number}", fingerprint="f", status=201
            )


async def delete(database: Database, root: Root | str, id_text: str = "", **values: Any) -> str:
    """Mark the rows of a root and record the deletion; its id."""
    root = root_of(root, id_text) if isinstance(root, str) else root
    deletion_id = new_long_id()
    async with database.write() as tx:
        counts = await mark(tx, root, deletion_id, NOON)
    row = {
        "id": deletion_id,
        "root_type": root.type,
        "root_id": root.id_text,
        "actor_id": "tester",
        "actor_name": "tester",
        "state": "deleted",
        "planned_counts": counts,
        "actual_counts": counts,
        "created_at": NOON,
        "updated_at": NOON,
    }
    await insert_row(database, deletions, **row | values)
    return deletion_id


async def no_witness(tx: Transaction, step: PurgeStep) -> None:
    """Nobody is told."""


async def purge_now(database: Database, deletion_id: str, folder: Path, **options: Any) -> int:
    """Purge a deletion, without an audit log."""
    return await purge(database, deletion_id, folder, **{"witness": no_witness} | options)


async def deletion(database: Database, deletion_id: str) -> dict[str, Any]:
    """The row of a deletion, with its counts read."""
    names = [column.name for column in deletions.columns]
    (row,) = await _fetch(database, f"SELECT {', '.join(names)} FROM deletions WHERE id = '{deletion_id}'")
    found = dict(zip(names, row, strict=True))
    for name in names:
        if name.endswith("_counts") and found[name] is not None:
            found[name] = msgspec.json.decode(found[name])
    return found


async def _fetch(database: Database, sql: str) -> list[tuple[Any, ...]]:
    async with database.read() as tx:
        return await tx.fetch_text(sql)
