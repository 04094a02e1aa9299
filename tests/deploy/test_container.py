"""The container: its recipe is checked by a linter, built by buildah on a Debian made for it, and the image is run."""

import contextlib
import faulthandler
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.process import free_loopback_port

_ROOT = Path(__file__).parents[2]
_RECIPE = _ROOT / "deploy" / "container" / "Containerfile"
_BINARIES = Path(sys.executable).parent
_PATIENCE_SECONDS = 60
_BUILD_SECONDS = 900
_SUITE = "bookworm"
_UID = "10001"
_SECRET = "a secret of the tests, long enough to be one"
# What nobody needs in an image that runs and is not built.
_BUILD_TOOLS = ("gcc", "cc", "make", "git", "uv", "hatchling")
# Enters the image as the container engine does: as its user, without rights, on a file system that is read-only but
# for the volume and /tmp.
_ENTER = """
set -eu
image=$1 volume=$2
shift 2
mount --bind "$image" "$image"
mount --bind "$volume" "$image/var/lib/holdfast"
mount -t tmpfs tmpfs "$image/tmp"
mount --bind /dev "$image/dev"
mount -o remount,bind,ro "$image"
exec chroot "$image" setpriv --reuid=10001 --regid=10001 --clear-groups \\
    --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def _run(*words: "str | Path", seconds: float = _BUILD_SECONDS) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"{words}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_linter_finds_nothing() -> None:
    checked = subprocess.run(
        [_BINARIES / "hadolint", "--failure-threshold", "style", _RECIPE], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_linter_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Containerfile"
    wrong.write_text(_RECIPE.read_text(encoding="utf-8").replace("WORKDIR /build", "WORKDIR build"), encoding="utf-8")
    checked = subprocess.run([_BINARIES / "hadolint", wrong], capture_output=True, text=True, check=False)
    assert "DL3000" in checked.stdout


def test_the_package_is_the_same_byte_for_byte_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    found = set()
    for place in ("here", "there"):
        source = tmp_path / place / "source"
        source.mkdir(parents=True)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(_ROOT / name, source)
        # Copied without its times, as a checkout of another day has others.
        shutil.copytree(
            _ROOT / "src", source / "src", copy_function=shutil.copy, ignore=shutil.ignore_patterns("__pycache__")
        )
        wheels = tmp_path / place / "wheels"
        subprocess.run(
            [_BINARIES / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", wheels],
            cwd=source,
            env=os.environ | {"SOURCE_DATE_EPOCH": "1767225600"},
            capture_output=True,
            check=True,
        )
        (wheel,) = wheels.iterdir()
        found.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(found) == 1


def _require(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        told = f"NOT TESTED: {', '.join(missing)} missing: scripts/install-deployment-tools installs the programs"
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)


def _package_archive() -> str:
    """Where the packages of this machine's Debian come from."""
    known = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in known.splitlines():
        address, release, component = line.split()
        if release == _SUITE and component == "main":
            return address
    pytest.skip(f"NOT TESTED: this machine has no packages of Debian {_SUITE}, of which the base is made")


def _settings_of_pip() -> list[str]:
    """The caller's own settings of pip, for the build: where packages come from, and who vouches for it."""
    files = [Path("/etc/pip.conf"), Path.home() / ".config" / "pip" / "pip.conf", Path("/etc/ssl/certs")]
    shown = [f"{path}:{'/etc/pip.conf' if path.suffix else path}:ro" for path in files if path.exists()]
    return [word for mount in shown for word in ("--volume", mount)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The folder of the built image's files, and its configuration."""
    _require("buildah", "debootstrap", "unshare", "setpriv")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(
            "NOT TESTED: this machine lets nobody make a namespace of mounts, in which an image is built and run"
        )
    # Longer than any other test may take on a busy machine; what comes after the fixture is measured from here.
    faulthandler.cancel_dump_traceback_later()
    faulthandler.dump_traceback_later(_BUILD_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    folder = tmp_path_factory.mktemp("container")
    name = f"localhost/holdfast-test-{uuid.uuid4().hex[:10]}"
    # Not of this machine's images: all of it goes with the folder.
    buildah = ["buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]
    packages = "ca-certificates,python3,python3-venv"
    _run("debootstrap", "--variant=minbase", f"--include={packages}", _SUITE, folder / "debian", _package_archive())
    base = _run(*buildah, "from", "scratch").strip()
    _run(*buildah, "add", "--quiet", base, folder / "debian", "/")
    _run(*buildah, "commit", "--quiet", "--rm", base, f"{name}-base")
    shutil.rmtree(folder / "debian")
    build = [*buildah, "build", "--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={name}-base"]
    _run(*build, *_settings_of_pip(), "--ignorefile", _ROOT / ".containerignore", "-f", _RECIPE, "-t", name, _ROOT)
    container = _run(*buildah, "from", name).strip()
    mounted = Path(_run(*buildah, "mount", container).strip())
    try:
        yield mounted, json.loads(_run(*buildah, "inspect", "--type", "image", name))["Docker"]["config"]
    finally:
        _run(*buildah, "umount", container)
        _run(*buildah, "rm", container)
        _run(*buildah, "rmi", "--all", "--force")


@contextlib.contextmanager
def _entered(image: tuple[Path, dict[str, Any]], volume: Path, words: list[str], **settings: str) -> Iterator[Any]:
    files, configuration = image
    environment = dict(entry.split("=", 1) for entry in configuration["Env"]) | settings
    with (volume.parent / "log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _ENTER, "sh", files, volume, *words],
            env=environment | {"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What the engine mounts: it gets the owner that the folder has in the image."""
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, int(_UID), int(_UID))
    return folder


@pytest.mark.slow
def test_the_image_serves_without_root_and_without_what_built_it(
    image: tuple[Path, dict[str, Any]], volume: Path
) -> None:
    files, configuration = image
    assert configuration["User"] == f"{_UID}:{_UID}"
    assert configuration["Volumes"] == {"/var/lib/holdfast": {}}
    assert set(configuration["ExposedPorts"]) == {"8080/tcp"}
    assert configuration["StopSignal"] == "SIGTERM"
    folders = ("usr/bin", "usr/local/bin", "opt/holdfast/bin")
    programs = {path.name for folder in folders if (files / folder).is_dir() for path in (files / folder).iterdir()}
    assert programs & {*_BUILD_TOOLS} == set()
    assert {"holdfast", "pg_dump", "mariadb-dump"} <= programs
    installed = {path.name for path in files.glob("opt/holdfast/lib/python3*/site-packages/*")}
    assert {"holdfast", "litestar"} <= installed
    assert installed & {"hatchling", "pip", "pytest", "tests"} == set()

    port = str(free_loopback_port())
    command = [*configuration["Entrypoint"], *configuration["Cmd"]]
    with _entered(image, volume, command, HOLDFAST_PORT=port) as refused:
        assert refused.wait(timeout=_PATIENCE_SECONDS) == 1
        assert "HOLDFAST_SECRET" in (volume.parent / "log").read_text()
    health = configuration["Healthcheck"]["Test"][1:]
    given = {"HOLDFAST_PORT": port, "HOLDFAST_SECRET": _SECRET}
    with _entered(image, volume, health, **given) as unhealthy:
        assert unhealthy.wait(timeout=_PATIENCE_SECONDS) != 0
    with _entered(image, volume, command, **given) as server:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _is_ready(port):
            assert server.poll() is None, (volume.parent / "log").read_text()
            assert time.monotonic() < deadline, (volume.parent / "log").read_text()
            time.sleep(0.05)
        assert _ids_of(server.pid) == ({_UID}, {_UID}, "0000000000000000")
        assert (volume / "holdfast.db").stat().st_uid == int(_UID)
        with _entered(image, volume, health, **given) as healthy:
            assert healthy.wait(timeout=_PATIENCE_SECONDS) == 0
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=_PATIENCE_SECONDS) == 0


def _ids_of(pid: int) -> tuple[set[str], set[str], str]:
    """The users and groups of a process, and the rights that it might get."""
    facts = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return set(facts["Uid"].split()), set(facts["Gid"].split()), facts["CapBnd"].strip()


def _is_ready(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_the_build_is_given_what_it_copies_and_no_more() -> None:
    lines = (_ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    recipe = _RECIPE.read_text(encoding="utf-8")
    copied = {
        word.removeprefix("./")
        for line in recipe.splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for word in line.split()[1:-1]
    }
    assert copied == let_in
    assert lines[1] == "*"
