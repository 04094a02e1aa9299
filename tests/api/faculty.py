"""Who the tests of users and groups are about."""

from typing import Any

import httpx

from tests.factories import make_group, make_member, make_super_admin, make_token, make_user
from tests.instance import Instance


class Faculty:
    """A super administrator, a group with an admin, a manager and a student, and an outsider, each with a client."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.ids: dict[str, str] = {}
        self.clients: dict[str, httpx.AsyncClient] = {}

    async def fill(self) -> "Faculty":
        database = self.instance.database
        self.g_id = await make_group(database, "physics")
        self.ids["root"] = await make_super_admin(database, "root")
        for username, role in (("head", "admin"), ("teacher", "manager"), ("student", "user"), ("outsider", None)):
            self.ids[username] = await make_user(database, username)
            if role is not None:
                await make_member(database, self.ids[username], self.g_id, role)
        for username, u_id in self.ids.items():
            self.clients[username] = self.instance.client(await make_token(database, u_id))
        return self

    def __getitem__(self, username: str) -> httpx.AsyncClient:
        return self.clients[username]

    async def statuses(self, method: str, path: str, json: Any = None) -> dict[str, int]:
        return {
            name: (await client.request(method, path, json=json)).status_code for name, client in self.clients.items()
        }
