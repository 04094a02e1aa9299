"""Manifests on disk and in a project: which files there are, and bringing the project's to what the disk holds."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from holdfast.cli import terminal
from holdfast.cli.client import Client, path_of
from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.core.errors import HoldfastError
from holdfast.features.config_files.errors import GpuQuotaError, ManifestError
from holdfast.features.config_files.filenames import check_filename
from holdfast.features.config_files.manifests import parse_manifests
from holdfast.features.config_files.policy import find_quota_problems

OUTCOMES = ("created", "updated", "unchanged", "refused")
_SUFFIXES = (".yaml", ".yml")
_SEPARATOR = "__"
# After these nothing that follows could go better.
_FATAL_CODES = ("config_file_forbidden", "project_not_found", "password_change_required", "forbidden")


class ManifestFile(msgspec.Struct, frozen=True):
    """A file on disk, and the filename under which a project stores it."""

    path: Path
    filename: str


class Outcome(msgspec.Struct, frozen=True):
    """What became of a file: one of `OUTCOMES`; a refused one has `errors`."""

    path: Path
    filename: str
    outcome: str
    cf_id: str | None = None
    resource_count: int | None = None
    errors: list[str] = []

    def as_json(self) -> dict[str, Any]:
        """The outcome for programs."""
        return msgspec.structs.asdict(self) | {"path": str(self.path)}


def find_manifest_files(path: Path) -> list[ManifestFile]:
    """The file, or the manifests of the folder and those in it, by path; hidden ones are left out."""
    if path.is_file():
        return [ManifestFile(path, path.name)]
    if not path.is_dir():
        raise CommandFailedError(f"there is no file or folder {path}", ExitCode.WRONG_USAGE)
    found = [each for each in sorted(path.rglob("*")) if each.suffix in _SUFFIXES and each.is_file()]
    relative = [(each, each.relative_to(path)) for each in found]
    files = [
        ManifestFile(each, _SEPARATOR.join(below.parts))
        for each, below in relative
        if not any(part.startswith(".") for part in below.parts)
    ]
    if not files:
        raise CommandFailedError(f"{path} holds no *.yaml and no *.yml")
    by_name: dict[str, Path] = {}
    for file in files:
        if file.filename in by_name:
            raise CommandFailedError(
                f"{by_name[file.filename]} and {file.path} would both be stored as {file.filename}; rename one"
            )
        by_name[file.filename] = file.path
    return files


def apply_files(client: Client, p_id: str, files: list[ManifestFile], *, dry_run: bool) -> list[Outcome]:
    """Bring each file into the project, or (dry) check it; a refused one does not stop the others."""
    present = {row["filename"]: row["cf_id"] for row in client.rows(path_of("projects", p_id, "config-files"))}
    project = client.get(path_of("projects", p_id))
    outcomes = []
    with _progress() as progress:
        task = progress.add_task("Checking" if dry_run else "Applying", total=len(files))
        for file in files:
            progress.update(task, description=file.filename)
            try:
                content = _read(file)
                cf_id = present.get(file.filename)
                if dry_run:
                    outcome = _compare(client, file, content, cf_id, project)
                else:
                    outcome = _store(client, p_id, file, content, cf_id)
            except ManifestError as error:
                outcome = _refused(file, [str(problem) for problem in error.problems])
            except HoldfastError as error:
                outcome = _refused(file, [error.message])
            except CommandFailedError as failure:
                if failure.exit_code is not ExitCode.REFUSED or failure.code in _FATAL_CODES:
                    raise
                outcome = _refused(file, failure.lines or [failure.message])
            outcomes.append(outcome)
            progress.advance(task)
    return outcomes


def _read(file: ManifestFile) -> str:
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise CommandFailedError(f"cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CommandFailedError(f"line {line}: the byte 0x{content[error.start]:02x} is not UTF-8") from error


def _store(client: Client, p_id: str, file: ManifestFile, content: str, cf_id: str | None) -> Outcome:
    if cf_id is None:
        stored = client.post(path_of("projects", p_id, "config-files"), {"filename": file.filename, "content": content})
        return _outcome(file, "created", stored)
    before = client.get(path_of("config-files", cf_id))
    if before["content"] == content:
        return _outcome(file, "unchanged", before)
    return _outcome(file, "updated", client.put(path_of("config-files", cf_id), {"content": content}))


def _compare(client: Client, file: ManifestFile, content: str, cf_id: str | None, project: dict[str, Any]) -> Outcome:
    """What storing would do; the server's own rules are run here, so that nothing need be sent."""
    check_filename(file.filename)
    resources = parse_manifests(content, allow_privileged=project["allow_privileged"])
    if problems := find_quota_problems(resources, project["gpu_quota"]):
        raise GpuQuotaError(problems)
    outcome = "created"
    if cf_id is not None:
        before = client.get(path_of("config-files", cf_id))
        outcome = "unchanged" if before["content"] == content else "updated"
    return Outcome(file.path, file.filename, outcome, cf_id, len(resources))


def _outcome(file: ManifestFile, outcome: str, stored: dict[str, Any]) -> Outcome:
    return Outcome(file.path, file.filename, outcome, stored["cf_id"], len(stored["resources"]))


def _refused(file: ManifestFile, errors: list[str]) -> Outcome:
    return Outcome(file.path, file.filename, "refused", errors=errors)


def _progress() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        console=terminal.error_output(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
