"""Jobs whose effects can be counted: rows of a table that refuses nothing, so that one written twice is there twice."""

import asyncio
import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import holdfast.worker.loop
import holdfast.worker.running
from holdfast.core.clock import Clock
from holdfast.db import jobs
from holdfast.db.engines.base import Database, Transaction
from holdfast.settings import Settings
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS, OneOffJob, PeriodicJob

CREATE = "CREATE TABLE effects (number INTEGER NOT NULL, step INTEGER NOT NULL, worker INTEGER NOT NULL)"
STEPS = 3
_LONGEST_ACT_SECONDS = 0.08


def register(folder: Path) -> None:
    """Let the worker of this process know the jobs, and no others that are periodic; it looks for them often."""
    product: Any = holdfast.worker.loop
    product._POLL_SECONDS = 0.05
    product._KEEP_SECONDS = 1
    product = holdfast.worker.running
    product._GRACE_SECONDS = 0.5
    PERIODIC_JOBS.clear()
    PERIODIC_JOBS["tests.tick"] = PeriodicJob("tests.tick", timedelta(seconds=1), tick)
    waits = Waits(folder)
    for name, run in (
        ("tests.once", write_once),
        ("tests.steps", write_steps),
        ("tests.poison", kill_the_worker),
        ("tests.waits_once", waits.write_once),
        ("tests.waits_held", waits.write_held),
    ):
        ONE_OFF_JOBS[name] = OneOffJob(name, run)


async def write_once(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> jobs.Apply:
    """One row, in the transaction that settles the job."""
    await _act()
    return lambda tx: _write(tx, arguments["number"], 0)


async def write_steps(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> int:
    """Several rows, each in a transaction of its own that holds the job; on from where an earlier run was."""
    number, written = arguments["number"], 0
    for step in range(STEPS):
        await _act()
        async with database.write() as tx:
            await jobs.require_held(tx)
            if not await tx.fetch_text(f"SELECT 1 FROM effects WHERE number = {number} AND step = {step}"):
                written += await _write(tx, number, step)
    return written


async def kill_the_worker(database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> int:
    """End the process without any exception."""
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()
    return 0


async def tick(database: Database, settings: Settings, clock: Clock) -> jobs.Apply:
    """One row with the second in which it was written."""
    return lambda tx: _write(tx, int(clock().timestamp()), 0)


class Waits:
    """Jobs that tell that they began, and go on once they may."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write_once(
        self, database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock
    ) -> jobs.Apply:
        """One row, in the transaction that settles the job."""
        await self._wait()
        return lambda tx: _write(tx, arguments["number"], 0)

    async def write_held(self, database: Database, settings: Settings, arguments: dict[str, Any], clock: Clock) -> int:
        """One row, in a transaction of its own that holds the job."""
        await self._wait()
        async with database.write() as tx:
            await jobs.require_held(tx)
            return await _write(tx, arguments["number"], 0)

    async def _wait(self) -> None:
        (self._folder / f"began-{os.getpid()}").touch()
        # What is awaited is told by another process.
        while not (self._folder / "go").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _act() -> None:
    await asyncio.sleep(random.uniform(0, _LONGEST_ACT_SECONDS))  # noqa: S311 - any moment will do


async def _write(tx: Transaction, number: int, step: int) -> int:
    await tx.fetch_text(f"INSERT INTO effects (number, step, worker) VALUES ({number}, {step}, {os.getpid()})")
    return 1
