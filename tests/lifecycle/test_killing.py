"""`kill -9` of the real process at every moment of an act: it is then finished, undone, or finished by the next."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.db.lifecycle.bundle_file import open_bundle
from tests.db.rows import fetch
from tests.instance import Instance
from tests.lifecycle.killing import Death, Order
from tests.lifecycle.scenes import NESTED, ROOTS, Scene
from tests.lifecycle.world import World, count_audit_rows, dump_deletions, dump_rows

# The moments of the everyday run; the slow ones, in parts of a bearable length, die at each.
_SAMPLE = (1, 4, 9, 20, 45, 100)
_PARTS = [range(first, 1000, 3) for first in (1, 2, 3)]


class Killer:
    """The process whose children die."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def run(self, world: World, act: str, arguments: list[str], dies_at: int) -> Death:
        """Run an act until its process dies or ends."""
        order = Order(
            database_url=world.settings.database_url,
            data_dir=str(world.settings.data_dir),
            actor_id=world.root.user_id,
            act=act,
            arguments=arguments,
            dies_at=dies_at,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Death)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    command = [sys.executable, "-m", "tests.lifecycle.killing"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


class Stage:
    """Sets a scene anew for each death."""

    def __init__(self, instance: Instance, killer: Killer, root: str, moments: Iterable[int]) -> None:
        self._instance = instance
        self._killer = killer
        self._root = root
        self._moments = moments

    async def deaths(self, act: str, prepare: Callable[[Scene], Awaitable[list[str]]]) -> AsyncIterator[Scene]:
        """A scene for each death of the act, the last for its end where there are no more moments."""
        for moment in self._moments:
            await self._instance.clear()
            scene = Scene(self._instance, self._root)
            scene.clear_bundles()
            await scene.fill()
            arguments = await prepare(scene)
            death = self._killer.run(scene.world, act, arguments, moment)
            assert death.was_killed or death.status == 0
            yield scene
            if not death.was_killed:
                return
        assert self._moments is _SAMPLE, "the act never came to its end"


def _each_stage() -> Iterator[object]:
    for root in ROOTS:
        yield pytest.param((root, _SAMPLE), id=root)
        for part in _PARTS:
            yield pytest.param(
                (root, part), id=f"{root} at moment {part.start} and every third", marks=pytest.mark.slow
            )


@pytest.fixture(params=_each_stage())
def stage(request: pytest.FixtureRequest, instance: Instance, killer: Killer) -> Stage:
    root, moments = request.param
    return Stage(instance, killer, root, moments)


async def test_a_killed_delete_is_whole_or_undone(stage: Stage) -> None:
    async def prepare(scene: Scene) -> list[str]:
        return [scene.root_type, scene.root[0], *scene.root[1]]

    async for scene in stage.deaths("delete", prepare):
        done = (await dump_deletions(scene.database)).keys() - {NESTED}
        if done:
            await scene.follow_delete(*done)
        await scene.require_model()
        assert len(await scene.audited("delete")) == len(done)
        if not done:
            await scene.delete()
            await scene.require_model()


async def test_a_killed_restore_is_whole_or_undone(stage: Stage) -> None:
    async def prepare(scene: Scene) -> list[str]:
        return [(await scene.delete()).id]

    async for scene in stage.deaths("restore", prepare):
        deletion = scene.deletion()
        states = await dump_deletions(scene.database)
        if states[deletion.id][1] == "restored":
            scene.model.restore(deletion)
        await scene.require_model()
        await scene.world.restore(deletion.id)
        if deletion.state == "deleted":
            scene.model.restore(deletion)
        await scene.require_model()
        assert len(await scene.audited("restore")) == 1


async def test_a_killed_bundling_leaves_a_verified_bundle_or_none(stage: Stage) -> None:
    async def prepare(scene: Scene) -> list[str]:
        await scene.delete()
        return []

    async for scene in stage.deaths("write_bundles", prepare):
        await scene.require_model()
        await scene.world.write_bundles()
        await scene.require_model()
        for path, sha256 in await fetch(scene.database, "SELECT bundle_path, bundle_sha256 FROM deletions"):
            assert open_bundle(Path(path)).sha256 == sha256
        assert not list(scene.bundles.rglob("*.part"))


async def test_a_killed_purge_is_finished_by_the_next_and_recovers_whole(stage: Stage) -> None:
    async def prepare(scene: Scene) -> list[str]:
        return [(await scene.delete()).id]

    async for scene in stage.deaths("purge", prepare):
        deletion = scene.deletion()
        await scene.require_consistency()
        left = await dump_rows(scene.database)
        ((path, verified_at),) = await fetch(
            scene.database, f"SELECT bundle_path, bundle_verified_at FROM deletions WHERE id = '{deletion.id}'"
        )
        if left.keys() != scene.model.rows.keys():
            assert left.keys() < scene.model.rows.keys()
            assert verified_at is not None
            assert open_bundle(Path(path)).manifest.rows_by_table().keys() >= {"users"} & {scene.root[0]}
        await scene.purge(deletion)
        await scene.require_model()
        assert len(await scene.audited("purge")) == 2
        assert not list(scene.bundles.rglob("*.part"))


async def test_a_killed_recovery_shows_nothing_or_all_and_is_finished_by_the_next(stage: Stage) -> None:
    async def prepare(scene: Scene) -> list[str]:
        deletion = await scene.delete()
        await scene.purge(deletion)
        return [deletion.id]

    async for scene in stage.deaths("recover", prepare):
        deletion = scene.deletion()
        await scene.require_consistency()
        live_before = scene.live_rows()
        scene.model.recover(deletion)
        assert await scene.found_live() in (live_before, scene.live_rows())
        await scene.world.recover(deletion.id)
        await scene.require_model()
        assert deletion.bundle is not None
        by_user = await count_audit_rows(scene.database)
        assert {user: by_user[user] for user in deletion.bundle.audit_rows} == deletion.bundle.audit_rows
        assert len(await scene.audited("recover")) == 1
