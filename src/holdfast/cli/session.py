"""`holdfast login`, `logout` and `whoami`."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from holdfast.cli import terminal
from holdfast.cli.client import path_of
from holdfast.cli.connected import Server, connected
from holdfast.cli.credentials import Credential, forget, keep
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.passwords import ask_new_password, ask_password, new_password_from_input, password_from_input

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@connected
def login(
    server: Server,
    username: Annotated[str | None, typer.Argument(help="Your user name; asked for when left out.")] = None,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
    ] = False,
    new_password_stdin: Annotated[
        bool,
        typer.Option(
            "--new-password-stdin", help="Where a new password is demanded, read it from the next line of input."
        ),
    ] = False,
) -> None:
    """Sign in to a server and keep the token for later commands.

    The first sign-in with a generated password asks for one of your own.

    Example: holdfast login ada --url https://holdfast.example.org
    """
    client = server.client
    client.use_token(None)
    _warn_where_overheard(client.url)
    name = username or typer.prompt("User name", err=True)
    password = password_from_input() if password_stdin else ask_password()
    answer = client.post("sessions", {"username": name, "password": password})
    client.use_token(answer["token"])
    if answer["user"]["must_change_password"]:
        new = new_password_from_input() if new_password_stdin else _ask_own_password(can_ask=not password_stdin)
        client.put(
            path_of("users", answer["user"]["u_id"], "password"), {"old_password": password, "new_password": new}
        )
    keep(client.url, Credential(answer["token"], answer["user"]["username"], answer["expires_at"]))
    shown = {"url": client.url, "user": answer["user"], "expires_at": answer["expires_at"]}
    server.tell(shown, f"Signed in to {client.url} as {answer['user']['username']}.")


@connected
def logout(server: Server) -> None:
    """End the session on the server and forget its token.

    Example: holdfast logout
    """
    url = server.client.url
    try:
        server.client.delete("sessions/current")
    except CommandFailedError as failure:
        if failure.exit_code is not ExitCode.NOT_SIGNED_IN:
            raise
        forget(url)
        server.tell({"url": url, "ended": False}, f"You were not signed in to {url}.")
        return
    forget(url)
    server.tell({"url": url, "ended": True}, f"Signed out of {url}.")


@connected
def whoami(server: Server) -> None:
    """Show who is signed in, at which server, and in which groups with which roles.

    Example: holdfast whoami --json
    """
    me: dict[str, Any] = server.client.get("me")
    if server.as_json:
        terminal.print_json(me)
        return
    terminal.print_record(
        {"server": server.client.url, **me},
        ("server", "username", "full_name", "email", "u_id", "is_super_admin", "status"),
    )
    if me.get("groups"):
        terminal.print_sentence("")
        terminal.print_table(me["groups"], ("group_name", "role", "g_id"))


def _ask_own_password(*, can_ask: bool) -> str:
    if not can_ask:
        raise CommandFailedError(
            "this is a first password and must be changed: add --new-password-stdin with the new one on a second line,"
            " or sign in without --password-stdin"
        )
    typer.echo("This is a first password. Choose one of your own, of 8 to 128 characters.", err=True)
    return ask_new_password()


def _warn_where_overheard(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        terminal.print_note(f"Warning: {url} is not encrypted; anyone on the way can read your password.")
