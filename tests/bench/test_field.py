"""The comparison with the servers of the field: its data, its client and its clock. No such server runs here."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.field import FIELD
from bench.field.client import connected
from bench.field.dataset import Dataset
from bench.field.holdfast import FieldPopulation, serve
from bench.field.measure import BRIEF, THOROUGH, cpu_seconds
from bench.field.server import FieldServer, Side
from holdfast.db.tables import group_list, user_group, users

_SMALL = Dataset(users=60, groups=2, members=3, spare_groups=2)


def test_the_data_are_as_many_as_the_target_says() -> None:
    dataset = THOROUGH.dataset(with_spare_groups=True)
    members = dataset.memberships()
    assert len(set(members)) == len(members)
    assert Counter(group for group, _ in members) == dict.fromkeys(range(100 + dataset.spare_groups), 20)
    assert (len(dataset.usernames), len(dataset.group_names)) == (2000, 100 + dataset.spare_groups)


def test_newcomers_are_not_members_yet() -> None:
    dataset = BRIEF.dataset(with_spare_groups=False)
    added = [dataset.newcomer(number) for number in range(1000)]
    assert len(set(added)) == 1000
    assert not set(added) & set(dataset.memberships())


def test_there_are_no_more_groups_to_delete_than_were_made() -> None:
    assert _SMALL.spare_group(1) == 3
    with pytest.raises(IndexError, match="only 2 groups"):
        _SMALL.spare_group(2)


def test_holdfast_gets_the_same_data() -> None:
    written = {table: len(list(rows)) for table, rows in FieldPopulation(_SMALL).tables()}
    # And the administrator with their group.
    assert (written[users], written[group_list], written[user_group]) == (61, 5, 13)


def test_the_process_clock_counts_children_that_live_and_that_have_ended() -> None:
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(5 * 10**6))'])"
    script = f"import os, sys; os.fork() or sum(range(5 * 10**6)); {work}; print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    with_child, alone = cpu_seconds(process.pid), _own_seconds(process.pid)
    process.communicate(b"\n\n")
    assert with_child >= alone + 0.1


def test_every_operation_of_holdfast_is_answered(tmp_path: Path) -> None:
    with serve(_SMALL, tmp_path) as side:
        asyncio.run(_do_each_twice(side))


def test_a_server_counts_as_installed_only_in_the_pinned_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.field.server._HOME", tmp_path)
    server = FIELD[0]
    assert not server.is_installed
    assert server.how_to_install.endswith("`python -m bench.field install jupyterhub`")
    (tmp_path / server.name).mkdir()
    (tmp_path / server.name / "installed").write_text("other versions")
    assert not server.is_installed


@pytest.mark.parametrize("server", FIELD, ids=lambda server: server.name)
def test_every_package_of_a_server_is_pinned(server: FieldServer) -> None:
    lines = (Path(__file__).parents[2] / "bench/field" / f"requirements-{server.name}.txt").read_text().splitlines()
    assert server.version
    assert all("==" in line for line in lines if line and not line.startswith("#"))


async def _do_each_twice(side: Side) -> None:
    for name, do in side.operations.items():
        async with connected(side.port, side.headers) as client:
            # Raises where the status is not the expected one.
            assert [await do(client, number) for number in range(2)], name


def _own_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")
