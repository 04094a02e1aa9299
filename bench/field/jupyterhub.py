"""JupyterHub: users, each with the names of their groups; a group owns nothing but its members."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.field import server
from bench.field.client import Client
from bench.field.dataset import Dataset
from bench.field.server import START, Operation, Side

# Only the first request uses it; it is longer than the least that the hub accepts.
_FIRST_TOKEN = "0123456789abcdef" * 2
_MOMENT = "2026-02-05 08:00:00.000000"
_USER_ROLE = "SELECT id FROM roles WHERE name = 'user'"


@contextmanager
def serve(programs: Path, dataset: Dataset, folder: Path) -> Iterator[Side]:
    """The hub alone: no proxy, no notebook servers."""

    def command(port: int) -> list[str]:
        place = [f"BENCH_PORT={port}", f"BENCH_FOLDER={folder}", f"BENCH_TOKEN={_FIRST_TOKEN}"]
        config = f"--config={START / 'jupyterhub_config.py'}"
        return ["env", *place, str(programs / "jupyterhub"), config]

    with server.running(command, server.environment(folder), folder, ready="/hub/api/") as hub:
        _fill(folder / "hub.db", dataset)
        yield hub.side(_headers(_own_token(hub.port)), _operations(dataset))


def _operations(dataset: Dataset) -> dict[str, Operation]:
    names, groups = dataset.usernames, dataset.group_names

    async def add_member(client: Client, number: int) -> None:
        group, user = dataset.newcomer(number)
        await client.ask("POST", f"/hub/api/groups/{groups[group]}/users", {"users": [names[user]]})

    return {
        server.LIST_USERS_WITH_GROUPS: lambda client, _: client.ask("GET", f"/hub/api/users?limit={server.PAGE}"),
        server.READ_USER_WITH_GROUPS: lambda client, number: client.ask(
            "GET", f"/hub/api/users/{names[number % len(names)]}"
        ),
        server.CREATE_USER: lambda client, number: client.ask("POST", f"/hub/api/users/new{number:05}", expected=201),
        server.ADD_MEMBER: add_member,
        server.DELETE_GROUP: lambda client, number: client.ask(
            "DELETE", f"/hub/api/groups/{groups[dataset.spare_group(number)]}", expected=204
        ),
    }


def _own_token(port: int) -> str:
    """A token that the hub made itself: it hashes those once, and those from its settings 16,384 times a request."""
    answer, _ = server.ask(port, _headers(_FIRST_TOKEN), "POST", "/hub/api/users/admin/tokens", {})
    token: str = json.loads(answer)["token"]
    return token


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}", "Accept": "application/jupyterhub-pagination+json"}


def _fill(database: Path, dataset: Dataset) -> None:
    role, first = server.fetch_one(database, _USER_ROLE), 1000
    users = [
        {"id": first + number, "name": name, "admin": 0, "created": _MOMENT, "cookie_id": f"{number:032x}"}
        for number, name in enumerate(dataset.usernames)
    ]
    groups = [
        {"id": first + number, "name": name, "properties": "{}"} for number, name in enumerate(dataset.group_names)
    ]
    members = [{"user_id": first + user, "group_id": first + group} for group, user in dataset.memberships()]
    roles = [{"user_id": user["id"], "role_id": role, "managed_by_auth": 0} for user in users]
    server.insert(
        database, [("users", users), ("user_role_map", roles), ("groups", groups), ("user_group_map", members)]
    )
