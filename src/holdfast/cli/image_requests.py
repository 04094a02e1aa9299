"""`holdfast image-requests`: ask for an image; approve or reject."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli.changes import given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Row, Server, connected, listing
from holdfast.cli.names import find_project, find_user
from holdfast.cli.options import OptionalProject, ProjectFilter, Query, UserFilter

application = typer.Typer(help="Ask for an image; approve or reject.", no_args_is_help=True, add_completion=False)

_COLUMNS = ("status", "image", "project_name", "username", "id")
_FIELDS = (
    "image",
    "project_name",
    "status",
    "username",
    "id",
    "created_at",
    "reviewer_name",
    "reviewed_at",
    "reviewer_note",
    "image_id",
)
_Request = Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, from `holdfast image-requests list`.")]


class Status(StrEnum):
    """The state of a request."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


@application.command("list")
@listing
def list_requests(
    server: Server,
    paging: Paging,
    *,
    status: Annotated[Status | None, typer.Option("--status", help="Only requests in this state.")] = None,
    project: ProjectFilter = None,
    user: UserFilter = None,
    q: Query = None,
) -> None:
    """List your requests and those of projects where you are staff, newest first.

    Example: holdfast image-requests list --status pending
    """
    project_id = None if project is None else find_project(server.client, project)
    user_id = None if user is None else find_user(server.client, user)
    filters = {"status": status, "project_id": project_id, "user_id": user_id, "q": q}
    paging.show(server, "image-requests", _COLUMNS, spare=("created_at",), for_people=_for_people, **filters)


@application.command("create")
@connected
def create_request(
    server: Server,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="As for docker pull: nginx:1.27, ghcr.io/org/app:2.")],
    *,
    project: OptionalProject = None,
) -> None:
    """Ask for an image, for one project or (without --project) for all.

    Example: holdfast image-requests create pytorch/pytorch:2.9.0 --project physics/lab-1
    """
    project_id = None if project is None else find_project(server.client, project)
    request: dict[str, Any] = server.client.post("image-requests", given(image_name=image, project_id=project_id))
    _show(server, request)


@application.command("show")
@connected
def show_request(server: Server, request: _Request) -> None:
    """Show a request and its decision.

    Example: holdfast image-requests show Ay0mF3xk2Qd1sZ8w_pLrT
    """
    _show(server, server.client.get(path_of("image-requests", request)))


@application.command("approve")
@connected
def approve_request(
    server: Server,
    request: _Request,
    *,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A word to who asked.")] = None,
    for_everyone: Annotated[
        bool, typer.Option("--for-everyone", help="Allow the image in every project, not in the asking one alone.")
    ] = False,
) -> None:
    """Allow what a pending request asks for (super administrators).

    Example: holdfast image-requests approve Ay0mF3xk2Qd1sZ8w_pLrT --note "Scanned, fine"
    """
    answer = server.client.post(
        path_of("image-requests", request, "approve"), given(note=note, is_global=for_everyone or None)
    )
    everywhere = "every project" if for_everyone or not answer.get("project_name") else answer["project_name"]
    server.tell(answer, f"{_image(answer)} is allowed in {everywhere} now.")


@application.command("reject")
@connected
def reject_request(
    server: Server,
    request: _Request,
    *,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; who asked reads it.")],
) -> None:
    """Turn down a pending request, with the reason (super administrators).

    Example: holdfast image-requests reject Ay0mF3xk2Qd1sZ8w_pLrT --note "Use 1.27, 1.9 has known holes"
    """
    answer = server.client.post(path_of("image-requests", request, "reject"), {"note": note})
    server.tell(answer, f"The request for {_image(answer)} is rejected.")


def _show(server: Server, request: Row) -> None:
    server.show(request if server.as_json else _for_people(request), _FIELDS)


def _for_people(request: Row) -> Row:
    return request | {"image": _image(request), "project_name": request["project_name"] or "everyone"}


def _image(request: Row) -> str:
    return f"{request['input_registry']}/{request['input_image_name']}:{request['input_tag']}"
