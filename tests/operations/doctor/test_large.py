"""A large healthy instance: nothing is found, in reasonable time and memory, while others go on writing.

`DOCTOR_ROWS=1000000` sets the size, and tells how long each check took (`pytest -s`).
"""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.numbering import go_on_after
from holdfast.db.open import open_database
from holdfast.db.tables import audit_logs, metadata
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.doctor.examination import apply_cures, examine
from holdfast.operations.doctor.types import Subject
from tests.conftest import NewDatabase
from tests.db.rows import fetch
from tests.factories import make_group
from tests.instance import instance_settings
from tests.operations.doctor.ward import without_test_servers
from tests.operations.plans.population import Population

_AT_FULL_SCALE = 827_000
_ROWS = int(os.environ.get("DOCTOR_ROWS", "120000"))


class _Healthy(Population):
    """The same faculty, in which only forms are deleted, each with its messages."""

    def _deleted(self, prefix: str, every: int, number: str = "i") -> Mapping[str, str]:
        return super()._deleted(prefix, every, number) if prefix == "form-" else {}

    def _service(self) -> Iterator[str]:
        yield next(super()._service())


_COUNTS = {
    "sqlite": "'{\"form_messages\": ' || m.messages || ', \"forms\": 1}'",
    "postgresql": "('{\"form_messages\": ' || m.messages || ', \"forms\": 1}')::json",
    "mariadb": "concat('{\"form_messages\": ', m.messages, ', \"forms\": 1}')",
}
_ALONE = {"sqlite": "'{\"forms\": 1}'", "postgresql": "'{\"forms\": 1}'::json", "mariadb": "'{\"forms\": 1}'"}


def _made_right(engine: str) -> list[str]:
    """What the faculty leaves to chance."""
    counts = f"CASE WHEN m.messages > 0 THEN {_COUNTS[engine]} ELSE {_ALONE[engine]} END"
    return [
        "UPDATE project_list SET gpu_quota = 1000000",
        "UPDATE image_requests SET status = 'rejected' WHERE status = 'approved'",
        """UPDATE image_allow_list SET repository_id =
           (SELECT t.repository_id FROM container_tags t WHERE t.id = image_allow_list.tag_id)""",
        """UPDATE user_group SET role = 'admin' WHERE u_id IN
           (SELECT u_id FROM (SELECT min(u_id) AS u_id FROM user_group GROUP BY g_id) AS first)""",
        f"""INSERT INTO deletions (id, root_type, root_id, actor_id, actor_name, state, planned_counts, actual_counts)
           SELECT f.deletion_id, 'form', f.id, f.user_id, 'somebody', 'deleted', {counts}, {counts} FROM forms f
           LEFT JOIN (SELECT form_id, count(*) AS messages FROM form_messages GROUP BY form_id) m ON m.form_id = f.id
           WHERE f.deletion_id <> ''""",
    ]


async def _fill(database: Database, engine: str) -> int:
    population = _Healthy(engine, _ROWS / _AT_FULL_SCALE)
    async with database.write() as tx:
        for statement in [*population.statements(), *_made_right(engine)]:
            await tx.fetch_text(statement)
    async with database.write() as tx:
        await go_on_after(tx, audit_logs, population.rows["audit_logs"])
    counted = [f"SELECT count(*) AS rows_there FROM {table.name}" for table in metadata.sorted_tables]
    ((rows,),) = await fetch(database, f"SELECT sum(rows_there) FROM ({' UNION ALL '.join(counted)}) AS counted")
    return int(rows)


@pytest.mark.slow
async def test_nothing_is_found_in_a_large_instance(engine: str, new_database: NewDatabase, tmp_path: Path) -> None:
    settings = instance_settings(
        new_database(engine), tmp_path, statement_timeout_seconds=900, deletion_timeout_seconds=900
    )
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        rows = await _fill(database, engine)
        await ensure_first_start(database, None)
        subject = Subject(database=database, settings=settings, disk_usage=lambda _: (1, 0, 10**12))
        async for _ in apply_cures(subject, ["statistics"]):
            pass
        assert rows > 0.8 * _ROWS
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took: dict[str, float] = {}
        begun = time.monotonic()

        def told(share: float, name: str) -> None:
            took[name] = time.monotonic() - begun

        others = asyncio.create_task(_write_beside(database))
        report = await examine(subject, progress=told)
        written = await _ended(others)
        assert without_test_servers(report.findings) == []
        assert written > 0
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200 * 1024, f"{grown} KiB more"
        _print(engine, rows, took, written, grown)


def _print(engine: str, rows: int, took: dict[str, float], written: int, grown: int) -> None:
    names = list(took)
    parts = {name: took[after] - took[name] for name, after in pairwise(names)}
    dearest = sorted(parts.items(), key=lambda each: -each[1])[:6]
    listed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in dearest)
    told = (
        f"{engine}: {rows:,} rows in {took['']:.1f} s, {grown / 1024:.0f} MiB more, {written:,} writes beside: {listed}"
    )
    sys.stderr.write(f"\n{told}\n")


async def _write_beside(database: Database) -> int:
    """Changes that wait for nobody who only reads; how many."""
    written = 0
    try:
        while True:
            group = await make_group(database, f"beside {written}")
            assert group
            written += 1
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        return written


async def _ended(task: "asyncio.Task[int]") -> int:
    task.cancel()
    return await task
