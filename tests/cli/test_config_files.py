"""`holdfast config-files`, over HTTP into a running instance."""

from pathlib import Path

import pytest

from tests.cli.commandline import CommandLine
from tests.factories import make_group, make_project
from tests.instance import Instance

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  colour: {colour}\n"
DAEMON_SET = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: one\n"
POD_WITH_GPUS = """apiVersion: v1
kind: Pod
metadata: {name: train}
spec:
  containers:
    - {name: train, image: pytorch/pytorch:2.9.0, resources: {limits: {nvidia.com/gpu: 100}}}
"""
EXAMPLES = Path(__file__).parent.parent / "data" / "manifests"


@pytest.fixture
async def project(instance: Instance) -> str:
    return await make_project(instance.database, await make_group(instance.database, "physics"), "lab", gpu_quota=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    (path / "deep" / ".git").mkdir(parents=True)
    (path / "b.yaml").write_text(CONFIG_MAP.format(name="b", colour="blue"))
    (path / "deep" / "a.yml").write_text(CONFIG_MAP.format(name="a", colour="red"))
    (path / "deep" / ".git" / "hidden.yaml").write_text("not: for us")
    (path / "readme.md").write_text("nor this")
    return path


async def test_a_folder_is_stored_once_and_then_left_alone(admin: CommandLine, project: str, folder: Path) -> None:
    first = await admin.json("config-files", "apply", folder, "--project", "lab")
    assert [(file["filename"], file["outcome"]) for file in first["files"]] == [
        ("b.yaml", "created"),
        ("deep__a.yml", "created"),
    ]
    stored = await admin.json("config-files", "list", "--project", "physics/lab")
    again = await admin.done("config-files", "apply", folder, "--project", project)
    assert again.splitlines()[-1] == "2 unchanged."
    assert await admin.json("config-files", "list", "--project", "lab") == stored


async def test_only_changed_files_are_replaced(admin: CommandLine, project: str, folder: Path) -> None:
    await admin.done("config-files", "apply", folder, "--project", "lab")
    changed = CONFIG_MAP.format(name="b", colour="green")
    (folder / "b.yaml").write_text(changed)
    said = await admin.done("config-files", "apply", folder, "--project", "lab")
    assert said.splitlines()[-1] == "1 updated, 1 unchanged."
    assert await admin.done("config-files", "show", "b.yaml", "--project", "lab") == changed


async def test_a_refused_file_is_told_and_the_others_are_stored(admin: CommandLine, project: str, folder: Path) -> None:
    (folder / "a.yaml").write_text(DAEMON_SET)
    (folder / "latin.yaml").write_bytes("# caf\u00e9".encode("latin-1"))
    result = await admin.run("config-files", "apply", folder, "--project", "lab")
    assert result.exit_code == 1
    assert "2 created, 2 refused." in result.stdout
    assert f"{folder}/a.yaml: document 1, line 2: kind: the kind DaemonSet is not allowed" in result.stderr
    assert f"{folder}/latin.yaml: line 1: the byte 0xe9 is not UTF-8" in result.stderr


async def test_a_dry_run_stores_nothing_and_refuses_the_same(admin: CommandLine, project: str, folder: Path) -> None:
    (folder / "a.yaml").write_text(DAEMON_SET)
    dry = await admin.run("config-files", "apply", folder, "--project", "lab", "--dry-run")
    assert "Nothing was stored; it would be 2 created, 1 refused." in dry.stdout
    assert (await admin.json("config-files", "list", "--project", "lab"))["total"] == 0
    wet = await admin.run("config-files", "apply", folder, "--project", "lab")
    assert (dry.exit_code, dry.stderr) == (wet.exit_code, wet.stderr)


async def test_one_file_that_is_refused_is_told_in_one_place(admin: CommandLine, project: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"{DAEMON_SET}---\n{DAEMON_SET}")
    result = await admin.run("config-files", "apply", file, "--project", "lab")
    assert result.stdout == ""
    first, *lines = result.stderr.splitlines()
    assert first == f"holdfast: {file} is refused"
    assert [line.split(":")[0] for line in lines] == ["  document 1, line 2", "  document 2, line 7"]


async def test_a_dry_run_holds_pods_against_the_quota(admin: CommandLine, project: str, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(POD_WITH_GPUS)
    dry = await admin.run("config-files", "apply", file, "--project", "lab", "--dry-run")
    assert "asks for 100 GPUs, but the project's gpu_quota is" in dry.stderr
    wet = await admin.run("config-files", "apply", file, "--project", "lab")
    assert (dry.exit_code, dry.stderr) == (wet.exit_code, wet.stderr)


async def test_the_examples_are_accepted_or_refused_with_document_and_line(admin: CommandLine, project: str) -> None:
    result = await admin.run("config-files", "apply", EXAMPLES, "--project", "lab")
    accepted = len(list(EXAMPLES.glob("accepted/*")))
    refused = len(list(EXAMPLES.glob("refused/*")))
    assert f"{accepted} created, {refused} refused." in result.stdout
    told = [line for line in result.stderr.splitlines() if line.startswith("  ")]
    assert all("document " in line and "line " in line for line in told)


async def test_two_files_that_would_get_one_name_are_refused_at_once(
    admin: CommandLine, project: str, folder: Path
) -> None:
    (folder / "deep__a.yml").write_text("")
    said = await admin.refused("config-files", "apply", folder, "--project", "lab")
    assert "would both be stored as deep__a.yml" in said


async def test_the_resources_of_a_file_are_listed(admin: CommandLine, project: str, folder: Path) -> None:
    await admin.done("config-files", "apply", folder / "b.yaml", "--project", "lab")
    said = await admin.done("config-files", "resources", "b.yaml", "--project", "lab")
    assert "configmap/b" in said


async def test_a_path_or_project_that_is_not_there_is_told(admin: CommandLine, project: str, tmp_path: Path) -> None:
    await admin.refused("config-files", "apply", tmp_path / "absent", "--project", "lab", code=2)
    (tmp_path / "empty").mkdir()
    await admin.refused("config-files", "apply", tmp_path / "empty", "--project", "lab")
    said = await admin.refused("config-files", "list", "--project", "nowhere")
    assert "there is no project named 'nowhere'" in said
