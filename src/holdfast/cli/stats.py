"""`holdfast stats`: what the database and the server's process do."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.client import Client
from holdfast.cli.connected import JsonOption, Paging, Server, UrlOption, connected, listing
from holdfast.cli.credentials import find_access

application = typer.Typer(
    help="What the database does: statements, indexes, sizes, connections, orphans (super administrators).",
    invoke_without_command=True,
    add_completion=False,
)

_Report = dict[str, Any]
_STATEMENTS = ("statement", "runs", "seconds", "mean_ms", "p50_ms", "p99_ms", "rows")
_INDEXES = ("table", "index", "reads", "rows_read", "writes", "size", "rows_per_key")
_TABLES = ("table", "rows", "dead_rows", "table_size", "index_size")
_WAITS = ("connection", "user", "kind", "seconds", "waits_for")
_STATES = ("state", "connections")
_Rows = Annotated[int, typer.Option("--limit", min=1, max=1000, help="So many rows.")]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@application.callback()
def show_summary(context: typer.Context, *, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show the dearest statements, the biggest tables, the connections and the pool; each command shows one in full.

    Example: holdfast stats
    """
    if context.invoked_subcommand is None:
        with Server(Client(find_access(url)), as_json=as_json) as server:
            _show_summary(server)


@application.command("statements")
@connected
def show_statements(server: Server, *, limit: _Rows = 20) -> None:
    """Show the statements that took most time in all in the process that answers.

    Example: holdfast stats statements --limit 5
    """
    report = server.client.get("admin/statistics/statements", limit=limit)
    if server.as_json:
        terminal.print_json(report)
    else:
        _show_statements(report, limit)


@application.command("indexes")
@connected
def show_indexes(server: Server, *, limit: _Rows = 1000) -> None:
    """Show how much each index is used, the least used first.

    Example: holdfast stats indexes --limit 20
    """
    report = _get(server, "indexes")
    if server.as_json:
        terminal.print_json(report)
        return
    rows = [row | {"size": _size(row["size_bytes"])} for row in report["items"][:limit]]
    _print_known(rows, _INDEXES)
    if report["counted_since"]:
        terminal.print_note(f"Counted since {terminal.shown(report['counted_since'], 'counted_at')}.")
    _note(report)


@application.command("tables")
@connected
def show_tables(server: Server) -> None:
    """Show how big the tables and their indexes are, the biggest first.

    Example: holdfast stats tables
    """
    report = _get(server, "tables")
    if server.as_json:
        terminal.print_json(report)
    else:
        _show_tables(report, len(report["items"]))


@application.command("connections")
@connected
def show_connections(server: Server) -> None:
    """Show who is connected to the database, who waits for whom, and the pool of the process that answers.

    Example: holdfast stats connections
    """
    report = _get(server, "connections")
    if server.as_json:
        terminal.print_json(report)
    else:
        _show_connections(report)


@application.command("orphans")
@listing
def list_orphans(
    server: Server,
    paging: Paging,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Only what should never be: approved, not deleted, without rule.")
    ] = False,
) -> None:
    """List decided image requests that no rule of the allow list goes back to, rejected and deleted ones included.

    Example: holdfast stats orphans --strict
    """
    paging.show(server, "admin/statistics/orphans", ("id", "user_id", "project_id"), strict="true" if strict else None)


def _show_summary(server: Server) -> None:
    reports = {name: _get(server, name) for name in ("statements", "tables", "connections")}
    if server.as_json:
        terminal.print_json(reports)
        return
    _show_statements(reports["statements"], 5)
    terminal.print_sentence("")
    _show_tables(reports["tables"], 5)
    terminal.print_sentence("")
    _show_connections(reports["connections"])


def _get(server: Server, name: str) -> _Report:
    report: _Report = server.client.get(f"admin/statistics/{name}")
    return report


def _show_statements(report: _Report, limit: int) -> None:
    rows = [
        {
            "statement": item["statement"],
            "runs": item["runs"],
            "seconds": f"{item['total_seconds']:.3f}",
            "mean_ms": f"{item['mean_milliseconds']:.2f}",
            "p50_ms": f"{item['p50_milliseconds']:.2f}",
            "p99_ms": f"{item['p99_milliseconds']:.2f}",
            "rows": item["rows"],
        }
        for item in report["items"][:limit]
    ]
    terminal.print_table(rows, _STATEMENTS)
    terminal.print_note(
        f"{report['statements']} statements took {report['total_seconds']:.3f} seconds since"
        f" {terminal.shown(report['counted_since'], 'counted_at')}, in the one process that answered."
    )


def _show_tables(report: _Report, limit: int) -> None:
    rows = [
        row | {"table_size": _size(row["table_bytes"]), "index_size": _size(row["index_bytes"])}
        for row in report["items"][:limit]
    ]
    _print_known(rows, _TABLES)
    terminal.print_note(f"The database has {_size(report['database_bytes'])}.")
    _note(report)


def _show_connections(report: _Report) -> None:
    if report["states"]:
        terminal.print_table([{"state": state, "connections": n} for state, n in report["states"].items()], _STATES)
        most = f" of {report['most']}" if report["most"] else ""
        terminal.print_sentence(f"{sum(report['states'].values())}{most} connections.")
    if report["waits"]:
        terminal.print_table([wait | {"waits_for": " ".join(wait["waits_for"])} for wait in report["waits"]], _WAITS)
    elif report["states"] and not report["remark"]:
        terminal.print_sentence("Nobody waits for a lock.")
    pool = report["pool"]
    terminal.print_sentence(
        f"This process has {pool['open']} of at most {pool['most']} connections open: {pool['in_use']} in use,"
        f" {pool['idle']} idle; {pool['waiting']} requests wait for one."
    )
    _note(report)


def _print_known(rows: Sequence[_Report], columns: Sequence[str]) -> None:
    """A table without the columns that the engine tells nothing of."""
    terminal.print_table(rows, [column for column in columns if any(row.get(column) not in (None, "") for row in rows)])


def _note(report: _Report) -> None:
    if report["remark"]:
        terminal.print_note(report["remark"])


def _size(size: int | None) -> str:
    if size is None:
        return ""
    amount = float(size)
    unit = 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:.1f} {_UNITS[unit]}"
