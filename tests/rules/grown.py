"""More rows beneath one thing, so that a count of statements can tell whether it rests on them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id, new_short_id
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
    image_allow_list,
    image_requests,
    project_list,
    resources,
    tokens,
    user_group,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from tests.factories import insert_rows
from tests.rules.permission_world import Ids, World

Grow = Callable[[World, str, int], Awaitable[None]]


async def grow_beneath(world: World, ids: Ids, number: int) -> None:
    """So many more rows of each kind directly beneath each of the things named."""
    shared = {world.g_id, world.p_id, SUPER_GROUP_ID, world.user_admin_id}
    for name, grow in _GROWING.items():
        if name in ids and ids[name] not in shared:
            await grow(world, ids[name], number)


async def grow_course(world: World, number: int) -> None:
    """So many more rows in what all share, for the lists: the group, its project, the super administrator's own."""
    await _grow_group(world, world.g_id, number)
    await _grow_project(world, world.p_id, number)
    await _grow_user(world, world.id_of("super"), number)
    await _insert(
        world, group_list, [{"g_id": new_short_id(), "group_name": f"group {each}"} for each in range(number)]
    )


async def _grow_group(world: World, g_id: str, number: int) -> None:
    people = [new_short_id() for _ in range(number)]
    await _insert(world, users, [{"u_id": each, "username": f"student-{each}", "password": "-"} for each in people])
    await _insert(world, user_group, [{"u_id": each, "g_id": g_id, "role": "user"} for each in people])
    projects = [{"p_id": new_short_id(), "g_id": g_id, "project_name": f"project {each}"} for each in range(number)]
    await _insert(world, project_list, projects)
    await _grow_project(world, projects[0]["p_id"], number)


async def _grow_project(world: World, p_id: str, number: int) -> None:
    owner = world.id_of("self")
    files = [
        {"cf_id": new_long_id(), "project_id": p_id, "filename": f"{new_long_id()}.yaml", "content": "# empty"}
        for _ in range(number)
    ]
    await _insert(world, config_files, files)
    await _grow_file(world, str(files[0]["cf_id"]), number)
    await _grow_author(world, owner, number, p_id)


async def _grow_author(world: World, u_id: str, number: int, p_id: str | None = None) -> None:
    """What somebody made, in a project of theirs where it needs one."""
    p_id = p_id or world.p_id
    own: dict[str, Any] = {"user_id": u_id, "project_id": p_id}
    form_ids = [new_long_id() for _ in range(number)]
    await _insert(world, forms, [{"id": each, "title": "A question", **own} for each in form_ids])
    await _grow_form(world, form_ids[0], number)
    await _insert(
        world,
        image_requests,
        [{"id": new_long_id(), "input_image_name": new_long_id(), "input_tag": "1", **own} for _ in range(number)],
    )
    workload = {"name": "training", "namespace": "n", "image": "i", "status": "Succeeded", **own}
    await _insert(
        world,
        course_workloads,
        [{"id": new_long_id(), "k8s_pod_name": new_long_id().lower(), **workload} for _ in range(number)],
    )
    await _add_rules(world, u_id, p_id, number)
    entry = {"user_id": u_id, "action": "create", "resource_type": "form", "g_id": world.g_id}
    await _insert(world, audit_logs, [{"resource_id": new_long_id(), **entry} for _ in range(number)])
    deletion = {"root_type": "form", "actor_id": u_id, "actor_name": "somebody", "planned_counts": {}}
    await _insert(
        world, deletions, [{"id": new_long_id(), "root_id": new_long_id(), **deletion} for _ in range(number)]
    )


async def _grow_user(world: World, u_id: str, number: int) -> None:
    groups = [new_short_id() for _ in range(number)]
    await _insert(world, group_list, [{"g_id": each, "group_name": f"group {each}"} for each in groups])
    await _insert(world, user_group, [{"u_id": u_id, "g_id": each, "role": "user"} for each in groups])
    token = {"user_id": u_id, "kind": "api", "name": "a token", "scopes": "*:read"}
    rows = [{"id": new_long_id(), "token_hash": new_long_id(), **token} for _ in range(number)]
    await _insert(world, tokens, [row | {"expires_at": utc_now() + timedelta(days=1)} for row in rows])
    await _grow_author(world, u_id, number)


async def _grow_file(world: World, cf_id: str, number: int) -> None:
    rows = [{"r_id": new_long_id(), "cf_id": cf_id, "type": "pod", "parsed_yaml": {}} for _ in range(number)]
    await _insert(world, resources, [row | {"name": f"pod/{row['r_id']}"} for row in rows])


async def _grow_form(world: World, form_id: str, number: int) -> None:
    message = {"form_id": form_id, "user_id": world.id_of("self"), "content": "An answer"}
    await _insert(world, form_messages, [{"id": new_long_id(), **message} for _ in range(number)])


async def _add_rules(world: World, u_id: str, p_id: str, number: int) -> None:
    ids = [new_long_id() for _ in range(number)]
    await _insert(
        world,
        container_repositories,
        [{"id": each, "name": each, "full_name": f"docker.io/library/{each}"} for each in ids],
    )
    # Enabled ones would be a decision for whoever deletes their maker.
    rule = {"project_id": p_id, "created_by": u_id, "is_enabled": False}
    await _insert(world, image_allow_list, [{"id": new_long_id(), "repository_id": each, **rule} for each in ids])


async def _grow_repository(world: World, repository_id: str, number: int) -> None:
    tags = [{"id": new_long_id(), "repository_id": repository_id, "name": f"0.{each}"} for each in range(number)]
    await _insert(world, container_tags, tags)
    rule = {"repository_id": repository_id, "created_by": world.id_of("super"), "project_id": world.p_id}
    await _insert(world, image_allow_list, [{"id": new_long_id(), "tag_id": tag["id"], **rule} for tag in tags])


async def _insert(world: World, table: Any, rows: list[dict[str, Any]]) -> None:
    await insert_rows(world.database, table, rows)


_GROWING: dict[str, Grow] = {
    "g_id": _grow_group,
    "p_id": _grow_project,
    "u_id": _grow_user,
    "cf_id": _grow_file,
    "form_id": _grow_form,
    "repository_id": _grow_repository,
}
