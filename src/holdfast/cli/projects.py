"""`holdfast projects`: projects and their GPU quotas."""

from typing import Annotated, Any

import typer

from holdfast.cli.changes import changes, given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.names import find_group, find_project
from holdfast.cli.options import Description, GroupFilter, ProjectArgument, Query

application = typer.Typer(help="Projects and their GPU quotas.", no_args_is_help=True, add_completion=False)

_FIELDS = (
    "project_name",
    "group_name",
    "description",
    "gpu_quota",
    "gpus_in_use",
    "allow_privileged",
    "config_file_count",
    "p_id",
    "g_id",
    "created_at",
    "updated_at",
)
_Quota = Annotated[
    int | None, typer.Option("--gpu-quota", min=0, help="GPUs that may be in use at once (super administrators).")
]
_Privileged = Annotated[
    bool | None,
    typer.Option(
        "--allow-privileged/--forbid-privileged",
        help="Whether its manifests may ask for privileged containers and the like (super administrators).",
    ),
]


@application.command("list")
@listing
def list_projects(server: Server, paging: Paging, *, group: GroupFilter = None, q: Query = None) -> None:
    """List the projects of your groups; all of them for super administrators.

    Example: holdfast projects list --group physics
    """
    g_id = None if group is None else find_group(server.client, group)
    paging.show(server, "projects", ("project_name", "group_name", "gpu_quota", "p_id"), g_id=g_id, q=q)


@application.command("show")
@connected
def show_project(server: Server, project: ProjectArgument) -> None:
    """Show a project, with its quota and what is in use of it.

    Example: holdfast projects show physics/lab-1
    """
    server.show(server.client.get(path_of("projects", find_project(server.client, project))), _FIELDS)


@application.command("create")
@connected
def create_project(
    server: Server,
    project_name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name.")],
    *,
    group: Annotated[str, typer.Option("--group", metavar="GROUP", help="The group that owns it (name or id).")],
    description: Description = None,
    gpu_quota: _Quota = None,
    allow_privileged: _Privileged = None,
) -> None:
    """Make a project in a group.

    Example: holdfast projects create lab-1 --group physics --gpu-quota 4
    """
    g_id = find_group(server.client, group)
    body = given(
        project_name=project_name,
        g_id=g_id,
        description=description,
        gpu_quota=gpu_quota,
        allow_privileged=allow_privileged,
    )
    project: dict[str, Any] = server.client.post("projects", body)
    server.show(project, _FIELDS)


@application.command("edit")
@connected
def edit_project(
    server: Server,
    project: ProjectArgument,
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="A new name.")] = None,
    description: Description = None,
    gpu_quota: _Quota = None,
    allow_privileged: _Privileged = None,
) -> None:
    """Change a project's name, description, quota or privileges.

    Example: holdfast projects edit physics/lab-1 --gpu-quota 8
    """
    body = changes(project_name=name, description=description, gpu_quota=gpu_quota, allow_privileged=allow_privileged)
    server.show(server.client.patch(path_of("projects", find_project(server.client, project)), body), _FIELDS)
