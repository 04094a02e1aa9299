"""`holdfast tokens`: list, make and revoke API tokens."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.changes import given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.options import Query

application = typer.Typer(help="List, make and revoke API tokens.", no_args_is_help=True, add_completion=False)


class Kind(StrEnum):
    """A session is made by signing in, an API token by asking for one."""

    SESSION = "session"
    API = "api"


@application.command("list")
@listing
def list_tokens(
    server: Server,
    paging: Paging,
    *,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Only sessions, or only API tokens.")] = None,
    q: Query = None,
) -> None:
    """List your sessions and API tokens, without the secrets, which are stored nowhere.

    Example: holdfast tokens list --kind api
    """
    paging.show(server, "tokens", ("name", "kind", "expires_at", "id"), spare=("scopes", "created_at"), kind=kind, q=q)


@application.command("create")
@connected
def create_token(
    server: Server,
    name: Annotated[str, typer.Argument(help="What it is for, such as `nightly import`.")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="AREA:ACCESS", help="forms:read, '*:write' …; repeat for several."),
    ] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it is good for.")] = None,
) -> None:
    """Make an API token. It is printed this once; on standard output there is nothing but the token.

    Example: holdfast tokens create "nightly import" --scope groups:write --scope users:write --days 90
    """
    token: dict[str, Any] = server.client.post("tokens", given(name=name, scopes=scope, expires_in_days=days))
    if not server.as_json:
        expires_at = terminal.shown(token["expires_at"], "expires_at")
        terminal.print_note(f"Keep this token, it is not shown again. It is good until {expires_at}.")
    server.tell(token, token["token"])


@application.command("revoke")
@connected
def revoke_token(
    server: Server, token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, from `holdfast tokens list`.")]
) -> None:
    """Revoke a token or end a session; it stops working with the next request.

    Example: holdfast tokens revoke Ay0mF3xk2Qd1sZ8w_pLrT
    """
    server.client.delete(path_of("tokens", token))
    server.tell({"id": token, "revoked": True}, "The token no longer works.")
