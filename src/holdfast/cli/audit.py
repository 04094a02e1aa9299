"""`holdfast audit`: who did what, and when."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from holdfast.cli.connected import Paging, Server, listing
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.names import find_group
from holdfast.cli.options import GroupFilter

application = typer.Typer(help="Who did what, and when.", no_args_is_help=True, add_completion=False)

_COLUMNS = ("created_at", "actor_name", "action", "resource_type", "resource_label")
_SPARE = ("resource_id", "ip_address")
_MOMENT = "DATE or DATE TIME in UTC, as 2026-10-01 or 2026-10-01T08:30."


@application.callback()
def _root() -> None:
    """Who did what, and when."""


@application.command("list")
@listing
def list_entries(
    server: Server,
    paging: Paging,
    *,
    actor: Annotated[str | None, typer.Option("--actor", metavar="USERNAME", help="Only what this user did.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="create, update, delete, approve, reject, login, logout, revoke …")
    ] = None,
    resource_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="user, group, member, project, config-file, form …")
    ] = None,
    resource_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only changes of this object.")] = None,
    group: GroupFilter = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"Not before: {_MOMENT}")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help=f"Before: {_MOMENT}")] = None,
) -> None:
    """List the audit log, newest first: all of it for super administrators, their groups for group admins.

    Example: holdfast audit list --actor ada --action approve --from 2026-10-01
    """
    filters = {
        "actor": actor,
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "g_id": None if group is None else find_group(server.client, group),
        "from": _moment(since, "--from"),
        "to": _moment(until, "--to"),
    }
    paging.show(server, "audit-logs", _COLUMNS, spare=_SPARE, **filters)


def _moment(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandFailedError(f"{option} is no time: give a {_MOMENT}", ExitCode.WRONG_USAGE) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.isoformat()
