"""dstack: users, and projects with members, which are its groups."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.field import server
from bench.field.client import Client
from bench.field.dataset import Dataset
from bench.field.server import START, Operation, Side

_TOKEN = "0123456789abcdef" * 2
_MOMENT = "2026-02-05 08:00:{:02}.{:06}"


@contextmanager
def serve(programs: Path, dataset: Dataset, folder: Path) -> Iterator[Side]:
    """Its server, without the work in the background."""
    variables = server.environment(
        folder,
        DSTACK_SERVER_DIR=str(folder / "server"),
        DSTACK_SERVER_ADMIN_TOKEN=_TOKEN,
        DSTACK_SERVER_BACKGROUND_PROCESSING_DISABLED="1",
        DSTACK_DO_NOT_UPDATE_DEFAULT_PROJECT="1",
    )

    def command(port: int) -> list[str]:
        start = [str(programs / "python"), str(START / "dstack_server.py"), "server"]
        return [*start, "--host", "127.0.0.1", "--port", str(port)]

    with server.running(command, variables, folder, ready="/api/server/get_info") as dstack:
        _fill(folder / "server/data/sqlite.db", dataset)
        yield dstack.side({"Authorization": f"Bearer {_TOKEN}"}, _operations(dataset))


def _operations(dataset: Dataset) -> dict[str, Operation]:
    names, projects = dataset.usernames, dataset.group_names

    async def create_user(client: Client, number: int) -> None:
        await client.ask("POST", "/api/users/create", {"username": f"new{number:05}", "global_role": "user"})

    async def add_member(client: Client, number: int) -> None:
        project, user = dataset.newcomer(number)
        members = [{"username": names[user], "project_role": "user"}]
        await client.ask("POST", f"/api/projects/{projects[project]}/add_members", {"members": members})

    return {
        server.LIST_USERS: lambda client, _: client.ask(
            "POST", "/api/users/list", {"limit": server.PAGE, "return_total_count": True}
        ),
        server.READ_USER: lambda client, number: client.ask(
            "POST", "/api/users/get_user", {"username": names[number % len(names)]}
        ),
        server.CREATE_USER: create_user,
        server.ADD_MEMBER: add_member,
        server.DELETE_GROUP: lambda client, number: client.ask(
            "POST", "/api/projects/delete", {"projects_names": [projects[dataset.spare_group(number)]]}
        ),
    }


def _fill(database: Path, dataset: Dataset) -> None:
    owner = server.fetch_one(database, "SELECT id FROM users WHERE name = 'admin'")
    keys = {
        column: server.fetch_one(database, f"SELECT {column} FROM users WHERE name = 'admin'")
        for column in ("ssh_private_key", "ssh_public_key")
    }
    users = [
        {
            "id": _id("user", number),
            "name": name,
            "token": f"enc:identity:noname:token of {name}",
            "token_hash": hashlib.sha256(f"token of {name}".encode()).hexdigest(),
            "global_role": "USER",
            "projects_quota": 10,
            "active": 1,
            "created_at": _MOMENT.format(number // 100, number),
        }
        | keys
        for number, name in enumerate(dataset.usernames)
    ]
    projects = [
        {
            "id": _id("project", number),
            "name": name,
            "owner_id": owner,
            "deleted": 0,
            "created_at": _MOMENT.format(number // 100, number),
        }
        | keys
        for number, name in enumerate(dataset.group_names)
    ]
    members = [
        {
            "id": _id("member", number),
            "project_id": _id("project", project),
            "user_id": _id("user", user),
            "project_role": "USER",
            "member_num": number,
        }
        for number, (project, user) in enumerate(dataset.memberships())
    ]
    server.insert(database, [("users", users), ("projects", projects), ("members", members)])


def _id(kind: str, number: int) -> str:
    return uuid.UUID(bytes=hashlib.sha256(f"{kind} {number}".encode()).digest()[:16], version=4).hex
