"""`kill -9` of the real server within an act asked for over HTTP, and of `holdfast recover`.

test_killing.py kills the bare acts after each statement; this shows the same for the whole process: HTTP, pool, worker,
shared commits. After each death of a server another one, which nothing touches, is started on what it left and asked
what became of it; beside a recovery one runs all the time.

Moments are the ends of statements that write, commits, and files brought to the disk. A delete and a restore die at
each. Of the some sixty of a purge it is every seventh, of the some forty of a recovery every fifth, from another one on
each engine and out of step with their transactions, which have three and two; and the last three, at which everything
is done and nobody was told.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.db import schedule
from holdfast.db.address import parse_address
from holdfast.db.lifecycle.bundle_file import open_bundle
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.worker.registry import intervals_of
from tests.conftest import ENGINES, NewDatabase
from tests.db.rows import fetch, run
from tests.factories import make_token
from tests.instance import Instance, instance_settings
from tests.lifecycle.commands import Caller, Commands, environment_of, preloaded, serving
from tests.lifecycle.model import Deletion
from tests.lifecycle.scenes import Scene
from tests.lifecycle.world import dump_deletions, dump_rows
from tests.test_serve import serving as serving_program

pytestmark = pytest.mark.slow

_MOST_MOMENTS = 300
_LONG_AGO = "2020-01-01 00:00:00.000000"


class Stage:
    """A database of its own, and the commands that run on it."""

    def __init__(self, engine: str, url: str, folder: Path, servers: Commands, recoveries: Commands) -> None:
        self._number = ENGINES.index(engine)
        self._engine = engine
        self._folder = folder
        self._settings = instance_settings(url, folder)
        self._environment = environment_of(url, folder)
        self.token = ""
        self.servers = servers
        self.recoveries = recoveries

    async def set(self) -> Scene:
        """A scene in an empty database, and who may do everything. No periodic job is due."""
        async with open_database(self._settings).running() as database:
            instance = Instance(self._engine, self._settings, "", database)
            await instance.clear()
            scene = Scene(instance, "left group")
            scene.clear_bundles()
            await scene.fill()
            self.token = await make_token(database, scene.world.root.user_id)
            scene.model.rows = await dump_rows(database)
            async with database.write() as tx:
                await schedule.keep(tx, intervals_of(self._settings), lambda: utc_now() + timedelta(hours=1))
        return scene

    @asynccontextmanager
    async def seen(self, scene: Scene) -> AsyncIterator[Scene]:
        """The scene with its database open; SQLite's file belongs to the commands alone before and after."""
        async with open_database(self._settings).running() as database:
            scene.use(database)
            yield scene

    def server(self, **dying: Any) -> AbstractContextManager[Caller]:
        """A server that dies as it is told, or not."""
        return serving(self.servers, self._environment, self.token, **dying)

    @asynccontextmanager
    async def program(self) -> AsyncIterator[Caller]:
        """The installed program, started as people start it."""
        with serving_program(self._folder, database_url=self._settings.database_url) as server:
            caller = Caller(server.url, self.token)
            yield caller
            caller.client.close()

    def recover(self, deletion: Deletion, **dying: Any) -> None:
        """Start the recovery of a deletion."""
        bundle = self._settings.resolved_bundle_dir / f"{deletion.id}.bundle.zip"
        self.recoveries.start("recover", str(bundle), "--json", environment=self._environment, **dying)

    def every(self, step: int) -> "Moments":
        """The moments of a long act on this engine."""
        return Moments(1 + self._number, step)


class Moments:
    """Some moments of an act until it comes to its end, which the test tells; then its last three, backwards."""

    def __init__(self, first: int, step: int) -> None:
        self._moments = range(first, _MOST_MOMENTS, step)
        self.has_ended = False

    def __iter__(self) -> Iterator[int]:
        deaths: list[int] = []
        for moment in self._moments:
            yield moment
            if self.has_ended:
                break
            deaths.append(moment)
        assert self.has_ended, "the act never came to its end"
        among_the_last = 0
        for earlier in range(deaths[-1] + self._moments.step - 1, 0, -1):
            self.has_ended = False
            if earlier not in deaths:
                yield earlier
            among_the_last += not self.has_ended
            if among_the_last == 3:
                return


@pytest.fixture(scope="module")
async def stage(
    engine: str, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    url, folder = new_database(engine), tmp_path_factory.mktemp("killed")
    await migrate(parse_address(url))
    with ExitStack() as stack:
        servers, recoveries = (stack.enter_context(preloaded(folder)) for _ in range(2))
        yield Stage(engine, url, folder, servers, recoveries)


async def test_a_killed_server_has_deleted_everything_or_nothing(stage: Stage) -> None:
    outcomes = []
    for moment in range(1, _MOST_MOMENTS):
        scene = await stage.set()
        root = scene.root[1][0]
        with stage.server(dies_at=moment, in_request=f"DELETE /api/v1/groups/{root}") as server:
            plan = server.done("POST", "/deletion-plans", json={"type": "group", "id": root})
            wish = {"plan": plan["token"], "take_along": True}
            if server.ask("DELETE", f"/groups/{root}", params=wish) is not None:
                break
            assert stage.servers.wait().was_killed
        with stage.server() as server:
            found = server.done("GET", "/deletions", params={"root_id": root})["items"]
            outcomes.append(len(found))
            assert server.status(f"/groups/{root}") == (404 if found else 200)
            async with stage.seen(scene):
                for deletion in found:
                    assert deletion["state"] == "deleted"
                    assert deletion["planned_counts"] == deletion["actual_counts"] == plan["counts"]
                    assert (await scene.follow_delete(deletion["id"])).counts == plan["counts"]
                await scene.require_model()
                assert len(await scene.audited("delete")) == len(found)
            again = server.done("DELETE", f"/groups/{root}", status=404 if found else 200, params=wish)
            if not found:
                assert again["counts"] == plan["counts"]
                async with stage.seen(scene):
                    await scene.follow_delete(again["deletion_id"])
                    await scene.require_model()
    assert outcomes == [0] * (len(outcomes) - 1) + [1]


async def test_what_the_installed_program_answered_outlives_its_kill(stage: Stage) -> None:
    scene = await stage.set()
    root = scene.root[1][0]
    async with stage.program() as server:
        plan = server.done("POST", "/deletion-plans", json={"type": "group", "id": root})
        wish = {"plan": plan["token"], "take_along": True}
        deleted = server.done("DELETE", f"/groups/{root}", params=wish)
    # Left at once, it is killed.
    async with stage.program() as server:
        assert server.status(f"/groups/{root}") == 404
        found = server.done("GET", f"/deletions/{deleted['deletion_id']}")
        assert found["actual_counts"] == deleted["counts"] == plan["counts"]
    async with stage.seen(scene):
        await scene.follow_delete(deleted["deletion_id"])
        await scene.require_model()


async def test_a_killed_server_has_restored_everything_or_nothing(stage: Stage) -> None:
    states = []
    for moment in range(1, _MOST_MOMENTS):
        scene = await stage.set()
        async with stage.seen(scene):
            deletion = await scene.delete()
        root, path = scene.root[1][0], f"/deletions/{deletion.id}"
        with stage.server(dies_at=moment, in_request=f"POST /api/v1{path}/restore") as server:
            if server.ask("POST", f"{path}/restore") is not None:
                break
            assert stage.servers.wait().was_killed
        with stage.server() as server:
            states.append(server.done("GET", path)["state"])
            is_restored = states[-1] == "restored"
            assert server.status(f"/groups/{root}") == (200 if is_restored else 404)
            async with stage.seen(scene):
                if is_restored:
                    scene.model.restore(deletion)
                await scene.require_model()
            again = server.done("POST", f"{path}/restore")
            assert again["counts"] == ({} if is_restored else deletion.counts)
            async with stage.seen(scene):
                if not is_restored:
                    scene.model.restore(deletion)
                await scene.require_model()
                assert len(await scene.audited("restore")) == 1
    assert states == ["deleted"] * (len(states) - 1) + ["restored"]


async def test_a_purge_whose_server_is_killed_is_finished_by_the_next_one(stage: Stage) -> None:
    states = set()
    for moment in (moments := stage.every(7)):
        scene = await stage.set()
        async with stage.seen(scene):
            deletion = await scene.delete()
        path = f"/deletions/{deletion.id}"
        dying = {"in_request": f"POST /api/v1{path}/purge", "from_statement": "jobs.claim"}
        with stage.server(dies_at=moment, **dying) as server:
            answer = server.ask("POST", f"{path}/purge")
            assert answer is None or answer.status_code == 202
            assert stage.servers.wait().was_killed
        async with stage.seen(scene):
            await scene.require_consistency()
            await _require_gone_rows_in_the_bundle(scene, deletion)
            job = await fetch(scene.database, "SELECT state FROM jobs WHERE name = 'deletions.purge'")
            states.add((await dump_deletions(scene.database))[deletion.id][1])
            await _let_leases_end(scene)
        if job == [("done",)]:
            # It died of a moment after the act.
            moments.has_ended = True
            continue
        if not job:
            with stage.server() as server:
                server.done("POST", f"{path}/purge", status=202)
        with stage.server() as server:
            purged = server.wait_for(path, lambda found: found["state"] not in {"deleted", "purging"})
            assert purged["state"] == "purged", purged
            assert purged["removed_counts"] == scene.model.purge(deletion, scene.audit_rows)
            refused = server.done("POST", f"{path}/purge", status=409)
            assert refused["code"] == "purge_refused"
        async with stage.seen(scene):
            await scene.require_model()
            # It was asked for, it began, and it ended.
            assert len(await scene.audited("purge")) == 3
            assert not list(scene.bundles.rglob("*.part"))
    assert states == {"deleted", "purging", "purged"}


async def test_a_killed_recovery_shows_nothing_or_all_and_is_finished_by_the_next(stage: Stage) -> None:
    states = set()
    await stage.set()
    # It runs all the time, as it may.
    with stage.server() as server:
        for moment in (moments := stage.every(5)):
            scene = await stage.set()
            server.sign_in(stage.token)
            async with stage.seen(scene):
                deletion = await scene.delete()
                await scene.purge(deletion)
            root, path = f"/groups/{scene.root[1][0]}", f"/deletions/{deletion.id}"
            before = scene.live_rows()
            scene.model.recover(deletion)
            stage.recover(deletion, dies_at=moment)
            death = stage.recoveries.wait()
            if not death.was_killed:
                assert death.status == 0, stage.recoveries.output.read_text()
                moments.has_ended = True
                continue
            state = server.done("GET", path)["state"]
            states.add(state)
            assert server.status(root) == (200 if state == "restored" else 404)
            async with stage.seen(scene):
                await scene.require_consistency()
                assert await scene.found_live() == (scene.live_rows() if state == "restored" else before)
            stage.recover(deletion)
            assert stage.recoveries.wait().status == 0, stage.recoveries.output.read_text()
            done = msgspec.json.decode(stage.recoveries.output.read_bytes())
            assert done["was_recovered"] == (state == "restored")
            assert server.status(root) == 200
            async with stage.seen(scene):
                await scene.require_model()
                assert len(await scene.audited("recover")) == 1
    assert states == {"purged", "restored"}


async def _require_gone_rows_in_the_bundle(scene: Scene, deletion: Deletion) -> None:
    """Nothing is gone that is not in a verified bundle."""
    left = await dump_rows(scene.database)
    assert left.keys() <= scene.model.rows.keys()
    gone = Counter(table for table, _ in scene.model.rows.keys() - left.keys())
    if gone:
        ((path, verified_at),) = await fetch(
            scene.database, f"SELECT bundle_path, bundle_verified_at FROM deletions WHERE id = '{deletion.id}'"
        )
        assert verified_at is not None
        assert gone <= Counter(open_bundle(Path(path)).manifest.rows_by_table())


async def _let_leases_end(scene: Scene) -> None:
    """What a minute without the dead worker does."""
    for table in ("jobs", "deletions"):
        await run(scene.database, f"UPDATE {table} SET lease_until = '{_LONG_AGO}' WHERE lease_token IS NOT NULL")
