"""Deletions of every kind and age, and what a cleanup must leave of them.

Ages are in days before now. A deletion is `verified` when its recovery bundle is said to be; no bundle is written here.
"""

from datetime import timedelta
from typing import Any

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.lifecycle.trash import mark
from holdfast.db.tables import (
    audit_logs,
    config_files,
    container_repositories,
    container_tags,
    course_workloads,
    deletions,
    form_messages,
    forms,
    group_list,
    idempotency_keys,
    image_allow_list,
    image_requests,
    metadata,
    project_list,
    resources,
    tokens,
    user_group,
    users,
)
from holdfast.db.types import Timestamp
from tests.db.rows import fetch, plain_row
from tests.factories import insert_row, insert_rows


async def make_world(database: Database) -> None:
    """Two groups with courses in them, and deletions that lie beside, within and across each other."""
    await _people(database)
    for course, group in (("old-course", "physics"), ("new-course", "physics"), ("other-course", "history")):
        await _course(database, course, group)
    await delete(database, "D-file", "config-file", "old-course-a.yaml", age=60)
    # Across: of ben's rows those in the old course go with it, those in the new one stay deleted.
    await delete(database, "D-across", "user", "ben", age=50, verified=False)
    # Inside: all of it goes with the old course, although it has no bundle of its own.
    await delete(database, "D-inside", "form", "old-course-ada-form", age=45, verified=False)
    await delete(database, "D-course", "project", "old-course", age=40)
    await delete(database, "D-ada", "user", "ada", age=35)
    await delete(database, "D-unverified", "project", "new-course", age=35, verified=False)
    await delete(database, "D-young", "project", "other-course", age=29)
    await delete(database, "D-restored", "user", "eve", age=70, state="restored")


async def delete(
    database: Database,
    deletion_id: str,
    root_type: str,
    root_id: str,
    *,
    age: float,
    verified: bool = True,
    state: str = "deleted",
) -> None:
    """A deletion as it stands so many days later."""
    made = utc_now() - timedelta(days=age)
    counts: dict[str, int] = {}
    if state == "deleted":
        async with database.write() as tx:
            counts = await mark(tx, root_of(root_type, root_id), deletion_id, made)
        assert counts, f"{root_type} {root_id} is not live"
    await insert_row(
        database,
        deletions,
        id=deletion_id,
        root_type=root_type,
        root_id=root_id,
        root_label=root_id,
        actor_id="admin",
        actor_name="admin",
        state=state,
        planned_counts=counts,
        actual_counts=counts,
        set_null_counts={},
        bundle_path="/nowhere" if verified else None,
        bundle_sha256="0" * 64 if verified else None,
        bundle_verified_at=made if verified else None,
        created_at=made,
        updated_at=made,
    )


async def survivors(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row with all that tells it apart, without what the act itself writes and without its times."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table in metadata.sorted_tables:
        if table.name in {"jobs", "audit_archives", "deletions", "audit_logs"}:
            continue
        columns = ", ".join(column.name for column in table.columns if not isinstance(column.type, Timestamp))
        found[table.name] = sorted(map(_plain, await fetch(database, f"SELECT {columns} FROM {table.name}")), key=repr)
    entries = await fetch(
        database, "SELECT user_id, action, resource_type, resource_id FROM audit_logs WHERE actor_name <> 'holdfast'"
    )
    found["audit_logs"] = sorted(map(tuple, entries))
    found["deletions"] = await states(database)
    return found


async def states(database: Database) -> list[tuple[Any, ...]]:
    """Each deletion's state, and with which other it was purged."""
    return sorted(map(tuple, await fetch(database, "SELECT id, state, coalesce(purged_with, '') FROM deletions")))


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    # The engines give true, 1 and text in types of their own.
    return tuple(int(value) if isinstance(value, bool) else value for value in row)


async def _people(database: Database) -> None:
    await insert_rows(
        database,
        users,
        [
            {"u_id": name, "username": name, "password": "x", "email": f"{name}@example.org"}
            for name in ("admin", "ada", "ben", "eve")
        ],
    )
    for group in ("physics", "history"):
        await insert_row(database, group_list, g_id=group, group_name=group)
        for name in ("ada", "ben", "eve"):
            await insert_row(database, user_group, u_id=name, g_id=group, role="user")
    for name in ("ada", "eve"):
        await insert_row(database, tokens, **_row(tokens, id=f"token-{name}", user_id=name, kind="session"))
        await insert_row(
            database, idempotency_keys, **_row(idempotency_keys, user_id=name, idempotency_key="k", status=201)
        )
        for number in range(3):
            await make_entry(database, name, f"{name}-{number}", age=80)


async def make_entry(database: Database, u_id: str, resource_id: str, *, age: float) -> None:
    """An entry of the audit log."""
    await insert_row(
        database,
        audit_logs,
        user_id=u_id,
        actor_name=u_id,
        action="update",
        resource_type="form",
        resource_id=resource_id,
        created_at=utc_now() - timedelta(days=age),
    )


async def _course(database: Database, course: str, group: str) -> None:
    await insert_row(database, project_list, p_id=course, g_id=group, project_name=course)
    for letter in "ab":
        file = f"{course}-{letter}.yaml"
        await insert_row(database, config_files, cf_id=file, project_id=course, filename=file, content="# x")
        for number in range(2):
            name = f"{file[:-5]}-{number}"
            row = _row(resources, r_id=name, cf_id=file, type="pod", name=f"pod/{name}")
            await insert_row(database, resources, **row)
    for name in ("ada", "ben", "eve"):
        form = f"{course}-{name}-form"
        await insert_row(database, forms, id=form, user_id=name, project_id=course, title="A question")
        for author in {"eve", name}:
            row = {"id": f"{course[:8]}-{name}-{author}", "form_id": form, "user_id": author, "content": "Please"}
            await insert_row(database, form_messages, **row)
    await insert_row(database, course_workloads, **_workload(course))
    await _images(database, course)


async def _images(database: Database, course: str) -> None:
    """A request by eve that ada decided, its rule, and a rule for everybody that hangs on the request's pointer."""
    row = _row(
        image_requests,
        id=f"{course}-asked",
        user_id="eve",
        project_id=course,
        status="approved",
        reviewer_id="ada",
        input_image_name="library/nginx",
        input_tag="1",
    )
    await insert_row(database, image_requests, **row)
    repository = f"{course}-repo"
    await insert_row(
        database,
        container_repositories,
        id=repository,
        registry="docker.io",
        name=repository,
        full_name=f"docker.io/library/{repository}",
    )
    await insert_row(database, container_tags, id=f"{course}-tag", repository_id=repository, name="1")
    for rule, project in (("own", course), ("all", None)):
        await insert_row(
            database,
            image_allow_list,
            id=f"{course}-{rule}",
            project_id=project,
            tag_id=f"{course}-tag",
            repository_id=repository,
            request_id=f"{course}-asked",
            created_by="eve",
        )


def _workload(course: str) -> dict[str, Any]:
    return _row(course_workloads, id=f"{course}-run", user_id="eve", project_id=course, k8s_pod_name=f"{course}-pod")


def _row(table: Any, **given: Any) -> dict[str, Any]:
    """The given values, with plain ones that are the same each time for all else that must be given."""
    plain: dict[str, Any] = plain_row(table, **given)
    same: dict[type, Any] = {str: f"of {next(iter(given.values()))}", dict: {"kind": "Pod"}}
    return {name: value if name in given else same.get(type(value), value) for name, value in plain.items()}
