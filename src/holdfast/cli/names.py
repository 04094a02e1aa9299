"""From what people type to ids: a user name, the name of a group, `project` or `group/project`, or the id itself.

An id wins over a name, so that nobody can take the place of another by choosing a name that looks like an id.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.cli.client import Client, path_of
from holdfast.cli.failures import CommandFailedError
from holdfast.core.ids import SHORT_WIDTH, is_id


class _Noun(msgspec.Struct, frozen=True):
    """A kind of thing that has names: its list, its key, when a row has the name, and what tells rows apart."""

    plural: str
    key: str
    fits: Callable[[dict[str, Any]], bool]
    describe: Callable[[dict[str, Any]], str]


def find_user(client: Client, name: str) -> str:
    """The id of a user, by user name or id; `me` is the caller."""
    me = client.get("me")
    own = me.get("user", me)
    if name in ("me", own["u_id"], own["username"]):
        return str(own["u_id"])
    return _find(
        client,
        name,
        _Noun("users", "u_id", lambda row: bool(row["username"] == name), lambda row: row.get("full_name") or ""),
    )


def find_group(client: Client, name: str) -> str:
    """The id of a group, by name or id."""
    return _find(
        client,
        name,
        _Noun("groups", "g_id", lambda row: bool(row["group_name"] == name), lambda row: row.get("description") or ""),
    )


def find_project(client: Client, name: str) -> str:
    """The id of a project, by name, `group/name` or id."""
    group, slash, alone = name.rpartition("/")

    def fits(row: dict[str, Any]) -> bool:
        by_whole_name = row["project_name"] == name
        return bool(by_whole_name or (slash and row["project_name"] == alone and row["group_name"] == group))

    return _find(
        client, name, _Noun("projects", "p_id", fits, lambda row: f"{row['group_name']}/{row['project_name']}")
    )


def find_repository(client: Client, name: str) -> str:
    """The id of a repository, by full name or id."""
    if is_id(name):
        return name
    for row in client.rows("repositories", q=name):
        if row["full_name"] == name:
            return str(row["id"])
    raise CommandFailedError(
        f"no repository is named {name!r}; write it in full, as docker.io/library/nginx", code="not_found"
    )


def find_config_file(client: Client, p_id: str, filename: str) -> str | None:
    """The id of a project's config file, by filename."""
    for row in client.rows(path_of("projects", p_id, "config-files"), filename=filename):
        return str(row["cf_id"])
    return None


def _find(client: Client, name: str, noun: _Noun) -> str:
    if is_id(name, width=SHORT_WIDTH) and client.find(path_of(noun.plural, name)) is not None:
        return name
    found = [row for row in client.rows(noun.plural, q=name.rpartition("/")[2]) if noun.fits(row)]
    if len(found) == 1:
        return str(found[0][noun.key])
    if not found:
        raise CommandFailedError(
            f"there is no {noun.plural.removesuffix('s')} named {name!r}, or you may not see it", code="not_found"
        )
    raise CommandFailedError(
        f"{len(found)} {noun.plural} are named {name!r}; give the id of one of them",
        lines=[f"{row[noun.key]}  {noun.describe(row)}".rstrip() for row in found],
    )
