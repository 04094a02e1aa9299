"""`holdfast cleanup`: let go what is older than its retention."""

from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.connected import Server, connected
from holdfast.cli.deletion_plans import counted, row_count

application = typer.Typer(
    help="Let go what is older than its retention (super administrators).", no_args_is_help=True, add_completion=False
)

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")]
_PrepareOnly = Annotated[
    bool, typer.Option("--prepare-only", help="Write the bundles and remove nothing; the database's CALL then may.")
]
_Days = Annotated[
    int | None,
    typer.Option(
        "--days", min=0, max=36_500, help="How old it must be, if not as the settings say.", show_default=False
    ),
]
_AuditDays = Annotated[
    int | None,
    typer.Option(
        "--days", min=1, max=36_500, help="How old it must be, if not as the settings say.", show_default=False
    ),
]


@application.command("soft-deleted")
@connected
def clean_soft_deleted(
    server: Server, *, days: _Days = None, dry_run: _DryRun = False, prepare_only: _PrepareOnly = False
) -> None:
    """Bundle and purge the deletions whose time is over.

    Example: holdfast cleanup soft-deleted --days 30 --dry-run
    """
    _clean_up(server, "soft-deleted", days, dry_run=dry_run, prepare_only=prepare_only)


@application.command("audit-logs")
@connected
def clean_audit_logs(
    server: Server, *, days: _AuditDays = None, dry_run: _DryRun = False, prepare_only: _PrepareOnly = False
) -> None:
    """Archive the entries of the audit log whose time is over, and remove them.

    Example: holdfast cleanup audit-logs --days 90
    """
    _clean_up(server, "audit-logs", days, dry_run=dry_run, prepare_only=prepare_only)


def _clean_up(server: Server, category: str, days: int | None, **wishes: bool) -> None:
    answer = server.client.post(f"admin/cleanup/{category}", {"days": days, **wishes})
    if "job_id" in answer:
        server.tell(answer, f"Asked for: a worker does it, and the audit log tells what went. Job {answer['job_id']}")
    elif server.as_json:
        terminal.print_json(answer)
    else:
        _show_plan(answer)


def _show_plan(plan: dict[str, Any]) -> None:
    total = row_count(plan["counts"])
    what = f"{counted(total)} older than {plan['days']} days would go"
    number = plan["deletions"]
    of = f", of {number} deletion{'' if number == 1 else 's'}" if number else ""
    terminal.print_sentence(f"{what}{of}." if total else f"Nothing is older than {plan['days']} days.")
    rows = [{"table": name, "rows": count} for name, count in plan["counts"].items()]
    if rows:
        terminal.print_table(rows, ("table", "rows"))
    pointers = [{"column": name, "pointers emptied": count} for name, count in plan["set_null"].items()]
    if pointers:
        terminal.print_sentence("")
        terminal.print_table(pointers, ("column", "pointers emptied"))
    if plan["unfinished"]:
        terminal.print_sentence(
            f"{plan['unfinished']} more are being purged or failed: `holdfast deletions list --state failed` tells why."
        )
