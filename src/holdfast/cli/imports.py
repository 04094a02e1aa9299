"""`holdfast import`: bring in a course from a roster file."""

import csv
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from holdfast.cli import terminal
from holdfast.cli.client import Client, path_of
from holdfast.cli.connected import Server, connected
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.names import find_group
from holdfast.cli.roster_file import Roster, read_roster
from holdfast.features.groups.types import RosterRow

application = typer.Typer(help="Bring in a course from a roster file.", no_args_is_help=True, add_completion=False)


@application.callback()
def _root() -> None:
    """Bring in a course from a roster file."""


@application.command("roster")
@connected
def import_roster(
    server: Server,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="CSV in UTF-8 with a header: username, and if you like full_name, email, role, password.",
        ),
    ],
    *,
    group: Annotated[str, typer.Option("--group", metavar="GROUP", help="The course's group (name or id).")],
    create_group: Annotated[
        bool, typer.Option("--create-group", help="Make the group if there is none of that name.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    passwords_out: Annotated[
        Path | None,
        typer.Option(
            "--passwords-out",
            metavar="FILE",
            help="Write generated first passwords to a new file that only you can read, instead of printing them.",
        ),
    ] = None,
) -> None:
    """Make the accounts, memberships and roles of a course, all or nothing; run again, it changes nothing.

    The whole file is checked first, and every mistake is told with its line. Who is not in the file stays as they are.

    Example: holdfast import roster course.csv --group "Machine Learning" --dry-run
    """
    with _progress() as progress:
        roster = _read(file, progress)
    _report_file(file, roster)
    with _waiting() as progress:
        g_id = _find_group(server.client, group, may_miss=create_group)
        with _reserved(None if dry_run else passwords_out) as passwords_file:
            progress.add_task(f"Sending {_counted(len(roster.rows), 'row')}", total=None)
            answer = _send(server.client, roster, group=group, g_id=g_id, dry_run=dry_run)
            if passwords_file is not None:
                _write_passwords(passwords_file, answer["first_passwords"])
    if server.as_json:
        terminal.print_json(answer)
        return
    _show(answer, dry_run=dry_run, group=group)
    _show_passwords(answer["first_passwords"], passwords_out, dry_run=dry_run)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=terminal.error_output(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _waiting() -> Progress:
    """For one long request, of which nobody knows how far it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())


def _read(file: Path, progress: Progress) -> Roster:
    task = progress.add_task(f"Reading {file.name}", total=None)
    roster = read_roster(file, lambda line, lines: progress.update(task, completed=line, total=lines))
    progress.remove_task(task)
    return roster


def _report_file(file: Path, roster: Roster) -> None:
    if roster.ignored_columns:
        terminal.print_note(f"{file}: not used: the columns {', '.join(roster.ignored_columns)}.")


def _find_group(client: Client, group: str, *, may_miss: bool) -> str | None:
    try:
        return find_group(client, group)
    except CommandFailedError as failure:
        if may_miss and failure.code == "not_found":
            return None
        if failure.code == "not_found":
            failure.message += "; --create-group makes it"
        raise


def _send(client: Client, roster: Roster, *, group: str, g_id: str | None, dry_run: bool) -> dict[str, Any]:
    if g_id is None and dry_run:
        return _difference_of_new_group(client, roster.rows)
    body = {"rows": [_body_of(row) for row in roster.rows], "dry_run": dry_run}
    if g_id is None:
        return _send_into_new_group(client, group, body)
    answer: dict[str, Any] = client.post(path_of("groups", g_id, "roster"), body)
    return answer


def _send_into_new_group(client: Client, group: str, body: dict[str, Any]) -> dict[str, Any]:
    """The server has no request that makes a group with its members, so a refused roster leaves an empty one."""
    g_id = client.post("groups", {"group_name": group})["g_id"]
    try:
        answer: dict[str, Any] = client.post(path_of("groups", g_id, "roster"), body)
    except CommandFailedError as failure:
        made = "made, and is empty" if failure.exit_code is ExitCode.REFUSED else "made"
        failure.lines.append(f"the group {group} was {made}; running this again uses it")
        raise
    return answer


def _body_of(row: RosterRow) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(row).items() if value is not None}


def _difference_of_new_group(client: Client, rows: list[RosterRow]) -> dict[str, Any]:
    """What an import into a group that is not there yet would change; the server has no group to ask about."""
    users = {user["username"]: user for user in client.rows("users")}
    updated = [
        row.username
        for row in rows
        if (user := users.get(row.username)) is not None
        and any(
            wanted is not None and wanted != user[name]
            for name, wanted in (("full_name", row.full_name), ("email", row.email))
        )
    ]
    return {
        "dry_run": True,
        "created_users": [row.username for row in rows if row.username not in users],
        "added_members": [{"username": row.username, "role": row.role or "user"} for row in rows],
        "changed_roles": [],
        "updated_users": updated,
        "unchanged": 0,
        "first_passwords": {},
    }


@contextmanager
def _reserved(path: Path | None) -> Iterator[Path | None]:
    """The file for the passwords, made before anything is sent: an import whose passwords were lost is worse than none.

    It goes again where the import fails.
    """
    if path is None:
        yield None
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise CommandFailedError(f"{path} is there already, and may hold passwords; name a new file") from error
    except OSError as error:
        raise CommandFailedError(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write_passwords(path: Path, passwords: dict[str, str]) -> None:
    if not passwords:
        path.unlink()
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["username", "password"])
        writer.writerows(passwords.items())


def _show(answer: dict[str, Any], *, dry_run: bool, group: str) -> None:
    rows = _difference_rows(answer)
    if not rows:
        people = "the 1 person" if answer["unchanged"] == 1 else f"all {answer['unchanged']:,} people"
        terminal.print_sentence(f"Nothing to change: {group} holds {people} as the file says.")
        return
    if dry_run:
        terminal.print_table(rows, ("username", "account", "membership"))
        terminal.print_sentence("")
    done = "would be " if dry_run else ""
    terminal.print_sentence(
        f"{_counted(len(answer['created_users']), 'account')} {done}made, {len(answer['updated_users'])} {done}updated;"
        f" {_counted(len(answer['added_members']), 'member')} {done}added to {group},"
        f" {_counted(len(answer['changed_roles']), 'role')} {done}changed;"
        f" {_counted(answer['unchanged'], 'person', 'people')} unchanged."
    )


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _difference_rows(answer: dict[str, Any]) -> list[dict[str, str]]:
    accounts = dict.fromkeys(answer["created_users"], "new") | dict.fromkeys(answer["updated_users"], "updated")
    memberships = {each["username"]: f"joins as {each['role']}" for each in answer["added_members"]}
    memberships |= {each["username"]: f"{each['old']} becomes {each['new']}" for each in answer["changed_roles"]}
    names = dict.fromkeys([*accounts, *memberships])
    return [
        {"username": name, "account": accounts.get(name, ""), "membership": memberships.get(name, "")} for name in names
    ]


def _show_passwords(passwords: dict[str, str], path: Path | None, *, dry_run: bool) -> None:
    if dry_run or not passwords:
        return
    if path is not None:
        what = "The first password is" if len(passwords) == 1 else f"Their {len(passwords):,} first passwords are"
        terminal.print_sentence(f"{what} in {path}, which only you can read.")
        return
    terminal.print_sentence("\nFirst passwords, not shown again; each must be changed at the first sign-in:")
    # No table: it would cut them where the terminal is narrow.
    width = max(map(len, passwords))
    for name, password in passwords.items():
        terminal.print_sentence(f"{name:{width}}  {password}")
