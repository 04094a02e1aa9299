"""An interpreter and packages where another account can reach them: a virtual environment often lies in a home."""

import importlib.metadata
import re
import shutil
import sysconfig
from pathlib import Path

from tests.servers.postgresql import reachable_by_others

_EXTRA = re.compile(r"""extra *== *["'](.*?)["']""")
_DISTRIBUTION_NAME = re.compile(r"[\w.-]+")


def copy_interpreter(interpreter: Path, target: Path) -> Path:
    """Copy an installation of Python without its packages; it finds its library relative to its own place."""
    if reachable_by_others(interpreter.parent):
        return interpreter
    library = Path(sysconfig.get_path("stdlib"))
    copy = target / "bin" / interpreter.name
    copy.parent.mkdir(parents=True)
    shutil.copy(interpreter, copy)
    ignored = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "config-*", "*.a")
    shutil.copytree(library, target / "lib" / library.name, ignore=ignored)
    for shared in library.parent.glob("libpython*.so*"):
        shutil.copy(shared, target / "lib")
    return copy


def copy_distributions(name: str, target: Path) -> None:
    for each in _with_requirements(name):
        for file in importlib.metadata.distribution(each).files or ():
            source, copy = Path(str(file.locate())), target / file
            if ".." not in file.parts and source.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)


def _with_requirements(name: str, extras: tuple[str, ...] = ("etcd3", "psycopg3", "binary")) -> set[str]:
    """The installed distributions that one needs, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        try:
            requirements = importlib.metadata.distribution(current).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if current in found:
            continue
        found.add(current)
        for requirement in requirements:
            needed = _DISTRIBUTION_NAME.match(requirement)
            extra = _EXTRA.search(requirement)
            if needed is not None and (extra is None or extra[1] in extras):
                waiting.append(needed[0])
    return found
