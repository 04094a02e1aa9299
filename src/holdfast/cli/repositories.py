"""`holdfast repositories`: known image repositories and their tags."""

from typing import Annotated

import typer

from holdfast.cli.client import Client, path_of
from holdfast.cli.connected import Paging, Server, listing
from holdfast.cli.failures import CommandFailedError
from holdfast.cli.options import Query
from holdfast.core.ids import is_id

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
    repository_id = repository if is_id(repository) else _find_repository(server.client, repository)
    paging.show(server, path_of("repositories", repository_id, "tags"), columns, spare=spare, q=q)


def _find_repository(client: Client, full_name: str) -> str:
    for row in client.rows("repositories", q=full_name):
        if row["full_name"] == full_name:
            return str(row["id"])
    raise CommandFailedError(
        f"no repository is named {full_name!r}; write it in full, as docker.io/library/nginx", code="not_found"
    )
