"""The people of a test: one for each role of a group with a project, an outsider and a super administrator."""

import httpx

from tests.factories import make_group, make_member, make_project, make_super_admin, make_token, make_user
from tests.instance import Instance


class Cast:
    """A group, a project of it with a quota of 2 GPUs, and a client for each person."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.database = instance.database

    async def fill(self) -> "Cast":
        """Make the rows."""
        self.g_id = await make_group(self.database, "physics")
        self.p_id = await make_project(self.database, self.g_id, "simulation", gpu_quota=2)
        self.super_admin = await self._client_of(await make_super_admin(self.database))
        self.admin = await self._member("admin")
        self.manager = await self._member("manager")
        self.user = await self._member("user")
        self.outsider = await self._client_of(await make_user(self.database, "outsider"))
        return self

    async def _member(self, role: str) -> httpx.AsyncClient:
        u_id = await make_user(self.database, f"the-{role}")
        await make_member(self.database, u_id, self.g_id, role)
        return await self._client_of(u_id)

    async def _client_of(self, u_id: str) -> httpx.AsyncClient:
        return self.instance.client(await make_token(self.database, u_id))


async def audit_entries(instance: Instance, resource_type: str) -> list[tuple[str, str | None, str | None, str | None]]:
    """What the log says about a kind of thing: action, label, old and new data as text, in the order of writing."""
    async with instance.database.read() as tx:
        rows = await tx.fetch_text(
            "SELECT action, resource_label, old_data, new_data FROM audit_logs"
            f" WHERE resource_type = '{resource_type}' ORDER BY id"
        )
    return [(str(row[0]), row[1], row[2], row[3]) for row in rows]


async def count_rows(instance: Instance, table: str, condition: str = "1 = 1") -> int:
    """How many rows of a table fulfil a condition, deleted ones too."""
    async with instance.database.read() as tx:
        ((number,),) = await tx.fetch_text(f"SELECT count(*) FROM {table} WHERE {condition}")
    return int(number)
