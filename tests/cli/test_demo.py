"""`holdfast demo`: an instance to try out, made by the product's own rules."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from tests.cli.commandline import CommandLine
from tests.conftest import NewDatabase
from tests.factories import make_group
from tests.instance import Instance, instance_settings, run_instance

_PROJECTS_ABOVE_QUOTA = """
    SELECT p.project_name FROM project_list p
      JOIN course_workloads w ON w.project_id = p.p_id AND w.status IN ('Pending', 'Running')
     GROUP BY p.p_id, p.project_name, p.gpu_quota HAVING sum(w.resource_gpu) > p.gpu_quota"""


class Place:
    """An empty, migrated database and a command line on its machine."""

    def __init__(self, engine: str, url: str, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.url = url
        self.commands = CommandLine("http://127.0.0.1:9", folder)
        self.commands.environment |= {"HOLDFAST_DATABASE_URL": url, "HOLDFAST_DATA_DIR": str(folder)}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Instance]:
        """The instance, running."""
        async with run_instance(self.engine, instance_settings(self.url, self.folder)) as instance:
            yield instance


@pytest.fixture
async def place(engine: str, new_database: NewDatabase, tmp_path: Path) -> Place:
    url = new_database(engine)
    await migrate(parse_address(url))
    return Place(engine, url, tmp_path)


async def _signed_in(instance: Instance, username: str, password: str, folder: Path) -> CommandLine:
    commands = CommandLine(instance.base_url, folder)
    await commands.done("login", username, "--password-stdin", input=password + "\n")
    return commands


async def test_the_demo_fills_an_instance_that_people_can_sign_in_to(place: Place) -> None:
    made = await place.commands.json("demo", "--yes", "--size", "small")
    assert all(count > 0 for count in made["counts"].values())
    names = {each["role"].split(",")[0]: each["username"] for each in made["sign_ins"]}
    async with place.served() as instance:
        for username in names.values():
            await _signed_in(instance, username, made["password"], place.folder / username)
        operator = CommandLine(instance.base_url, place.folder / names["super administrator"])
        await _check_what_is_there(operator, made["counts"])
        student = CommandLine(instance.base_url, place.folder / names["student"])
        assert 0 < (await student.json("projects", "list"))["total"] < made["counts"]["project_list"]
        async with instance.database.read() as tx:
            assert await tx.fetch_text(_PROJECTS_ABOVE_QUOTA) == []
        await instance.close_clients()


async def _check_what_is_there(operator: CommandLine, counts: dict[str, int]) -> None:
    assert (await operator.json("users", "list"))["total"] == counts["users"]
    for noun, statuses in {
        "forms": ("Pending", "Processing", "Completed", "Rejected"),
        "image-requests": ("pending", "approved", "rejected"),
        "workloads": ("Running", "Succeeded", "Failed"),
    }.items():
        for status in statuses:
            assert (await operator.json(noun, "list", "--status", status))["total"], f"no {noun} are {status}"
    oldest = (await operator.json("audit", "list", "--sort", "created_at", "--limit", 1))["items"][0]
    newest = (await operator.json("audit", "list", "--type", "form", "--limit", 1))["items"][0]
    assert oldest["created_at"] < newest["created_at"]


async def test_an_instance_with_rows_of_its_own_is_refused(place: Place) -> None:
    async with place.served() as instance:
        await make_group(instance.database, "physics")
        said = await place.commands.refused("demo", "--yes")
        assert "it has rows in group_list" in said
        async with instance.database.read() as tx:
            assert await tx.fetch_text("SELECT count(*) FROM users") == [(1,)]


async def test_an_instance_after_its_first_start_is_empty_enough(place: Place) -> None:
    async with place.served():
        pass
    made = await place.commands.json("demo", "--yes", "--size", "small")
    assert made["admin_password"] is None
    said = await place.commands.refused("demo", "--yes")
    assert "is not empty" in said


async def test_production_is_refused(tmp_path: Path) -> None:
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment |= {
        "HOLDFAST_DATA_DIR": str(tmp_path),
        "HOLDFAST_MODE": "production",
        "HOLDFAST_SECRET": "s" * 48,
    }
    assert "this is production" in await commands.refused("demo", "--yes")


async def test_the_demo_asks_first(tmp_path: Path) -> None:
    commands = CommandLine("http://127.0.0.1:9", tmp_path)
    commands.environment["HOLDFAST_DATA_DIR"] = str(tmp_path / "data")
    result = await commands.run("demo", input="n\n")
    assert result.exit_code == 1
    assert not (tmp_path / "data").exists()


async def _content(place: Place) -> dict[str, Any]:
    await place.commands.done("demo", "--yes", "--size", "small")
    async with place.served() as instance, instance.database.read() as tx:
        return {
            table: await tx.fetch_text(f"SELECT {columns} FROM {table} ORDER BY {columns}")
            for table, columns in {
                "users": "username, full_name, email",
                "project_list": "project_name, gpu_quota",
                "config_files": "filename",
            }.items()
        }


async def test_two_demos_are_alike(tmp_path: Path) -> None:
    places = [Place("sqlite", f"sqlite:///{tmp_path}/{name}/holdfast.db", tmp_path / name) for name in ("one", "two")]
    first, second = [await _content(place) for place in places]
    assert first == second


@pytest.mark.slow
async def test_the_full_demo_is_a_faculty(tmp_path: Path) -> None:
    place = Place("sqlite", f"sqlite:///{tmp_path}/holdfast.db", tmp_path)
    counts = (await place.commands.json("demo", "--yes"))["counts"]
    assert counts["users"] >= 1_450
    assert counts["group_list"] == 14
    assert counts["audit_logs"] >= 5_000
