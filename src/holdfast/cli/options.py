"""Arguments and options that several commands share, so that they read alike everywhere."""

from enum import StrEnum
from typing import Annotated

import typer

Query = Annotated[str | None, typer.Option("--q", metavar="TEXT", help="Only rows that contain this text.")]

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="A user name or id; `me` is yourself.")]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="A group's name or id.")]
ProjectArgument = Annotated[
    str, typer.Argument(metavar="PROJECT", help="A project's name, GROUP/NAME where names repeat, or its id.")
]

GroupFilter = Annotated[str | None, typer.Option("--group", metavar="GROUP", help="Only of this group (name or id).")]
ProjectFilter = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="Only of this project (name, GROUP/NAME or id).")
]
UserFilter = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only of this user (name or id).")]

ProjectOption = Annotated[
    str, typer.Option("--project", metavar="PROJECT", help="The project: its name, GROUP/NAME, or id.")
]
OptionalProject = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT", help="The project: its name, GROUP/NAME, or id.")
]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]


class Role(StrEnum):
    """What a member may do in a group."""

    ADMIN = "admin"
    MANAGER = "manager"
    USER = "user"
