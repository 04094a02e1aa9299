"""The interface of an engine's dumps: open one of a moment, check one, load one into an empty database."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from holdfast.db.address import DatabaseAddress
from holdfast.db.engines.base import Database, Transaction
from holdfast.operations.backup.streams import OnBytes, Sink, Source, Stop
from holdfast.settings import Settings


class OpenDump(ABC):
    """A dump under way. `tx` sees the very moment that the dump shows."""

    tx: Transaction
    source: Source
    server_version: str
    tool: str
    namespace: str = ""
    # How many bytes the dump will have, about; None where nobody knows.
    expected_bytes: int | None = None

    @abstractmethod
    def finish(self) -> None:
        """Once the source was read to its end: refuse a dump that is not whole. Blocks."""

    @abstractmethod
    def end(self) -> None:
        """Break off what still runs."""


class Loading(ABC):
    """A database that is being restored, until `finish` or the end of the block."""

    @property
    @abstractmethod
    def sink(self) -> Sink:
        """Where the dump's bytes go."""

    @abstractmethod
    def loaded(self) -> None:
        """All bytes were given: wait until they are in. Blocks."""

    @abstractmethod
    def end(self) -> None:
        """Break off what still runs. Blocks."""


class TargetState(msgspec.Struct, frozen=True):
    """What a restore finds: tables and views of Holdfast, other sessions, and a restore that was broken off before."""

    server_version: str
    own_tables: list[str]
    own_views: list[str]
    sessions: int
    unfinished: str | None


# Raises an error where another restore may have begun, because what kept it away was lost.
StillAlone = Callable[[], Awaitable[None]]


class Engine(ABC):
    """What backup and restore need of a database."""

    dialect: ClassVar[str]
    # The dump's name in the store, without what compression and encryption add.
    file_name: ClassVar[str]

    @abstractmethod
    def dump(
        self, settings: Settings, database: Database, folder: Path, stop: Stop, on_bytes: OnBytes
    ) -> AbstractAsyncContextManager[OpenDump]:
        """A dump of this moment, while others write. `folder` is for what it needs on the disk."""

    @abstractmethod
    def check(self, settings: Settings, folder: Path, server_version: str) -> "DumpCheck":
        """A sink that tells whether the engine's tool can read a dump."""

    @abstractmethod
    def alone(self, address: DatabaseAddress) -> AbstractAsyncContextManager[StillAlone]:
        """No other restore into this database in the block; raises RestoreRefusedError where one is under way."""

    @abstractmethod
    async def inspect(self, settings: Settings, address: DatabaseAddress) -> TargetState:
        """What the target holds."""

    @abstractmethod
    async def make_room(self, address: DatabaseAddress, state: TargetState, backup_id: str) -> str | None:
        """Mark the target as unfinished and empty it of what is Holdfast's own; where the former is kept, if it is."""

    @abstractmethod
    def load(
        self, settings: Settings, address: DatabaseAddress, stop: Stop, namespace: str
    ) -> AbstractAsyncContextManager[Loading]:
        """Load a dump, whose tables are in the schema `namespace`, into the room that was made."""

    @abstractmethod
    def loaded_address(self, address: DatabaseAddress) -> DatabaseAddress:
        """Where the loaded database is until it is declared finished."""

    @abstractmethod
    async def declare_finished(self, address: DatabaseAddress) -> None:
        """Take the mark away: from now on it serves."""


class DumpCheck(ABC):
    """Takes a dump's bytes; `finish` refuses what cannot be read."""

    @abstractmethod
    def write(self, data: bytes, /) -> Any:
        """As of a file."""

    @abstractmethod
    def finish(self) -> None:
        """Raises BackupRefusedError."""

    @abstractmethod
    def end(self) -> None:
        """Break off what still runs."""
