"""/groups: make, read and change them, their members, and the roster of a course."""

from typing import Annotated, Literal

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    ApiRequest,
    CursorText,
    Door,
    IncludeDeleted,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    changes_of,
    if_match_of,
    page_of,
    refuse_both,
    settings_of,
    versioned,
)
from holdfast.api.types import Description, Name100, PathId, SearchText, ShortId
from holdfast.core.errors import InvalidInputError
from holdfast.core.pages import Page
from holdfast.core.versions import version_of
from holdfast.features.groups import members, roster
from holdfast.features.groups import service as groups
from holdfast.features.groups.types import Group, Member, RosterResult, RosterRow

_door = Door("groups")

Role = Literal["admin", "manager", "user"]
IncludeMembers = Annotated[
    Literal["members"] | None, QueryParameter(description="Also the members with their roles.", required=False)
]


class CreateGroup(msgspec.Struct, forbid_unknown_fields=True):
    """A new group; the name `super` is taken."""

    group_name: Name100
    description: Description | None = None


class ChangeGroup(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay."""

    group_name: Name100 | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    deletion_protected: bool | UnsetType = UNSET


class AddMember(msgspec.Struct, forbid_unknown_fields=True):
    """A user, by id or by user name, and their role; role `admin` takes a super administrator."""

    u_id: ShortId | None = None
    username: Name100 | None = None
    role: Role = "user"


class ChangeMember(msgspec.Struct, forbid_unknown_fields=True):
    """The new role; giving or taking `admin` takes a super administrator."""

    role: Role


class ImportRoster(msgspec.Struct, forbid_unknown_fields=True):
    """The lines of a roster. With `dry_run` nothing is stored."""

    rows: Annotated[list[RosterRow], msgspec.Meta(max_length=roster.MOST_ROWS)]
    dry_run: bool = False


@get("/", summary="Your groups; all for super administrators")
async def list_groups(
    request: ApiRequest,
    q: SearchText = None,
    include: IncludeMembers = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Group]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    refuse_both(include, include_deleted)
    key = settings_of(request).cursor_key
    listed = groups.list_groups if include is None else groups.list_groups_with_members
    return await _door.read(request, lambda tx, actor: listed(tx, actor, asked, cursor_key=key, q=q))


@post("/", summary="Make a group (super administrators)")
async def create_group(request: ApiRequest, data: JSONBody[CreateGroup]) -> Response[Group]:
    return await _door.create(
        request,
        lambda tx, actor: groups.create_group(tx, actor, group_name=data.group_name, description=data.description),
        location=lambda group: f"/api/v1/groups/{group.g_id}",
    )


@get("/{g_id:str}", summary="A group, with its members where you ask for them")
async def get_group(
    request: ApiRequest, g_id: PathId, include: IncludeMembers = None, include_deleted: IncludeDeleted = False
) -> Response[Group]:
    refuse_both(include, include_deleted)
    read = groups.get_group if include is None else groups.get_group_with_members
    if include_deleted:
        read = groups.get_group_include_deleted
    group = await _door.read(request, lambda tx, actor: read(tx, actor, g_id))
    # Never 304: members and counts change without the group's own version.
    return Response(content=group, headers={"ETag": version_of(group.updated_at)})


@patch("/{g_id:str}", summary="Change a group's name, description or protection (its admins)", opt=budget(5))
async def change_group(request: ApiRequest, g_id: PathId, data: JSONBody[ChangeGroup]) -> Response[Group]:
    changes, if_match = changes_of(data), if_match_of(request)
    group = await _door.write(
        request, lambda tx, actor: groups.change_group(tx, actor, g_id, changes, if_match=if_match)
    )
    return versioned(request, group)


@get("/{g_id:str}/members", summary="The members of a group with their roles")
async def list_members(
    request: ApiRequest,
    g_id: PathId,
    role: FromQuery[Role | None] = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Member]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: members.list_members(tx, actor, g_id, asked, cursor_key=key, role=role, q=q)
    )


@post("/{g_id:str}/members", summary="Add a user to a group (admins of the group)", opt=budget(9))
async def add_member(request: ApiRequest, g_id: PathId, data: JSONBody[AddMember]) -> Response[Member]:
    if (data.u_id is None) == (data.username is None):
        raise InvalidInputError("name the user by u_id or by username, and by one of them only")
    return await _door.create(
        request,
        lambda tx, actor: members.add_member(tx, actor, g_id, u_id=data.u_id, username=data.username, role=data.role),
        location=lambda member: f"/api/v1/groups/{g_id}/members/{member.u_id}",
    )


@get("/{g_id:str}/members/{u_id:str}", summary="A member with their role")
async def get_member(
    request: ApiRequest, g_id: PathId, u_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[Member]:
    if include_deleted:
        found = await _door.read(request, lambda tx, actor: members.get_member_include_deleted(tx, actor, g_id, u_id))
        return Response(found)
    return versioned(request, await _door.read(request, lambda tx, actor: members.get_member(tx, actor, g_id, u_id)))


@patch(
    "/{g_id:str}/members/{u_id:str}",
    summary="Change a member's role (admins of the group)",
    opt=budget(9, repeated=("groups.find_member",)),
)
async def change_member(
    request: ApiRequest, g_id: PathId, u_id: PathId, data: JSONBody[ChangeMember]
) -> Response[Member]:
    if_match = if_match_of(request)
    member = await _door.write(
        request, lambda tx, actor: members.change_role(tx, actor, g_id, u_id, data.role, if_match=if_match)
    )
    return versioned(request, member)


@post(
    "/{g_id:str}/roster",
    status_code=200,
    summary="Import a roster: accounts, members and roles, all or nothing",
    opt=budget(14, repeated=("groups.memberships_include_deleted",)),
)
async def import_roster(request: ApiRequest, g_id: PathId, data: JSONBody[ImportRoster]) -> RosterResult:
    """Answers what changed; sending the same roster again changes nothing. New accounts take a super administrator.

    400 with `errors`, each with `line`, `field` and `reason`, when lines cannot be imported; nothing is stored then.
    """
    plan = await _door.prepare(request, lambda tx, actor: roster.plan_roster(tx, actor, g_id, data.rows))
    if data.dry_run:
        return plan.result(dry_run=True, first_passwords={})
    made = await roster.make_passwords(plan)
    return await _door.write(request, lambda tx, actor: roster.import_roster(tx, actor, g_id, data.rows, made))


router = Router(
    "/groups",
    route_handlers=[
        list_groups,
        create_group,
        get_group,
        change_group,
        list_members,
        add_member,
        get_member,
        change_member,
        import_roster,
    ],
    tags=["groups"],
)
