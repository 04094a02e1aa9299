"""Holdfast with the same data, and its requests for the same operations."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from bench.field import server
from bench.field.client import Client
from bench.field.dataset import Dataset
from bench.field.server import Operation, Side
from bench.stand import loaded_stand
from holdfast.db.tables import group_list, tokens, user_group, users
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts.tokens import token_hash

_TOKEN = f"hf_bench{0:038}"
_ADMIN = "admin-of-the-bench"
_START = datetime(2026, 2, 5, 8, tzinfo=UTC)
_MOST_ON_A_PAGE = 100

Rows = Iterator[dict[str, Any]]


class FieldPopulation:
    """The dataset as rows."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def tables(self) -> Iterator[tuple[Table, Rows]]:
        """Each table with its rows, parents first."""
        yield users, self._users()
        yield tokens, iter([_admin_token()])
        yield group_list, self._groups()
        yield user_group, self._members()

    def _users(self) -> Rows:
        yield _user(_ADMIN, "bench-admin", 0)
        for number, name in enumerate(self._dataset.usernames):
            yield _user(_user_id(number), name, 1 + number)

    def _groups(self) -> Rows:
        yield {"g_id": SUPER_GROUP_ID, "group_name": SUPER_GROUP_NAME, "created_at": _START}
        for number, name in enumerate(self._dataset.group_names):
            yield {"g_id": _group_id(number), "group_name": name, "created_at": _START + timedelta(seconds=number)}

    def _members(self) -> Rows:
        yield {"u_id": _ADMIN, "g_id": SUPER_GROUP_ID, "role": "admin"}
        for group, user in self._dataset.memberships():
            yield {"u_id": _user_id(user), "g_id": _group_id(group), "role": "user"}


@contextmanager
def serve(dataset: Dataset, folder: Path) -> Iterator[Side]:
    """`holdfast serve` with its default settings on SQLite."""
    with (
        loaded_stand("sqlite", FieldPopulation(dataset), folder) as stand,
        stand.holdfast() as product,
    ):
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        yield Side(product.pid, product.port, "/readyz", headers, _operations(dataset))


def _operations(dataset: Dataset) -> dict[str, Operation]:
    async def list_users(client: Client, _: int) -> None:
        await client.ask("GET", f"/api/v1/users?limit={server.PAGE}")

    async def list_users_with_groups(client: Client, number: int) -> None:
        # Users do not tell their groups, but groups their members: as many memberships come from there.
        await list_users(client, number)
        await client.ask("GET", f"/api/v1/groups?include=members&limit={-(-server.PAGE // dataset.members)}")

    async def list_groups_with_members(client: Client, _: int) -> None:
        for page in range(-(-dataset.groups // _MOST_ON_A_PAGE)):
            await client.ask("GET", f"/api/v1/groups?include=members&limit={_MOST_ON_A_PAGE}&page={1 + page}")

    async def read_user(client: Client, number: int) -> None:
        await client.ask("GET", f"/api/v1/users/{_user_id(number % dataset.users)}")

    async def read_user_with_groups(client: Client, number: int) -> None:
        await read_user(client, number)
        await client.ask("GET", f"/api/v1/users/{_user_id(number % dataset.users)}/groups")

    async def create_user(client: Client, number: int) -> None:
        # Without a password: the one that is generated has the cheapest hash that there is here.
        await client.ask("POST", "/api/v1/users", {"username": f"new{number:05}"}, expected=201)

    async def add_member(client: Client, number: int) -> None:
        group, user = dataset.newcomer(number)
        await client.ask("POST", f"/api/v1/groups/{_group_id(group)}/members", {"u_id": _user_id(user)}, expected=201)

    async def delete_group(client: Client, number: int) -> None:
        g_id = _group_id(dataset.spare_group(number))
        plan = json.loads(await client.ask("POST", "/api/v1/deletion-plans", {"type": "group", "id": g_id}))
        await client.ask("DELETE", f"/api/v1/groups/{g_id}?plan={plan['token']}")

    return {
        server.LIST_USERS: list_users,
        server.LIST_USERS_WITH_GROUPS: list_users_with_groups,
        server.LIST_GROUPS_WITH_MEMBERS: list_groups_with_members,
        server.READ_USER: read_user,
        server.READ_USER_WITH_GROUPS: read_user_with_groups,
        server.CREATE_USER: create_user,
        server.ADD_MEMBER: add_member,
        server.DELETE_GROUP: delete_group,
    }


def _user(u_id: str, username: str, number: int) -> dict[str, Any]:
    moment = _START + timedelta(seconds=number)
    return {
        "u_id": u_id,
        "username": username,
        "password": "!",
        "email": f"{username}@example.edu",
        "full_name": "Grace Hopper",
        "created_at": moment,
        "updated_at": moment,
    }


def _admin_token() -> dict[str, Any]:
    return {
        "id": "token-of-the-bench",
        "user_id": _ADMIN,
        "kind": "session",
        "name": "bench",
        "token_hash": token_hash(_TOKEN),
        "scopes": "",
        "expires_at": datetime(2100, 1, 1, tzinfo=UTC),
    }


def _user_id(number: int) -> str:
    return f"user-{number:05}"


def _group_id(number: int) -> str:
    return f"group-{number:04}"
