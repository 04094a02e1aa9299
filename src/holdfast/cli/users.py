"""`holdfast users`: find, make and change users."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli.changes import changes, given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.names import find_group, find_user
from holdfast.cli.options import GroupFilter, Query, Role, UserArgument
from holdfast.cli.passwords import ask_new_password, ask_password, new_password_from_input, password_from_input

application = typer.Typer(help="Find, make and change users.", no_args_is_help=True, add_completion=False)

_FIELDS = (
    "username",
    "full_name",
    "email",
    "u_id",
    "type",
    "status",
    "is_super_admin",
    "must_change_password",
    "created_at",
    "updated_at",
)
_FullName = Annotated[str | None, typer.Option("--full-name", metavar="NAME", help="The person's name.")]
_Email = Annotated[str | None, typer.Option("--email", metavar="ADDRESS", help="The e-mail address.")]
_PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the new password from standard input instead of asking.")
]


class Status(StrEnum):
    """Whether a user can sign in: `delete` is a disabled account."""

    ONLINE = "online"
    OFFLINE = "offline"
    DELETE = "delete"


@application.command("list")
@listing
def list_users(
    server: Server,
    paging: Paging,
    *,
    q: Query = None,
    group: GroupFilter = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only users in this state.")] = None,
) -> None:
    """List users: all for super administrators, those of their own groups for group admins.

    Example: holdfast users list --group "Machine Learning" --q ada
    """
    g_id = None if group is None else find_group(server.client, group)
    columns = ("username", "full_name", "status", "email", "u_id")
    paging.show(server, "users", columns, spare=("status", "email"), q=q, g_id=g_id, status=status)


@application.command("show")
@connected
def show_user(server: Server, user: UserArgument = "me") -> None:
    """Show a user.

    Example: holdfast users show ada
    """
    server.show(server.client.get(path_of("users", find_user(server.client, user))), _FIELDS)


@application.command("create")
@connected
def create_user(
    server: Server,
    username: Annotated[str, typer.Argument(help="3 to 50 characters of A-Z, a-z, 0-9, _ and -.")],
    *,
    full_name: _FullName = None,
    email: _Email = None,
    password_stdin: _PasswordStdin = False,
) -> None:
    """Make a user. Without --password-stdin the server makes a first password, shown this once.

    Example: holdfast users create ada --full-name "Ada Lovelace" --email ada@example.org
    """
    password = new_password_from_input() if password_stdin else None
    body = given(username=username, full_name=full_name, email=email, password=password)
    user: dict[str, Any] = server.client.post("users", body)
    server.show(user, (*_FIELDS, "first_password"))


@application.command("edit")
@connected
def edit_user(
    server: Server,
    user: UserArgument,
    *,
    username: Annotated[str | None, typer.Option("--username", help="A new user name.")] = None,
    full_name: _FullName = None,
    email: _Email = None,
    status: Annotated[
        Status | None, typer.Option("--status", help="`delete` disables the account, `offline` enables it again.")
    ] = None,
) -> None:
    """Change a user's profile, or disable and enable the account.

    Example: holdfast users edit ada --email ada@example.org
    """
    body = changes(username=username, full_name=full_name, email=email, status=status)
    server.show(server.client.patch(path_of("users", find_user(server.client, user)), body), _FIELDS)


@application.command("password")
@connected
def set_password(
    server: Server,
    user: UserArgument = "me",
    *,
    password_stdin: _PasswordStdin = False,
) -> None:
    """Set a password: your own (asking for the present one first), or another user's as super administrator.

    With --password-stdin your own needs two lines: the present password and the new one.

    Example: holdfast users password
    """
    client = server.client
    own = str(client.get("me")["u_id"])
    u_id = find_user(client, user)
    body: dict[str, str] = {}
    if u_id == own:
        body["old_password"] = password_from_input() if password_stdin else ask_password("Present password")
    body["new_password"] = new_password_from_input() if password_stdin else ask_new_password()
    answer = client.put(path_of("users", u_id, "password"), body)
    server.tell(answer, "The password was changed.")


@application.command("groups")
@listing
def list_groups_of_user(
    server: Server,
    paging: Paging,
    user: UserArgument = "me",
    *,
    role: Annotated[Role | None, typer.Option("--role", help="Only groups where the user has this role.")] = None,
    q: Query = None,
) -> None:
    """List the groups of a user, with the roles.

    Example: holdfast users groups ada
    """
    path = path_of("users", find_user(server.client, user), "groups")
    paging.show(server, path, ("group_name", "role", "created_at", "g_id"), role=role, q=q)
