"""What `holdfast delete` can delete: how each kind is named on the command line, and where the API has it."""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from holdfast.cli.client import Client, path_of
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.names import find_config_file, find_group, find_project, find_repository, find_user
from holdfast.core.ids import is_id


class RootType(StrEnum):
    """The kinds of things that can be deleted."""

    USER = "user"
    GROUP = "group"
    MEMBER = "member"
    PROJECT = "project"
    CONFIG_FILE = "config-file"
    FORM = "form"
    FORM_MESSAGE = "form-message"
    IMAGE_REQUEST = "image-request"
    IMAGE = "image"
    REPOSITORY = "repository"
    TAG = "tag"
    WORKLOAD = "workload"


class Root(msgspec.Struct, frozen=True):
    """One thing: its id as plans name it, and its path in the API."""

    type: RootType
    id: str
    path: str


def find_root(client: Client, root_type: RootType, name: str) -> Root:
    """The thing that a name or an id stands for; not for every kind it is asked whether it is there."""
    find = _FINDERS.get(root_type)
    if find is not None:
        return find(client, name)
    return Root(root_type, name, path_of(f"{root_type}s", name))


def _find_user(client: Client, name: str) -> Root:
    u_id = find_user(client, name)
    return Root(RootType.USER, u_id, path_of("users", u_id))


def _find_group(client: Client, name: str) -> Root:
    g_id = find_group(client, name)
    return Root(RootType.GROUP, g_id, path_of("groups", g_id))


def _find_project(client: Client, name: str) -> Root:
    p_id = find_project(client, name)
    return Root(RootType.PROJECT, p_id, path_of("projects", p_id))


def _find_member(client: Client, name: str) -> Root:
    group, user = _halves(name, "/", "GROUP/USER")
    g_id, u_id = find_group(client, group), find_user(client, user)
    return Root(RootType.MEMBER, f"{g_id}/{u_id}", path_of("groups", g_id, "members", u_id))


def _find_config_file(client: Client, name: str) -> Root:
    cf_id: str | None = name
    if not is_id(name):
        project, filename = _halves(name, "/", "PROJECT/FILENAME, or the id")
        cf_id = find_config_file(client, find_project(client, project), filename)
        if cf_id is None:
            raise CommandFailedError(f"the project has no config file named {filename!r}", code="not_found")
    return Root(RootType.CONFIG_FILE, str(cf_id), path_of("config-files", str(cf_id)))


def _find_message(client: Client, name: str) -> Root:
    form, message = _halves(name, "/", "FORM/MESSAGE, the ids of both")
    return Root(RootType.FORM_MESSAGE, message, path_of("forms", form, "messages", message))


def _find_repository(client: Client, name: str) -> Root:
    repository_id = find_repository(client, name)
    return Root(RootType.REPOSITORY, repository_id, path_of("repositories", repository_id))


def _find_tag(client: Client, name: str) -> Root:
    repository, tag = _halves(name, ":", "REPOSITORY:TAG")
    repository_id = find_repository(client, repository)
    for row in client.rows(path_of("repositories", repository_id, "tags"), q=tag):
        if tag in (row["id"], row["name"]):
            return Root(RootType.TAG, row["id"], path_of("repositories", repository_id, "tags", row["id"]))
    raise CommandFailedError(f"{repository} has no tag named {tag!r}", code="not_found")


def _halves(name: str, sign: str, form: str) -> tuple[str, str]:
    first, _, last = name.rpartition(sign)
    if not first or not last:
        raise CommandFailedError(f"write it as {form}", ExitCode.WRONG_USAGE)
    return first, last


_FINDERS: dict[RootType, Callable[[Client, str], Root]] = {
    RootType.USER: _find_user,
    RootType.GROUP: _find_group,
    RootType.MEMBER: _find_member,
    RootType.PROJECT: _find_project,
    RootType.CONFIG_FILE: _find_config_file,
    RootType.FORM_MESSAGE: _find_message,
    RootType.REPOSITORY: _find_repository,
    RootType.TAG: _find_tag,
}
