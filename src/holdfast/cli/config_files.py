"""`holdfast config-files`: show and apply a project's manifests."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import terminal
from holdfast.cli.client import Client, path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.failures import CommandFailedError
from holdfast.cli.manifest_files import OUTCOMES, Outcome, apply_files, find_manifest_files
from holdfast.cli.names import find_config_file, find_project
from holdfast.cli.options import OptionalProject, ProjectOption, Query

application = typer.Typer(help="Show and apply a project's manifests.", no_args_is_help=True, add_completion=False)

_File = Annotated[
    str, typer.Argument(metavar="FILE", help="The config file's id, or its filename together with --project.")
]


@application.command("list")
@listing
def list_config_files(server: Server, paging: Paging, *, project: ProjectOption, q: Query = None) -> None:
    """List the config files of a project.

    Example: holdfast config-files list --project physics/lab-1
    """
    path = path_of("projects", find_project(server.client, project), "config-files")
    paging.show(server, path, ("filename", "resource_count", "updated_at", "cf_id"), q=q)


@application.command("show")
@connected
def show_config_file(server: Server, file: _File, *, project: OptionalProject = None) -> None:
    """Print the content of a config file, as it was stored.

    Example: holdfast config-files show web.yaml --project physics/lab-1
    """
    found = server.client.get(path_of("config-files", _find_file(server.client, file, project)))
    if server.as_json:
        terminal.print_json(found)
    else:
        typer.echo(found["content"], nl=not found["content"].endswith("\n"))


@application.command("resources")
@listing
def list_resources(
    server: Server,
    paging: Paging,
    file: _File,
    *,
    project: OptionalProject = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="KIND", help="Only of this kind, in lower case: deployment.")
    ] = None,
    q: Query = None,
) -> None:
    """List the Kubernetes objects that a config file holds.

    Example: holdfast config-files resources web.yaml --project physics/lab-1
    """
    path = path_of("config-files", _find_file(server.client, file, project), "resources")
    paging.show(server, path, ("name", "updated_at", "r_id"), spare=("type",), type=type_, q=q)


@application.command("apply")
@connected
def apply_config_files(
    server: Server,
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A manifest, or a folder of *.yaml and *.yml.")],
    *,
    project: ProjectOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and compare the files, and store nothing.")] = False,
) -> None:
    """Store manifests in a project: new ones are made, changed ones replaced, equal ones left alone.

    A folder is read with the folders in it, `web/app.yaml` being stored as `web__app.yaml`. What is refused is told
    with document, line and reason; the other files are stored all the same, and the exit code is 1. Files of the
    project that are not in the folder stay.

    Example: holdfast config-files apply manifests/ --project physics/lab-1 --dry-run
    """
    files = find_manifest_files(path)
    p_id = find_project(server.client, project)
    outcomes = apply_files(server.client, p_id, files, dry_run=dry_run)
    counts = Counter(outcome.outcome for outcome in outcomes)
    refused = [outcome for outcome in outcomes if outcome.errors]
    is_one_refusal = len(outcomes) == len(refused) == 1
    if server.as_json:
        listed = [outcome.as_json() for outcome in outcomes]
        terminal.print_json({"files": listed, **{word: counts[word] for word in OUTCOMES}})
    elif not is_one_refusal:
        terminal.print_table([outcome.as_json() for outcome in outcomes], ("filename", "outcome", "resource_count"))
        terminal.print_sentence("\n" + _summary(counts, dry_run=dry_run))
    if is_one_refusal:
        raise CommandFailedError(f"{refused[0].path} is refused", lines=refused[0].errors)
    if refused:
        raise CommandFailedError(_how_many_refused(refused, outcomes), lines=list(_refusals(refused)))


def _summary(counts: Counter[str], *, dry_run: bool) -> str:
    listed = ", ".join(f"{counts[word]} {word}" for word in OUTCOMES if counts[word])
    return f"Nothing was stored; it would be {listed}." if dry_run else f"{listed}."


def _how_many_refused(refused: list[Outcome], outcomes: list[Outcome]) -> str:
    were = "was" if len(refused) == 1 else "were"
    return f"{len(refused)} of {len(outcomes)} files {were} refused"


def _refusals(refused: list[Outcome]) -> Iterator[str]:
    for outcome in refused:
        for error in outcome.errors:
            yield f"{outcome.path}: {error}"


def _find_file(client: Client, file: str, project: str | None) -> str:
    if project is None:
        return file
    return find_config_file(client, find_project(client, project), file) or file
