"""A deletion may take longer than other work, and leaves nothing half done where it takes too long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.actor import Actor
from holdfast.db.engines.base import Database
from holdfast.db.errors import StatementTimeoutError
from holdfast.db.open import open_database
from holdfast.features.deletions import service as deletions
from holdfast.features.deletions.errors import DeletionTimeoutError
from holdfast.features.deletions.types import Deleted, Restored
from tests.db.rows import fetch
from tests.factories import make_form, make_group, make_message, make_project, make_super_admin, make_user
from tests.instance import Instance, instance_settings

_SERVERS = ("postgresql", "mariadb")
_PLAN_KEY = b"a key that only has to be the same twice"
_HELD_SECONDS = 0.8

OpenWith = Callable[..., AbstractAsyncContextManager[Database]]


class World:
    """A group with a form whose row somebody holds for a while, so that a statement takes as long."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def fill(self) -> "World":
        self.root = Actor(await make_super_admin(self.database, "root"), "root", is_super_admin=True)
        self.g_id = await make_group(self.database, "physics")
        p_id = await make_project(self.database, self.g_id, "course")
        user = await make_user(self.database, "ada")
        self.form_id = await make_form(self.database, user, p_id)
        await make_message(self.database, self.form_id, user)
        return self

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Somebody holds the form's row, and lets it go in a while."""
        async with self.database.write() as tx:
            await tx.fetch_text(f"SELECT 1 FROM forms WHERE id = '{self.form_id}' FOR UPDATE")
            letting_go = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(_HELD_SECONDS, letting_go.set_result, None)
            released = asyncio.create_task(self._hold(tx, letting_go))
            yield
            await released

    async def _hold(self, tx: Any, letting_go: asyncio.Future[None]) -> None:
        await letting_go
        await tx.fetch_text("ROLLBACK")

    async def marked(self) -> list[tuple[Any, ...]]:
        rows = await fetch(self.database, "SELECT count(*) FROM group_list WHERE deletion_id <> ''")
        rows += await fetch(self.database, "SELECT count(*) FROM forms WHERE deletion_id <> ''")
        return rows + await fetch(self.database, "SELECT count(*) FROM deletions WHERE state = 'deleted'")

    async def delete(self, database: Database) -> Deleted:
        async with database.read() as tx:
            plan = await deletions.plan_deletion(tx, self.root, "group", self.g_id, plan_key=_PLAN_KEY)
        wish = deletions.Wish(plan_token=plan.token, take_along=True)
        async with database.write() as tx:
            return await deletions.delete(tx, self.root, "group", self.g_id, wish, plan_key=_PLAN_KEY, kept_days=30)

    async def restore(self, database: Database, deletion_id: str) -> Restored:
        async with database.write() as tx:
            return await deletions.restore(tx, self.root, deletion_id)


@pytest.fixture
async def world(instance: Instance) -> World:
    return await World(instance.database).fill()


@pytest.fixture
def open_with(instance: Instance, tmp_path: Path) -> OpenWith:
    """Opens the database as another process would, with limits of its own."""

    def open_it(**limits: float) -> AbstractAsyncContextManager[Database]:
        return open_database(instance_settings(instance.settings.database_url, tmp_path, **limits)).running()

    return open_it


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_deletion_and_a_restore_may_take_longer_than_other_statements(
    world: World, open_with: OpenWith
) -> None:
    async with open_with(statement_timeout_seconds=0.2, deletion_timeout_seconds=30) as database:
        async with world.busy():
            deleted = await world.delete(database)
        assert deleted.counts == {"group_list": 1, "project_list": 1, "forms": 1, "form_messages": 1}
        async with world.busy():
            assert (await world.restore(database, deleted.deletion_id)).counts == deleted.counts
        # The connection that did it is like the others again.
        async with world.busy():
            with pytest.raises(StatementTimeoutError):
                async with database.write() as tx:
                    await tx.fetch_text(f"UPDATE forms SET title = 'late' WHERE id = '{world.form_id}'")


@pytest.mark.parametrize("engine", _SERVERS, scope="session", indirect=True)
async def test_a_deletion_over_its_limit_leaves_nothing_and_says_what_to_do(world: World, open_with: OpenWith) -> None:
    async with open_with(deletion_timeout_seconds=0.2) as database:
        async with world.busy():
            with pytest.raises(DeletionTimeoutError) as refused:
                await world.delete(database)
        assert refused.value.status == 503
        assert "nothing was deleted" in refused.value.message
        assert "HOLDFAST_DELETION_TIMEOUT_SECONDS" in refused.value.message
        assert await world.marked() == [(0,), (0,), (0,)]
        deletion_id = (await world.delete(database)).deletion_id
        async with world.busy():
            with pytest.raises(DeletionTimeoutError, match="nothing was restored"):
                await world.restore(database, deletion_id)
        assert await world.marked() == [(1,), (1,), (1,)]
        await world.restore(database, deletion_id)
        assert await world.marked() == [(0,), (0,), (0,)]
