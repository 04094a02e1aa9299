"""`holdfast audit`: who did what, and when."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.connected import Paging, Row, Server, listing
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.names import find_group
from holdfast.cli.options import GroupFilter

application = typer.Typer(help="Who did what, and when.", no_args_is_help=True, add_completion=False)

_COLUMNS = ("created_at", "actor_name", "action", "resource_type", "resource_label", "change")
_FIXED_BY_FILTER = {"actor": "actor_name", "action": "action"}
_LONGEST_VALUE = 40
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
    # What a filter fixes is the same in every row, and makes room for the change where there is little.
    fixed = [column for name, column in _FIXED_BY_FILTER.items() if filters[name]]
    spare = ("resource_type", *fixed, "resource_id", "ip_address")
    paging.show(server, "audit-logs", _COLUMNS, spare=spare, for_people=_for_people, **filters)


def _for_people(entry: Row) -> Row:
    return entry | {
        "created_at": terminal.shown(entry["created_at"], "created_at"),
        "change": ", ".join(_changes(entry)),
    }


def _changes(entry: Row) -> Iterator[str]:
    """`status: Pending → Processing` for what changed, `gpu_quota: 2` for what is new or gone.

    Left out are ids and the object's own name, which tell people nothing here; of a hash, only that it changed.
    """
    old, new = entry["old_data"] or {}, entry["new_data"] or {}
    for field in old | new:
        before, after = old.get(field), new.get(field)
        if field == "id" or field.endswith("_id") or before == after:
            continue
        if field == "sha256":
            yield "content"
        elif field in old and field in new:
            yield f"{field}: {_short(before, field)} → {_short(after, field)}"
        elif entry["resource_label"] not in (before, after):
            yield f"{field}: {_short(after if field in new else before, field)}"


def _short(value: Any, field: str) -> str:
    text = " ".join(terminal.shown(value, field).split()) or "none"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


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
