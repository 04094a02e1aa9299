"""`holdfast workloads`: what runs, or asks to run, under a project's GPU quota."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli.changes import given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Row, Server, connected, listing
from holdfast.cli.names import find_project, find_user
from holdfast.cli.options import ProjectFilter, ProjectOption, Query, UserFilter

application = typer.Typer(help="What runs, or asks to run.", no_args_is_help=True, add_completion=False)

_COLUMNS = ("status", "name", "project_name", "image", "username", "gpus", "id")
_SPARE = ("gpus", "project_name", "created_at")
_FIELDS = (
    "name",
    "status",
    "image",
    "project_name",
    "username",
    "namespace",
    "k8s_pod_name",
    "priority",
    "resource_cpu",
    "resource_mem",
    "resource_gpu",
    "id",
    "created_at",
    "started_at",
    "updated_at",
)
_Workload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Its id, from `holdfast workloads list`.")]


class Status(StrEnum):
    """The state of a workload."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@application.command("list")
@listing
def list_workloads(
    server: Server,
    paging: Paging,
    *,
    status: Annotated[
        Status | None, typer.Option("--status", case_sensitive=False, help="Only workloads in this state.")
    ] = None,
    project: ProjectFilter = None,
    user: UserFilter = None,
    q: Query = None,
) -> None:
    """List the workloads of your groups' projects, newest first.

    Example: holdfast workloads list --status running --project physics/lab-1
    """
    project_id = None if project is None else find_project(server.client, project)
    user_id = None if user is None else find_user(server.client, user)
    filters = {"status": status, "project_id": project_id, "user_id": user_id, "q": q}
    paging.show(server, "workloads", _COLUMNS, spare=_SPARE, for_people=_for_people, **filters)


@application.command("create")
@connected
def create_workload(
    server: Server,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    *,
    project: ProjectOption,
    image: Annotated[str, typer.Option("--image", metavar="IMAGE", help="An image that the project may run.")],
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs; they count against the quota.")] = None,
    cpu: Annotated[str | None, typer.Option("--cpu", metavar="AMOUNT", help="CPU, as 500m or 4.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="AMOUNT", help="Memory, as 16Gi.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher goes first; 1000 if left out.")] = None,
) -> None:
    """Ask to run a workload. It is refused when the quota or the allow list says no, with the numbers.

    Example: holdfast workloads create train --project physics/lab-1 --image pytorch/pytorch:2.9.0 --gpus 1
    """
    body = given(
        name=name,
        project_id=find_project(server.client, project),
        image=image,
        resource_gpu=gpus,
        resource_cpu=cpu,
        resource_mem=memory,
        priority=priority,
    )
    workload: dict[str, Any] = server.client.post("workloads", body)
    server.show(workload, _FIELDS)


@application.command("show")
@connected
def show_workload(server: Server, workload: _Workload) -> None:
    """Show a workload.

    Example: holdfast workloads show Ay0mF3xk2Qd1sZ8w_pLrT
    """
    server.show(server.client.get(path_of("workloads", workload)), _FIELDS)


@application.command("status")
@connected
def set_status(
    server: Server,
    workload: _Workload,
    status: Annotated[Status, typer.Argument(case_sensitive=False, help="The new state.")],
) -> None:
    """Change the state of a workload; an ended one gives its GPUs back.

    Example: holdfast workloads status Ay0mF3xk2Qd1sZ8w_pLrT succeeded
    """
    answer = server.client.patch(path_of("workloads", workload), {"status": status})
    server.tell(answer, f"{answer['name']} is {answer['status']} now.")


def _for_people(workload: Row) -> Row:
    return workload | {"gpus": workload["resource_gpu"]}
