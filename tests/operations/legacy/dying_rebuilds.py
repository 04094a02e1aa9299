"""A process that rebuilds, undoes and drops in children of its own, each of which dies at the point it is given.

It reads a line of JSON for each child, and answers with how that ended and how many points there were. A point is an
operation on a file of the database's folder, or a step that is told of. Forking spares each the time to import.
"""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.operations.legacy.rebuilding import drop_before, rebuild, undo_rebuild
from holdfast.operations.legacy.types import Options
from tests.instance import instance_settings

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_TOLD_EACH = 8


def main() -> None:
    configure_logs("error", "text")
    for line in sys.stdin:
        asked = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            passed = _work(**asked)
            os.write(writing, str(passed).encode())
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(child, 0)
        passed_text = os.read(reading, 100).decode() or "0"
        os.close(reading)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)} {passed_text}\n")
        sys.stdout.flush()


def _work(act: str, path: str, data_dir: str, point: int) -> int:
    passed = told = 0
    folder = str(Path(path).parent)

    def pass_point() -> None:
        nonlocal passed
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.link", "os.rename", "os.remove", "os.chmod", "os.chown"} and any(
            isinstance(each, str | os.PathLike) and str(each).startswith(folder) for each in arguments
        ):
            pass_point()

    def tell(*_: Any) -> None:
        nonlocal told
        told += 1
        if told % _TOLD_EACH == 0:
            pass_point()

    sys.addaudithook(hear)
    address = parse_address(f"sqlite:///{path}")
    if act == "rebuild":
        settings = instance_settings("sqlite:////nowhere", Path(data_dir), admin_password="correct horse battery")
        asyncio.run(rebuild(settings, address, Options(), progress=tell, clock=lambda: AT))
    elif act == "undo":
        asyncio.run(undo_rebuild(address, lose_changes=False))
    else:
        asyncio.run(drop_before(address))
    return passed


if __name__ == "__main__":
    main()
