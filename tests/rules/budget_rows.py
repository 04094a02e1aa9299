"""What the budgets are held against: each row of the permission matrix, and some that meet more at once."""

from collections.abc import Callable
from typing import Any

from tests.factories import PASSWORD, make_rule
from tests.rules import permission_world as make
from tests.rules.grown import grow_beneath
from tests.rules.permission_rows import ROWS, Row
from tests.rules.permission_world import Ids, World

# How a thing that was deleted is made, so that rows can come beneath it before it goes.
_DELETED: dict[make.Maker, tuple[make.Maker, str, str, str]] = {
    make.deleted_group: (make.fresh_group, "super", "/groups/{g_id}", "group"),
    make.deleted_project: (make.project, "super", "/projects/{p_id}", "project"),
    make.deleted_file: (make.config_file, "super", "/config-files/{cf_id}", "config-file"),
    make.deleted_user: (make.member, "super", "/users/{u_id}", "user"),
    make.form_deleted_by_self: (make.form, "self", "/forms/{form_id}", "form"),
}
LongBody = Callable[[World, Ids, int], dict[str, Any]]


def _manifest(number: int) -> str:
    return "---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings-{each}\n" for each in range(number)
    )


def _roster(world: World, ids: Ids, number: int) -> dict[str, Any]:
    names = [world.fresh("student") for _ in range(number)]
    return {"rows": [{"line": line, "username": name, "role": "user"} for line, name in enumerate(names, 2)]}


def _new_file(world: World, ids: Ids, number: int) -> dict[str, Any]:
    return {"filename": f"{world.fresh('file')}.yaml", "content": _manifest(number)}


def _new_content(world: World, ids: Ids, number: int) -> dict[str, Any]:
    return {"content": _manifest(number)}


# Bodies that are as long as there are rows.
LONG_BODIES: dict[str, LongBody] = {
    "POST /api/v1/groups/{g_id}/roster (new accounts)": _roster,
    "POST /api/v1/projects/{p_id}/config-files": _new_file,
    "PUT /api/v1/config-files/{cf_id}": _new_content,
}


async def _user_with_rule(world: World) -> Ids:
    ids = await make.member(world)
    await make_rule(world.database, ids["u_id"], world.p_id)
    return ids | {"heir": world.id_of("admin")}


BUDGET_ROWS = [
    *ROWS,
    Row(
        "DELETE",
        "/api/v1/users/{u_id}",
        "handed over",
        _user_with_rule,
        query="?plan={plan}&hand_over_to={heir}&take_along=true",
        planned="user",
    ),
    Row("DELETE", "/api/v1/projects/{p_id}", "", make.project, query="?plan={plan}", planned="project"),
    Row(
        "POST",
        "/api/v1/sessions",
        "again",
        body=lambda world, ids: {"username": "the-outsider", "password": PASSWORD},
    ),
]


async def make_target(world: World, row: Row, number: int) -> Ids:
    """What a row is called on, with so many rows beneath it; what is deleted takes them with it."""
    if row.target not in _DELETED:
        ids = await row.target(world)
        await grow_beneath(world, ids, number)
        return ids
    maker, role, path, noun = _DELETED[row.target]
    ids = await maker(world)
    await grow_beneath(world, ids, number)
    return ids | await world.delete(role, path, noun, ids)
