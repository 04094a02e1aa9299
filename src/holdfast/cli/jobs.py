"""`holdfast jobs`: what the workers do, did and are to do."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Row, Server, connected, listing

application = typer.Typer(
    help="What the workers do, did and are to do (super administrators).", no_args_is_help=True, add_completion=False
)

_JOB_FIELDS = (
    "id",
    "name",
    "state",
    "attempts",
    "due_at",
    "arguments",
    "failure",
    "host",
    "started_at",
    "finished_at",
    "every",
    "created_at",
)
_RUN_COLUMNS = ("started_at", "name", "outcome", "took", "told")
_Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
_Name = Annotated[str | None, typer.Option("--name", help="Only of this name.")]
_DAY, _HOUR, _MINUTE = 86_400, 3600, 60


class State(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Outcome(StrEnum):
    """What came of a run."""

    DONE = "done"
    FAILED = "failed"
    PUT_OFF = "put_off"
    LOST = "lost"


@application.command("list")
@listing
def list_jobs(
    server: Server,
    paging: Paging,
    *,
    state: Annotated[State | None, typer.Option("--state", help="Only jobs in this state.")] = None,
    name: _Name = None,
) -> None:
    """List jobs, newest first. Those that failed are the dead letters: try them again, or discard them.

    Example: holdfast jobs list --state failed
    """
    columns, spare = ("created_at", "name", "state", "attempts", "id"), ("due_at", "failure", "host")
    paging.show(server, "jobs", columns, spare=spare, for_people=_job_for_people, state=state, name=name)


@application.command("show")
@connected
def show_job(server: Server, job: _Job) -> None:
    """Show a job with its arguments, why it failed, and its last runs.

    Example: holdfast jobs show AP74Wi6pZA2h1DJ6p8Hqy
    """
    found = server.client.get(path_of("jobs", job))
    server.show(found if server.as_json else _job_for_people(found), _JOB_FIELDS)
    if not server.as_json:
        runs = server.client.get("runs", job_id=job, limit=5)["items"]
        terminal.print_sentence("")
        terminal.print_table([_run_for_people(run) for run in runs], ("started_at", "outcome", "took", "told"))


@application.command("retry")
@connected
def retry_job(server: Server, job: _Job) -> None:
    """Let a dead letter be tried again, as often as a new job.

    Example: holdfast jobs retry AP74Wi6pZA2h1DJ6p8Hqy
    """
    answer = server.client.post(path_of("jobs", job, "retry"))
    server.tell(answer, f"{answer['name']} is due again: `holdfast jobs show {answer['id']}` tells what comes of it.")


@application.command("discard")
@connected
def discard_job(
    server: Server, job: _Job, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a dead letter for good; the audit log keeps what it was.

    Example: holdfast jobs discard AP74Wi6pZA2h1DJ6p8Hqy
    """
    found = server.client.get(path_of("jobs", job))
    if not yes:
        typer.confirm(f"Discard {found['name']}, which will not be done then?", abort=True, err=True)
    answer = server.client.post(path_of("jobs", job, "discard"))
    server.tell(answer, f"{answer['name']} is discarded.")


@application.command("runs")
@listing
def list_runs(
    server: Server,
    paging: Paging,
    *,
    name: _Name = None,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only runs that ended so.")] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only runs of this job.")] = None,
) -> None:
    """List what ran, newest first: jobs, and the commands of operators that keep a record.

    Example: holdfast jobs runs --name retention.cleanup_audit_logs
    """
    paging.show(
        server,
        "runs",
        _RUN_COLUMNS,
        spare=("host",),
        for_people=_run_for_people,
        name=name,
        outcome=outcome,
        job_id=job,
    )


@application.command("schedule")
@connected
def show_schedule(server: Server) -> None:
    """Show the periodic jobs: how often, when they last ran and with which outcome, and when they are due.

    Example: holdfast jobs schedule
    """
    schedule = server.client.get("schedule")
    if server.as_json:
        terminal.print_json(schedule)
        return
    columns = ("name", "every", "last_started_at", "took", "last", "due_at")
    terminal.print_table([_scheduled_for_people(item) for item in schedule["items"]], columns, ("now",))
    if number := schedule["failed_jobs"]:
        letters = "dead letter waits" if number == 1 else "dead letters wait"
        terminal.print_note(f"{number} {letters} for a person: holdfast jobs list --state failed")


@application.command("run")
@connected
def run_now(server: Server, name: Annotated[str, typer.Argument(metavar="NAME", help="As in the schedule.")]) -> None:
    """Let a periodic job be due now; its later times stay as they are.

    Example: holdfast jobs run retention.cleanup_audit_logs
    """
    answer = server.client.post(path_of("schedule", name, "run"))
    server.tell(answer, f"{name} is due: `holdfast jobs runs --name {name}` tells what comes of it.")


def _job_for_people(job: Row) -> Row:
    every = job["every_seconds"]
    return job | {
        "due_at": job["run_at"] if job["state"] == State.WAITING else None,
        "every": None if every is None else duration(every),
    }


def _run_for_people(run: Row) -> Row:
    return run | {"took": duration(_seconds_between(run["started_at"], run["finished_at"])), "told": _told(run)}


def _told(run: Row) -> str:
    if run["failure"]:
        return str(run["failure"])
    detail = run["detail"] if isinstance(run["detail"], dict) else {}
    # What fits into a line; the JSON has all of it.
    return ", ".join(f"{name} {value}" for name, value in detail.items() if isinstance(value, int | float | str))


def _scheduled_for_people(job: dict[str, Any]) -> Row:
    seconds = job["last_seconds"]
    now = ""
    if job["is_running"]:
        now = f"runs on {job['host']}"
    elif job["overdue_seconds"] > _MINUTE:
        now = f"overdue for {duration(job['overdue_seconds'])}"
    return job | {
        "every": duration(job["every_seconds"]),
        "took": None if seconds is None else duration(seconds),
        "last": job["last_outcome"],
        "now": now,
    }


def duration(seconds: float) -> str:
    """So many seconds as people say it: `30 d`, `1 h 30 min`, `12 s`, `0.02 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    parts = []
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        number, whole = divmod(whole, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def _seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
