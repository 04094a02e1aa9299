"""The interface of an engine's dumps of old tables: hold them still, dump them, check a dump, load one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.db.address import DatabaseAddress
from holdfast.operations.backup.engines.base import DumpCheck
from holdfast.operations.backup.streams import Source
from holdfast.operations.legacy.upgrade.old_rows import OldTable
from holdfast.settings import Settings


class Place(msgspec.Struct, frozen=True):
    """A schema of a PostgreSQL database, or a database of a MariaDB server; of a cluster's hosts one."""

    address: DatabaseAddress
    namespace: str

    @property
    def shown(self) -> str:
        """For people, without a password."""
        if self.address.dialect_name == "mariadb":
            return self.address.with_database(self.namespace).shown
        return f"the schema {self.namespace} of {self.address.shown}"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection of ours and a dump both see, and what the dump's program must be told for that.

    `largest_statement` is how many bytes the server takes at once, where dumps are made of statements.
    """

    server_version: str
    options: tuple[str, ...] = ()
    largest_statement: int | None = None


class NamespaceState(msgspec.Struct, frozen=True):
    """What a namespace holds of any kind, by name, and the comment that stands on it."""

    things: tuple[str, ...]
    comment: str


class Dumping(ABC):
    """A dump under way. Everything blocks."""

    tool: str
    source: Source

    @abstractmethod
    def finish(self) -> None:
        """Once the source was read to its end: refuse a dump that is not whole, or that could not be loaded."""

    @abstractmethod
    def end(self) -> None:
        """Break off what still runs."""


class Loading(ABC):
    """A dump on its way into a namespace. Everything blocks."""

    @abstractmethod
    def write(self, data: bytes, /) -> object:
        """Take the next bytes of the dump's file."""

    @abstractmethod
    def finish(self) -> None:
        """All bytes were given: wait until they are in."""

    @abstractmethod
    def end(self) -> None:
        """Break off what still runs."""


class OldDumps(ABC):
    """What an engine does with dumps of old tables."""

    dialect: ClassVar[str]
    file_name: ClassVar[str]
    # What a load leaves out that may not give it to others, in words.
    others_rights: ClassVar[str]

    @abstractmethod
    async def pinned(self, connection: AsyncConnection, address: DatabaseAddress) -> DatabaseAddress:
        """The address with that host alone which the connection is on."""

    @abstractmethod
    async def server_version(self, connection: AsyncConnection) -> str:
        """As the server says it."""

    @abstractmethod
    async def refuse_inexact(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        """Raise LegacyError where a dump would not bring back what is there."""

    @abstractmethod
    async def hold_still(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> Moment:
        """Let the connection and a dump see one moment."""

    @abstractmethod
    def dump(self, settings: Settings, place: Place, moment: Moment) -> AbstractContextManager[Dumping]:
        """A dump of that moment, ended with the block."""

    @abstractmethod
    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        """Takes the bytes of a dump's file, and refuses what cannot be loaded."""

    @abstractmethod
    async def lock_out_other_loads(self, connection: AsyncConnection, place: Place) -> None:
        """Let no other load into the namespace begin while the connection lasts; LegacyError where one goes on."""

    @abstractmethod
    async def find(self, connection: AsyncConnection, place: Place) -> NamespaceState | None:
        """The namespace, where it is there."""

    @abstractmethod
    async def make(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        """Make it, with a comment on it from its first moment."""

    @abstractmethod
    async def drop(self, connection: AsyncConnection, place: Place) -> None:
        """Drop it with all that is in it."""

    @abstractmethod
    async def set_comment(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        """Put another comment on it."""

    @abstractmethod
    def load(self, settings: Settings, place: Place, server_version: str) -> AbstractContextManager[Loading]:
        """Load a dump as it is into the namespace, which is there and empty."""

    @abstractmethod
    def load_as_own(self, settings: Settings, place: Place, server_version: str) -> AbstractContextManager[Loading]:
        """As `load`, but everything becomes the account's own, and nobody else gets a right."""

    @abstractmethod
    async def settle(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        """Let the engine see how many rows there are by now."""
