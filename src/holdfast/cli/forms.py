"""`holdfast forms`: open, read, answer and decide them."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from holdfast.cli import terminal
from holdfast.cli.changes import given
from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, connected, listing
from holdfast.cli.names import find_project, find_user
from holdfast.cli.options import OptionalProject, ProjectFilter, Query, UserFilter

application = typer.Typer(help="Open, answer and decide forms.", no_args_is_help=True, add_completion=False)

_FIELDS = (
    "title",
    "status",
    "tag",
    "project_name",
    "username",
    "full_name",
    "description",
    "id",
    "created_at",
    "updated_at",
)
_Form = Annotated[str, typer.Argument(metavar="FORM", help="The form's id, from `holdfast forms list`.")]


class Status(StrEnum):
    """The state of a form."""

    PENDING = "Pending"
    PROCESSING = "Processing"
    COMPLETED = "Completed"
    REJECTED = "Rejected"


@application.command("list")
@listing
def list_forms(
    server: Server,
    paging: Paging,
    *,
    status: Annotated[
        Status | None, typer.Option("--status", case_sensitive=False, help="Only forms in this state.")
    ] = None,
    project: ProjectFilter = None,
    user: UserFilter = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only forms with this tag.")] = None,
    q: Query = None,
) -> None:
    """List your forms and those of projects where you are staff, newest first.

    Example: holdfast forms list --status pending --project physics/lab-1
    """
    project_id = None if project is None else find_project(server.client, project)
    user_id = None if user is None else find_user(server.client, user)
    columns, spare = ("status", "title", "username", "id"), ("created_at", "project_name", "tag")
    filters: dict[str, Any] = {"status": status, "project_id": project_id, "user_id": user_id, "tag": tag, "q": q}
    paging.show(server, "forms", columns, spare=spare, **filters)


@application.command("open")
@connected
def open_form(
    server: Server,
    title: Annotated[str, typer.Argument(help="What it is about, in one line.")],
    *,
    project: OptionalProject = None,
    message: Annotated[str | None, typer.Option("--message", metavar="TEXT", help="The first message.")] = None,
    description: Annotated[str | None, typer.Option("--description", metavar="TEXT", help="The details.")] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="A word to find it by, such as `gpu`.")] = None,
) -> None:
    """Open a form.

    Example: holdfast forms open "GPU is slow" --project physics/lab-1 --tag gpu --message "Since Monday"
    """
    project_id = None if project is None else find_project(server.client, project)
    body = given(title=title, project_id=project_id, message=message, description=description, tag=tag)
    form: dict[str, Any] = server.client.post("forms", body)
    _show(server, form)


@application.command("show")
@connected
def show_form(server: Server, form: _Form) -> None:
    """Show a form with its messages, oldest first.

    Example: holdfast forms show Ay0mF3xk2Qd1sZ8w_pLrT
    """
    _show(server, server.client.get(path_of("forms", form)))


@application.command("answer")
@connected
def answer_form(
    server: Server, form: _Form, message: Annotated[str, typer.Argument(metavar="TEXT", help="What to write.")]
) -> None:
    """Write on a form: its author or staff, while it is open.

    Example: holdfast forms answer Ay0mF3xk2Qd1sZ8w_pLrT "It is fixed, please try again"
    """
    answer = server.client.post(path_of("forms", form, "messages"), {"content": message})
    server.tell(answer, "Your message is on the form.")


@application.command("status")
@connected
def set_status(
    server: Server,
    form: _Form,
    status: Annotated[Status, typer.Argument(case_sensitive=False, help="The new state.")],
) -> None:
    """Change the state of a form (staff): Pending, Processing, then Completed or Rejected; staff may reopen.

    Example: holdfast forms status Ay0mF3xk2Qd1sZ8w_pLrT completed
    """
    answer = server.client.patch(path_of("forms", form), {"status": status})
    server.tell(answer, f"The form is {answer['status']} now.")


def _show(server: Server, form: dict[str, Any]) -> None:
    server.show(form, _FIELDS)
    if not server.as_json:
        for message in form.get("messages", []):
            written_at = terminal.shown(message["created_at"], "created_at")
            terminal.print_sentence(f"\n{message['username']}, {written_at}:\n{message['content']}")
