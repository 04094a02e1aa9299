"""Other releases of the code: the one before, out of the repository, and the next, which one more migration makes."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
# The release before this one, and its newest revision. A release that raises them also looks through the tests of the
# upgrade: what the code before does not know yet is left out there.
PREVIOUS_COMMIT = "2bdd5af768a070102802b5169b32745f36db50e5"
PREVIOUS_REVISION = "0015"
_MAIN = "import sys; from holdfast.cli.main import main; sys.argv[0] = 'holdfast'; main()"
_IMPORTED_FROM = "import holdfast; print(holdfast.__file__)"


class Release:
    """The code in a folder, run by this interpreter with what is installed for the tests."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def command(self, *arguments: str) -> list[str]:
        """The words that run `holdfast` with these arguments."""
        return [sys.executable, "-c", _MAIN, *arguments]

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of a process of this release with these settings and no others."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        given = {f"HOLDFAST_{name.upper()}": value for name, value in settings.items()}
        return inherited | {"PYTHONPATH": str(self.source)} | given

    def run(self, *arguments: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def check_that_it_is_what_runs(self) -> None:
        """A package that is installed must not come before the folder."""
        shown = subprocess.run(
            [sys.executable, "-c", _IMPORTED_FROM], env=self.environment(), capture_output=True, text=True, check=True
        )
        assert Path(shown.stdout.strip()).is_relative_to(self.source), shown.stdout


def this_release() -> Release:
    """The code that is tested."""
    return Release(SOURCE)


def previous_release(folder: Path) -> Release:
    """The code of the release before, taken out of the repository."""
    archive = folder / "previous.tar"
    taken = subprocess.run(
        ["git", "-C", ROOT, "archive", "--output", archive, PREVIOUS_COMMIT, "src"],
        capture_output=True,
        text=True,
        check=False,
    )
    if taken.returncode != 0:
        missing = f"NOT TESTED: the commit {PREVIOUS_COMMIT[:7]} is not in this clone: {taken.stderr.strip()}"
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "previous", filter="data")
    release = Release(folder / "previous" / "src")
    release.check_that_it_is_what_runs()
    return release


def next_release(folder: Path, migration: str, revision: str) -> Release:
    """This code with one migration more, the text of which is given."""
    source = folder / f"next-{revision}"
    shutil.copytree(SOURCE / "holdfast", source / "holdfast", ignore=shutil.ignore_patterns("__pycache__"))
    versions = source / "holdfast" / "db" / "migrations" / "versions"
    (versions / f"{revision}_next.py").write_text(migration, encoding="utf-8")
    release = Release(source)
    release.check_that_it_is_what_runs()
    return release
