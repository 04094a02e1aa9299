"""`holdfast groups`: groups, their members and roles."""

from typing import Annotated, Any

import typer

from holdfast.cli.changes import changes, given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.names import find_group, find_user
from holdfast.cli.options import Description, GroupArgument, Query, Role, UserArgument
from holdfast.core.ids import SHORT_WIDTH, is_id

application = typer.Typer(help="Groups, their members and roles.", no_args_is_help=True, add_completion=False)

_FIELDS = ("group_name", "description", "g_id", "role", "member_count", "project_count", "created_at", "updated_at")


@application.command("list")
@listing
def list_groups(server: Server, paging: Paging, *, q: Query = None) -> None:
    """List your groups; all of them for super administrators.

    Example: holdfast groups list --q physics
    """
    paging.show(server, "groups", ("group_name", "g_id"), spare=("member_count", "project_count", "description"), q=q)


@application.command("show")
@connected
def show_group(server: Server, group: GroupArgument) -> None:
    """Show a group.

    Example: holdfast groups show physics
    """
    server.show(server.client.get(path_of("groups", find_group(server.client, group))), _FIELDS)


@application.command("create")
@connected
def create_group(
    server: Server,
    group_name: Annotated[str, typer.Argument(metavar="NAME", help="The group's name.")],
    *,
    description: Description = None,
) -> None:
    """Make a group (super administrators).

    Example: holdfast groups create physics --description "Physics, winter term"
    """
    group: dict[str, Any] = server.client.post("groups", given(group_name=group_name, description=description))
    server.show(group, _FIELDS)


@application.command("edit")
@connected
def edit_group(
    server: Server,
    group: GroupArgument,
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A new name.")] = None,
    description: Description = None,
) -> None:
    """Change a group's name or description.

    Example: holdfast groups edit physics --name "Physics 2"
    """
    body = changes(group_name=name, description=description)
    server.show(server.client.patch(path_of("groups", find_group(server.client, group)), body), _FIELDS)


@application.command("members")
@listing
def list_members(
    server: Server,
    paging: Paging,
    group: GroupArgument,
    *,
    role: Annotated[Role | None, typer.Option("--role", help="Only members with this role.")] = None,
    q: Query = None,
) -> None:
    """List the members of a group with their roles.

    Example: holdfast groups members physics --role manager
    """
    path = path_of("groups", find_group(server.client, group), "members")
    paging.show(server, path, ("username", "full_name", "role", "u_id"), role=role, q=q)


@application.command("add-member")
@connected
def add_member(
    server: Server,
    group: GroupArgument,
    user: UserArgument,
    *,
    role: Annotated[Role, typer.Option("--role", help="What the member may do.")] = Role.USER,
) -> None:
    """Take a user into a group: one who is there already, whether you see them or not.

    Example: holdfast groups add-member physics ada --role manager
    """
    client = server.client
    path = path_of("groups", find_group(client, group), "members")
    # Group admins may add people whom they cannot see yet, so the server is given the name where it is one.
    named = {"u_id": user} if is_id(user, width=SHORT_WIDTH) and client.find(path_of("users", user)) else {}
    answer = client.post(path, (named or {"username": user}) | {"role": role})
    server.tell(answer, f"{user} is a member of {group} now, as {role}.")


@application.command("set-role")
@connected
def set_role(
    server: Server,
    group: GroupArgument,
    user: UserArgument,
    role: Annotated[Role, typer.Argument(help="What the member may do.")],
) -> None:
    """Change the role of a member. Role admin is given and taken by super administrators.

    Example: holdfast groups set-role physics ada manager
    """
    client = server.client
    path = path_of("groups", find_group(client, group), "members", find_user(client, user))
    answer = client.patch(path, {"role": role})
    server.tell(answer, f"{user} is {role} of {group} now.")
