"""`holdfast repositories`: known image repositories and their tags."""

from typing import Annotated

import typer

from holdfast.cli.client import path_of
from holdfast.cli.connected import Paging, Server, listing
from holdfast.cli.names import find_repository
from holdfast.cli.options import Query

application = typer.Typer(help="Known image repositories and their tags.", no_args_is_help=True, add_completion=False)


@application.command("list")
@listing
def list_repositories(server: Server, paging: Paging, *, q: Query = None) -> None:
    """List the repositories that requests and rules have named.

    Example: holdfast repositories list --q pytorch
    """
    paging.show(server, "repositories", ("full_name", "created_at", "id"), q=q)


@application.command("tags")
@listing
def list_tags(
    server: Server,
    paging: Paging,
    repository: Annotated[
        str, typer.Argument(metavar="REPOSITORY", help="Its full name, docker.io/library/nginx, or its id.")
    ],
    *,
    q: Query = None,
) -> None:
    """List the tags of a repository, with what is known of them in the cluster.

    Example: holdfast repositories tags docker.io/library/nginx
    """
    columns, spare = ("name", "digest", "id"), ("pushed_at", "size", "is_pulled", "last_pulled_at")
    path = path_of("repositories", find_repository(server.client, repository), "tags")
    paging.show(server, path, columns, spare=spare, q=q)
