"""Every route called as every role, against a file that a person has reviewed (P-04, target R5)."""

from pathlib import Path

import pytest

from holdfast.app import describe_api
from holdfast.settings import Settings
from tests.api.cast import count_rows
from tests.factories import make_token
from tests.instance import Instance
from tests.rules.golden import assert_golden
from tests.rules.listed_rows import LISTS, fill_lists
from tests.rules.permission_rows import ROWS, Row
from tests.rules.permission_world import ROLES, Ids, World

_HEAD = """\
Who may do what: the status with which each route answers each role, as tests/rules/test_permissions.py calls it.

public     without a token
outsider   signed in, in no group
elsewhere  admin of another group
user, manager, admin   that role in the group that owns the thing
super      super administrator
self       a plain member: the user it is about, or who opened, filed, asked for or owns it; . where there is none

200, 201, 202, 204 done | 401 sign in | 403 you see it, but may not | 404 you may not know of it
428 you may delete it, but must look at the plan first and send its token: {plan} is that
400 a roster's lines that name new accounts are refused one by one, with their numbers
"""
_LISTS_HEAD = """\
Which rows each list shows each role: by the first letter of the row's name, - for none. Of every kind there is one row
in physics (p), the group of the roles above, and one in chemistry (c), the group of `elsewhere`; of some one of a plain
member in no project (f), one of the outsider (o), one of nobody (n) or for all (g), and the group super (S). Users
stand by the letter of their role; S is the super administrator, A is user admin.
"""
_WIDTH = 72


@pytest.mark.conformance("P-04")
async def test_every_route_answers_each_role_as_reviewed(instance: Instance) -> None:
    world = await World(instance).fill()
    lines = [_line("", list(ROLES))]
    for row in ROWS:
        cells = [await _cell(world, row, role) for role in ROLES]
        lines.append(_line(row.title, cells))
    assert_golden("permissions.txt", _HEAD + "\n" + "\n".join(lines) + "\n")


@pytest.mark.conformance("P-04", "A-07", "R-02", "U-01")
async def test_every_list_shows_each_role_the_rows_that_were_reviewed(instance: Instance) -> None:
    world = await World(instance).fill()
    ids = await fill_lists(world)
    lines = [_line("", list(ROLES))]
    for listed in LISTS:
        path = f"/api/v1{listed.path.format(**ids)}"
        lines.append(_line(listed.path, [await _letters(world, role, path, listed.field) for role in ROLES]))
    assert_golden("permissions_lists.txt", _LISTS_HEAD + "\n" + "\n".join(lines) + "\n")


@pytest.mark.conformance("P-04")
def test_every_route_has_a_row_in_the_matrix() -> None:
    described = {
        f"{method.upper()} {path}"
        for path, operations in describe_api(Settings(data_dir=Path("nowhere")))["paths"].items()
        for method in operations
        if method in {"get", "post", "put", "patch", "delete"}
    }
    missing = sorted(described - {row.route for row in ROWS})
    assert not missing, f"add a row to tests/rules/permission_rows.py for {', '.join(missing)}"
    unknown = sorted({row.route for row in ROWS} - described - _UNDESCRIBED)
    assert not unknown, f"tests/rules/permission_rows.py names routes that there are not: {', '.join(unknown)}"


_UNDESCRIBED = {"GET /metrics", "GET /api/v1/openapi.json", "GET /api/v1/docs"}


async def _cell(world: World, row: Row, role: str) -> str:
    if role == "self" and not row.has_self:
        return "."
    ids = await row.target(world)
    body = row.body(world, ids) if callable(row.body) else row.body
    token = await _token(world, role, ids)
    # After the token: it is one of the things that go with its user.
    plan = await world.plan(row.planned, ids) if row.planned else ""
    path = (row.path + row.query).format(**ids, plan=plan)
    recorded = await count_rows(world.instance, "audit_logs")
    answer = await world.call(role, row.method, path, json=body, token=token)
    if answer.status_code >= 400 or row.method == "GET":
        assert await count_rows(world.instance, "audit_logs") == recorded, f"{row.title} as {role} changed something"
    if answer.status_code in {400, 409, 422}:
        assert answer.json()["code"] == "roster_refused", f"{row.title} as {role}: {answer.text}"
    return str(answer.status_code)


async def _token(world: World, role: str, ids: Ids) -> str | None:
    """A token for this one call where the role's own would not do."""
    if role == "self" and "self" in ids:
        return await make_token(world.database, ids["self"])
    if "fresh_token" in ids and role != "public":
        return await make_token(world.database, world.id_of(role))
    return None


async def _letters(world: World, role: str, path: str, field: str) -> str:
    """The rows of a list, read in one page and once more row by row: the same, and as many as `total` says."""
    separator = "&" if "?" in path else "?"
    answer = await world.call(role, "GET", f"{path}{separator}limit=100")
    if answer.status_code != 200:
        return str(answer.status_code)
    names = [row[field] for row in answer.json()["items"]]
    assert answer.json()["total"] == len(names), f"{path} tells {role} of rows that they do not see"
    walked: list[str] = []
    following = "limit=1"
    while following:
        page = (await world.call(role, "GET", f"{path}{separator}{following}")).json()
        assert page["total"] == len(names), f"{path} tells {role} of rows that they do not see"
        walked += [row[field] for row in page["items"]]
        following = page["next"] and f"limit=1&cursor={page['next']}"
    assert walked == names
    return "".join(sorted(_letter(name) for name in names)) or "-"


def _letter(name: str) -> str:
    if name in {"admin", "super"}:
        return name[0].upper()
    return name.rsplit("/", 1)[-1].removeprefix("the-")[0]


def _line(title: str, cells: list[str]) -> str:
    return f"{title:{_WIDTH}}{''.join(f'{cell:>10}' for cell in cells)}"


@pytest.mark.conformance("P-04")
async def test_a_cursor_is_good_only_for_who_was_given_it(instance: Instance) -> None:
    world = await World(instance).fill()
    await fill_lists(world)
    given = (await world.call("super", "GET", "/api/v1/forms?limit=1")).json()["next"]
    for role in ROLES:
        answer = await world.call(role, "GET", f"/api/v1/forms?limit=1&cursor={given}")
        assert answer.status_code == {"super": 200, "public": 401}.get(role, 400)
