"""A process that exports and loads old tables in children of its own, each of which dies at the point it is given.

It reads a line of JSON for each child, and answers with how that ended. Forking spares each the time to import.
"""

import asyncio
import inspect
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from holdfast.core.logs import configure_logs
from holdfast.operations.legacy.upgrade import export_folder, exporting
from holdfast.operations.legacy.upgrade.dumps import mariadb, postgresql
from tests.operations.legacy.exports import export, load
from tests.operations.legacy.old_places import Old

_LOADINGS: dict[str, Any] = {"postgresql": postgresql._Loading, "mariadb": mariadb._Loading}
_DUMPS: dict[str, Any] = {"postgresql": postgresql.PostgresqlDumps, "mariadb": mariadb.MariadbDumps}


def _place(name: str, dialect_name: str) -> tuple[Any, str]:
    """An object and the attribute of it that is called."""
    return {
        "hold still": (_DUMPS[dialect_name], "hold_still"),
        "write bytes": (export_folder.PartFile, "write"),
        "take the dump": (export_folder.PartFile, "take"),
        "end a file": (export_folder.PartFile, "finish"),
        "read checksums": (exporting, "checksums_in"),
        "write the key map": (exporting, "_write_key_map"),
        "seal": (export_folder.ExportFolder, "seal"),
        "lock out": (_DUMPS[dialect_name], "lock_out_other_loads"),
        "make": (_DUMPS[dialect_name], "make"),
        "pass bytes on": (_LOADINGS[dialect_name], "write"),
        "take in the last bytes": (_LOADINGS[dialect_name], "finish"),
        "compare": (exporting._Load, "compare"),
        "set a comment": (_DUMPS[dialect_name], "set_comment"),
    }[name]


def main() -> None:
    configure_logs("error", "text")
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _work(asked)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _work(asked: dict[str, Any]) -> None:
    old = Old(asked["url"], asked["namespace"])
    when, _, name = asked["point"].partition(" ")
    _die(*_place(name, old.address.dialect_name), when)
    work = export if asked["action"] == "export" else load
    asyncio.run(work(old, Path(asked["folder"])))


def _die(where: Any, name: str, when: str) -> None:
    original = getattr(where, name)

    def before(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    async def after_awaiting(*arguments: Any, **options: Any) -> Any:
        await original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    chosen = before if when == "before" else after_awaiting if inspect.iscoroutinefunction(original) else after
    setattr(where, name, chosen)


if __name__ == "__main__":
    main()
