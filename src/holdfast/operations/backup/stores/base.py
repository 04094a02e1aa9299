"""The interface of a store. Everything here blocks; callers run it in a thread."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

from holdfast.operations.backup.types import Part


class PartSink(ABC):
    """One piece of a file while it is written."""

    @abstractmethod
    def write(self, block: memoryview) -> None:
        """Add bytes."""

    @abstractmethod
    def close(self) -> None:
        """Bring it to the store for good."""

    @abstractmethod
    def discard(self) -> None:
        """Leave it; nothing of it need be there."""


class Upload(ABC):
    """A backup while it is made: it is in no list until `finish`."""

    # A file goes to the store in pieces of at most so many bytes, each of which is there whole or not at all.
    part_bytes: int

    @abstractmethod
    def begin_part(self, name: str) -> PartSink:
        """A new piece."""

    @abstractmethod
    def copy_part(self, backup_id: str, name: str) -> None:
        """Take a piece over from another backup without reading it, under the same name."""

    @abstractmethod
    def finish(self, manifest: bytes) -> None:
        """Write the manifest, and with it make the backup one."""


class Store(ABC):
    """A place for backups. Raises StoreError where it cannot be used."""

    shown: str

    @abstractmethod
    def ids(self) -> list[str]:
        """The backups that are whole, the newest first."""

    @abstractmethod
    def upload(self, backup_id: str) -> AbstractContextManager[Upload]:
        """Make a backup; what is not finished at the end of the block is removed."""

    @abstractmethod
    def read_small(self, backup_id: str, name: str) -> bytes | None:
        """A file as a whole; None where there is none."""

    @abstractmethod
    def write_small(self, backup_id: str, name: str, content: bytes) -> None:
        """Write or replace a small file of a backup, whole or not at all."""

    @abstractmethod
    def blocks(self, backup_id: str, name: str) -> Iterator[bytes]:
        """The bytes of a piece; raises FileNotFoundError where there is none."""

    @abstractmethod
    def sizes(self, backup_id: str) -> dict[str, int]:
        """What lies in a backup's folder, in bytes."""

    @abstractmethod
    def remove(self, backup_id: str) -> None:
        """Remove a backup. Interrupted, it is no backup any more, and the rest goes with the left-overs."""

    @abstractmethod
    def remove_leftovers(self) -> int:
        """Remove what backups that were broken off left behind; how many. Those under way stay."""


class PartWriter:
    """Writes a file into an upload, in pieces, each measured."""

    def __init__(self, upload: Upload, name: str) -> None:
        self._upload = upload
        self._name = name
        self._sink: PartSink | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self.parts: list[Part] = []
        # The library that encrypts turns every error into one of its own.
        self.failure: Exception | None = None
        self.written = 0

    def write(self, data: bytes) -> int:
        """Take bytes; always all of them."""
        try:
            self._write(memoryview(data))
        except Exception as error:
            self.failure = error
            raise
        return len(data)

    def flush(self) -> None:
        """Nothing is held back that could go."""

    def _write(self, data: memoryview) -> None:
        while data:
            if self._sink is None:
                self._begin()
            assert self._sink is not None
            block = data[: self._upload.part_bytes - self._size]
            self._hash.update(block)
            self._sink.write(block)
            self._size += len(block)
            self.written += len(block)
            data = data[len(block) :]
            if self._size >= self._upload.part_bytes:
                self._end()

    def close(self) -> list[Part]:
        """End the file; its pieces. An empty file has one, too."""
        if self._sink is None and not self.parts:
            self._begin()
        self._end()
        return self.parts

    def discard(self) -> None:
        """Leave the piece under way."""
        if self._sink is not None:
            self._sink.discard()
            self._sink = None

    def _begin(self) -> None:
        self._sink = self._upload.begin_part(self._part_name())
        self._hash = hashlib.sha256()
        self._size = 0

    def _end(self) -> None:
        if self._sink is None:
            return
        sink, self._sink = self._sink, None
        sink.close()
        self.parts.append(Part(name=self._part_name(), size=self._size, sha256=self._hash.hexdigest()))

    def _part_name(self) -> str:
        return f"{self._name}.{len(self.parts) + 1:04d}"
