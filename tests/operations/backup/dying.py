"""A process that makes and restores backups in children of its own, each of which dies at the point it is given.

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

import msgspec

from holdfast.core.logs import configure_logs
from holdfast.db.open import open_database
from holdfast.operations.backup import creating, restoring
from holdfast.operations.backup.engines import mariadb, postgresql, sqlite
from holdfast.operations.backup.stores import folder
from holdfast.settings import Settings

_LOADINGS: dict[str, Any] = {
    "sqlite": sqlite._FileLoading,
    "postgresql": postgresql._Loading,
    "mariadb": mariadb._Loading,
}
_ENGINES = {"sqlite": sqlite.SqliteEngine, "postgresql": postgresql.PostgresqlEngine, "mariadb": mariadb.MariadbEngine}
# Where something is, for a name in a test: an object and the attribute of it that is called.
PLACES: dict[str, tuple[Any, str]] = {
    "write the sentinel": (creating._Making, "_write_sentinel"),
    "write to the store": (folder._FileSink, "write"),
    "end a file": (folder._FileSink, "close"),
    "store a bundle": (creating, "store_bundle"),
    "store the bundles": (creating._Making, "_store_bundles"),
    "write the manifest": (folder, "_write_file"),
    "finish the upload": (folder._FolderUpload, "finish"),
    "verify": (restoring, "verify_backup"),
    "take alone": (sqlite, "_take_alone"),
    "pour": (restoring._Restoring, "_pour"),
    "compare": (restoring._Restoring, "_compare"),
    "write a bundle": (restoring._Restoring, "_write_bundle"),
    "move the bundles": (restoring, "move_bundles"),
}


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
    settings = msgspec.convert(asked["settings"], Settings, dec_hook=lambda kind, value: Path(value))
    dialect_name = settings.resolved_database_url.partition(":")[0]
    engine = _ENGINES[dialect_name]
    places = PLACES | {name.replace("_", " "): (engine, name) for name in ("make_room", "declare_finished")}
    places["take in the last bytes"] = (_LOADINGS[dialect_name], "loaded")
    when, _, name = asked["point"].partition(" ")
    _die(*places[name], when)
    asyncio.run(_create(settings) if asked["action"] == "create" else _restore(settings, asked))


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


async def _create(settings: Settings) -> None:
    async with open_database(settings).running() as database:
        await creating.create_backup(database, settings)


async def _restore(settings: Settings, asked: dict[str, Any]) -> None:
    await restoring.restore_backup(
        settings, asked["backup_id"], replace=asked["replace"], bundles_to=settings.resolved_bundle_dir
    )


if __name__ == "__main__":
    main()
