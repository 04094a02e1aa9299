"""The units of systemd: accepted by its own tools, hardened, and what they start runs and ends as they say."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from holdfast.core.errors import InvalidInputError
from holdfast.db.address import parse_address
from holdfast.settings import load_settings
from tests.deploy.environment_files import read_environment_file, read_with_choices
from tests.servers.process import free_loopback_port

_FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
_UNITS = sorted(path.name for path in _FOLDER.glob("*.service"))
_INSTALLED = "/opt/holdfast/bin/holdfast"
_HOLDFAST = Path(sys.executable).parent / "holdfast"
_PATIENCE_SECONDS = 60
_SECRET = "a secret of the tests, long enough to be one"
# What `systemd-analyze security` gives: 0 sees nothing, 10 may do all.
_MOST_EXPOSURE = 1.1
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 38, 65


def _systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    if found is None:
        missing = "NOT TESTED: systemd-analyze is missing: scripts/install-deployment-tools installs it"
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, but for the place of the program."""
    for name in _UNITS:
        text = (_FOLDER / name).read_text(encoding="utf-8")
        assert f"ExecStart={_INSTALLED} " in text
        (tmp_path / name).write_text(text.replace(_INSTALLED, f'"{_HOLDFAST}"'), encoding="utf-8")
    return tmp_path


def _section(unit: str, name: str) -> dict[str, list[str]]:
    """The lines of a section, by their keys."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in (_FOLDER / unit).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            current = line.strip("[]")
        elif "=" in line and not line.startswith("#") and current == name:
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_systemd_accepts_the_units(installed: Path) -> None:
    checked = _systemd_analyze("verify", "--man=no", *(installed / name for name in _UNITS))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_word_that_systemd_does_not_know_is_found(installed: Path) -> None:
    path = installed / "holdfast.service"
    path.write_text(path.read_text(encoding="utf-8").replace("PrivateTmp=", "PrivateTemp="), encoding="utf-8")
    assert "PrivateTemp" in _systemd_analyze("verify", "--man=no", path).stderr


@pytest.mark.parametrize("name", _UNITS)
def test_little_is_exposed(name: str, installed: Path) -> None:
    told = _systemd_analyze("security", "--offline=true", "--no-pager", installed / name)
    found = re.search(r"exposure level for \S+: ([\d.]+)", told.stdout)
    assert found is not None, told.stdout + told.stderr
    assert float(found[1]) <= _MOST_EXPOSURE, told.stdout


def test_all_units_are_hardened_alike() -> None:
    def hardening(unit: str) -> str:
        text = (_FOLDER / unit).read_text(encoding="utf-8")
        return text[text.index("NoNewPrivileges=") :].partition("\n[Install]")[0].strip()

    assert {hardening(unit) for unit in _UNITS} == {hardening("holdfast.service")}
    for unit in _UNITS:
        service = _section(unit, "Service")
        assert service["User"] == service["Group"] == ["holdfast"]
    assert "\nu holdfast - " in (_FOLDER / "holdfast.sysusers.conf").read_text(encoding="utf-8")


def _harden() -> None:
    """What the unit asks of the kernel for memory and rights, as far as a process can ask for it by itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_MDWE, 1, 0, 0, 0)
    os.umask(0o077)


def _start(unit: str, folder: Path, **changes: str) -> subprocess.Popen[bytes]:
    """The very command of the unit with the example's environment, in a file system that is read-only elsewhere."""
    (command,) = _section(unit, "Service")["ExecStart"]
    words = [str(_HOLDFAST) if word == _INSTALLED else word for word in command.split()]
    settings = read_environment_file(_FOLDER / "holdfast.env.example") | {"HOLDFAST_SECRET": _SECRET} | changes
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    with (folder.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [*_read_only_outside(folder), *words],
            env=inherited | settings,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=_harden,  # noqa: PLW1509 - nothing else runs in this process at the moment
        )


def _read_only_outside(folder: Path) -> list[str]:
    """As ProtectSystem=strict does it, where root may make a namespace of mounts; nothing elsewhere."""
    script = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro / && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if os.geteuid() != 0 or subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        return []
    return words


def test_the_server_of_the_unit_answers_and_ends_with_the_signal(tmp_path: Path) -> None:
    folder = tmp_path / "holdfast"
    folder.mkdir()
    port = free_loopback_port()
    server = _start("holdfast.service", folder, HOLDFAST_DATA_DIR=str(folder), HOLDFAST_PORT=str(port))
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _is_ready(port):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        assert (folder / "holdfast.db").stat().st_mode & 0o077 == 0
        server.send_signal(signal.SIGTERM)
        (stop_seconds,) = _section("holdfast.service", "Service")["TimeoutStopSec"]
        assert server.wait(timeout=float(stop_seconds)) == 0
    finally:
        server.kill()
        server.wait()


def test_the_migration_of_the_unit_runs_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "holdfast"
    folder.mkdir()
    migration = _start("holdfast-migrate.service", folder, HOLDFAST_DATA_DIR=str(folder))
    assert migration.wait(timeout=_PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()
    assert "upgraded from empty" in (tmp_path / "log").read_text()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_starts_with_the_example_before_it_has_a_secret() -> None:
    example = read_environment_file(_FOLDER / "holdfast.env.example")
    with pytest.raises(InvalidInputError, match="HOLDFAST_SECRET"):
        load_settings(example)
    assert load_settings(example | {"HOLDFAST_SECRET": _SECRET}).mode == "production"
    chosen = load_settings(read_with_choices(_FOLDER / "holdfast.env.example") | {"HOLDFAST_SECRET": _SECRET})
    assert not chosen.worker_in_server
    assert parse_address(chosen.resolved_database_url).dialect_name == "postgresql"
