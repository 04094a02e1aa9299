"""`holdfast deletions`: what was deleted, by whom; restore and purge."""

import shlex
import sys
import time
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from holdfast.cli import terminal
from holdfast.cli.client import DELETION_SECONDS, path_of
from holdfast.cli.connected import Paging, Row, Server, connected, listing
from holdfast.cli.deletion_plans import counted, row_count
from holdfast.cli.deletion_roots import RootType
from holdfast.cli.failures import CommandFailedError
from holdfast.cli.names import find_user
from holdfast.cli.options import Query, UserFilter

application = typer.Typer(help="What was deleted: restore or purge it.", no_args_is_help=True, add_completion=False)

_FIELDS = (
    "id",
    "state",
    "type",
    "label",
    "root_id",
    "actor_name",
    "reason",
    "created_at",
    "rows",
    "removed",
    "purge_after",
    "failure",
    "purged_with",
    "bundle_path",
    "bundle_sha256",
    "bundle_verified_at",
    "updated_at",
)
_SECONDS_BETWEEN_LOOKS = 0.5
_Deletion = Annotated[str, typer.Argument(metavar="DELETION", help="The deletion's id.")]


class State(StrEnum):
    """How far a deletion is."""

    DELETED = "deleted"
    RESTORED = "restored"
    PURGING = "purging"
    PURGED = "purged"
    FAILED = "failed"


@application.command("list")
@listing
def list_deletions(
    server: Server,
    paging: Paging,
    *,
    state: Annotated[State | None, typer.Option("--state", help="Only deletions in this state.")] = None,
    type_: Annotated[RootType | None, typer.Option("--type", help="Only deletions of such things.")] = None,
    user: UserFilter = None,
    q: Query = None,
) -> None:
    """List your deletions, newest first; all of them for super administrators.

    Example: holdfast deletions list --state deleted --type group
    """
    actor_id = None if user is None else find_user(server.client, user)
    columns, spare = ("created_at", "state", "type", "label", "rows", "id"), ("actor_name", "reason")
    paging.show(
        server,
        "deletions",
        columns,
        spare=spare,
        for_people=_for_people,
        state=state,
        type=type_,
        actor_id=actor_id,
        q=q,
    )


@application.command("show")
@connected
def show_deletion(server: Server, deletion: _Deletion) -> None:
    """Show a deletion with its state and what it took.

    Example: holdfast deletions show Ay0mF3xk2Qd1sZ8w_pLrT
    """
    _show(server, _get(server, deletion))


@application.command("restore")
@connected
def restore(
    server: Server,
    deletion: _Deletion,
    *,
    rename: Annotated[
        bool, typer.Option("--rename", help="Give a free name to what comes back to a taken one.")
    ] = False,
) -> None:
    """Bring back exactly what a deletion took; refused, with the reasons, where that cannot be.

    Example: holdfast deletions restore Ay0mF3xk2Qd1sZ8w_pLrT
    """
    path = path_of("deletions", deletion, "restore")
    answer = server.client.post(path, {"rename": rename}, answer_seconds=DELETION_SECONDS)
    total = row_count(answer["counts"])
    server.tell(answer, f"{counted(total)} {'is' if total == 1 else 'are'} back." if total else _NOTHING_TO_RESTORE)
    if not server.as_json:
        for each in answer["renamed"]:
            terminal.print_sentence(f"{each['old']} is {each['new']} now.")


_NOTHING_TO_RESTORE = "Nothing to do: it was restored before."


@application.command("purge")
@connected
def purge(
    server: Server,
    deletion: _Deletion,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
) -> None:
    """Remove what a deletion took for good (super administrators).

    A recovery bundle is written and verified first; after that only the bundle can bring it back.

    Example: holdfast deletions purge Ay0mF3xk2Qd1sZ8w_pLrT --wait
    """
    found = _get(server, deletion)
    if not yes:
        typer.confirm(f"Remove {_what(found)} for good?", abort=True, err=True)
    asked = server.client.post(path_of("deletions", deletion, "purge"))
    if wait:
        asked = _wait(server, asked)
    server.tell(asked, _how_far(asked, is_over=wait))


def _get(server: Server, deletion: str) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(path_of("deletions", deletion))
    return found


def _show(server: Server, deletion: dict[str, Any]) -> None:
    server.show(deletion if server.as_json else _for_people(deletion), _FIELDS)
    if not server.as_json:
        terminal.print_sentence("")
        removed = deletion["removed_counts"]
        rows = [
            {"table": name, "rows": number, "removed": None if removed is None else removed.get(name, 0)}
            for name, number in _counts(deletion).items()
        ]
        terminal.print_table(rows, ("table", "rows") if removed is None else ("table", "rows", "removed"))


def _counts(deletion: Row) -> dict[str, int]:
    # What is removed so far would look like less and less of it while a purge runs.
    counts: dict[str, int] = deletion["planned_counts"]
    return counts


def _for_people(deletion: Row) -> Row:
    return deletion | {
        "type": deletion["root_type"],
        "label": deletion["root_label"],
        "rows": row_count(_counts(deletion)),
        "removed": None if deletion["removed_counts"] is None else row_count(deletion["removed_counts"]),
        "purge_after": terminal.shown(deletion["purge_after"], "created_at") or None,
    }


def _what(deletion: Row) -> str:
    return f"{deletion['root_type']} {deletion['root_label']} ({counted(row_count(_counts(deletion)))})"


def _wait(server: Server, asked: dict[str, Any]) -> dict[str, Any]:
    """Look again and again until the purge is over. One that had failed before counts only once it failed anew."""
    with _waiting() as progress:
        task = progress.add_task("Waiting for the worker", total=None)
        while True:
            found = _get(server, asked["id"])
            is_new = found["updated_at"] != asked["updated_at"]
            if found["state"] == State.PURGED or (found["state"] == State.FAILED and is_new):
                break
            if found["state"] == State.PURGING:
                removed = row_count(found["removed_counts"] or {})
                progress.update(task, description=f"Purging {_what(found)}: {counted(removed)} removed")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    if found["state"] == State.FAILED:
        raise CommandFailedError(f"the purge failed: {found['failure']}", code="purge_failed")
    return found


def _waiting() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())


def _how_far(deletion: dict[str, Any], *, is_over: bool) -> str:
    if is_over:
        return f"Purged. To bring it back, on the server: holdfast recover {shlex.quote(deletion['bundle_path'])}"
    return f"The purge is asked for: holdfast deletions show {deletion['id']} tells how far it is."
