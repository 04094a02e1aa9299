"""`holdfast images`: the allow list."""

from typing import Annotated, Any

import typer

from holdfast.cli.changes import given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Row, Server, connected, listing
from holdfast.cli.names import find_project
from holdfast.cli.options import OptionalProject, ProjectFilter, Query

application = typer.Typer(help="The allow list of images.", no_args_is_help=True, add_completion=False)

_COLUMNS = ("full_name", "tag", "project_name", "id")
_SPARE = ("is_enabled", "is_pulled", "created_by_name")
_Rule = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id, from `holdfast images list`.")]


@application.command("list")
@listing
def list_images(
    server: Server,
    paging: Paging,
    *,
    project: ProjectFilter = None,
    enabled: Annotated[
        bool | None, typer.Option("--enabled/--disabled", help="Only rules that are in force, or that are not.")
    ] = None,
    q: Query = None,
) -> None:
    """List the images that may run; with --project, what that project may run.

    Example: holdfast images list --project physics/lab-1 --enabled
    """
    project_id = None if project is None else find_project(server.client, project)
    filters = {"project_id": project_id, "is_enabled": enabled, "q": q}
    paging.show(server, "images", _COLUMNS, spare=_SPARE, for_people=_for_people, **filters)


@application.command("add")
@connected
def add_image(
    server: Server,
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="nginx:1.27 for one tag, nginx for all tags of a repository.")
    ],
    *,
    project: OptionalProject = None,
) -> None:
    """Allow an image without a request (super administrators); without --project, for everyone.

    Example: holdfast images add ghcr.io/holdfast/notebook:2026.1 --project physics/lab-1
    """
    project_id = None if project is None else find_project(server.client, project)
    rule: dict[str, Any] = server.client.post("images", given(image_name=image, project_id=project_id))
    server.show(rule if server.as_json else _for_people(rule), (*_COLUMNS, *_SPARE, "created_at"))


@application.command("disable")
@connected
def disable_image(server: Server, rule: _Rule) -> None:
    """Take a rule out of force; what runs already goes on.

    Example: holdfast images disable Ay0mF3xk2Qd1sZ8w_pLrT
    """
    answer = server.client.patch(path_of("images", rule), {"is_enabled": False})
    server.tell(answer, f"{answer['full_name']} is no longer allowed by this rule.")


@application.command("enable")
@connected
def enable_image(server: Server, rule: _Rule) -> None:
    """Put a rule in force again.

    Example: holdfast images enable Ay0mF3xk2Qd1sZ8w_pLrT
    """
    answer = server.client.patch(path_of("images", rule), {"is_enabled": True})
    server.tell(answer, f"{answer['full_name']} is allowed by this rule again.")


def _for_people(rule: Row) -> Row:
    return rule | {"tag": rule["tag"] or "any", "project_name": rule["project_name"] or "everyone"}
