"""The way of bytes into a store and out of it: compressed, encrypted, in pieces, measured at both ends.

Whatever the size, some hundred kilobytes are in memory (and on the way to a bucket some tens of megabytes). Everything
here blocks.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, Protocol, cast

import pyrage
import zstandard

from holdfast.operations.backup.errors import BackupRefusedError, StoppedError
from holdfast.operations.backup.stores.base import PartWriter, Store, Upload
from holdfast.operations.backup.types import StoredFile

BLOCK = 256 * 1024
_LEVEL = 3
# The window of that level, with room; a changed stream must not make the reader take any memory it asks for.
_LARGEST_WINDOW = 32 * 1024 * 1024

OnBytes = Callable[[int], None]


class Source(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes; none at the end."""


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> Any:
        """Take all of them."""


class Stop:
    """Tells work in a thread to end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """End at the next block."""
        self._event.set()

    def check(self) -> None:
        """Raise StoppedError where the end was asked for."""
        if self._event.is_set():
            raise StoppedError


class Measured:
    """Reads on, counting and hashing the plain bytes."""

    def __init__(self, source: Source, stop: Stop, on_bytes: OnBytes) -> None:
        self._source = source
        self._stop = stop
        self._on_bytes = on_bytes
        self._hash = hashlib.sha256()
        self.size = 0
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        try:
            self._stop.check()
            block = self._source.read(size if size > 0 else BLOCK)
        except Exception as error:
            self.failure = error
            raise
        self._hash.update(block)
        self.size += len(block)
        self._on_bytes(len(block))
        return block

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._hash.hexdigest()


def store_file(
    upload: Upload,
    source: Source,
    *,
    kind: Literal["database", "bundle"],
    name: str,
    path: str,
    compressed: bool,
    recipients: list[Any],
    stop: Stop,
    on_bytes: OnBytes,
) -> StoredFile:
    """Read a source to its end into the store."""
    measured = Measured(source, stop, on_bytes)
    writer = PartWriter(upload, f"{name}{'.zst' if compressed else ''}{'.age' if recipients else ''}")
    reader: Source = measured
    if compressed:
        packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        reader = packer.stream_reader(cast("IO[bytes]", measured), read_size=BLOCK)
    try:
        if recipients:
            pyrage.encrypt_io(reader, writer, recipients)
        else:
            while block := reader.read(BLOCK):
                writer.write(block)
        parts = writer.close()
    except Exception:
        writer.discard()
        if failure := measured.failure or writer.failure:
            raise failure from None
        raise
    return StoredFile(
        kind=kind,
        name=name,
        path=path,
        size=measured.size,
        sha256=measured.sha256,
        compressed=compressed,
        encrypted=bool(recipients),
        parts=parts,
    )


class CheckedSink:
    """Passes plain bytes on, and knows whether they are those of the manifest. `finish` must be called."""

    def __init__(self, backup_id: str, file: StoredFile, sink: Sink | None, stop: Stop, on_bytes: OnBytes) -> None:
        self._backup_id = backup_id
        self._file = file
        self._sink = sink
        self._stop = stop
        self._on_bytes = on_bytes
        self._hash = hashlib.sha256()
        self._size = 0
        self.failure: Exception | None = None

    def write(self, data: bytes) -> int:
        """As of a file."""
        try:
            self._stop.check()
            self._size += len(data)
            self._refuse_more()
            self._hash.update(data)
            if self._sink is not None:
                self._sink.write(data)
        except Exception as error:
            self.failure = error
            raise
        self._on_bytes(len(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def finish(self) -> None:
        """Refuse what was not all, or other bytes."""
        if (self._size, self._hash.hexdigest()) != (self._file.size, self._file.sha256):
            raise self._wrong()

    def _refuse_more(self) -> None:
        """A small stored file may unpack to anything."""
        if self._size > self._file.size:
            raise self._wrong()

    def _wrong(self) -> BackupRefusedError:
        return BackupRefusedError(
            f"{self._file.name} of backup {self._backup_id} does not hold what its manifest says: {self._size} bytes of"
            f" {self._file.size}, SHA-256 {self._hash.hexdigest()} instead of {self._file.sha256}"
        )


def load_file(
    store: Store,
    backup_id: str,
    file: StoredFile,
    sink: Sink | None,
    *,
    identities: list[Any],
    recipients: list[str],
    stop: Stop,
    on_bytes: OnBytes,
) -> None:
    """Write the plain bytes of a stored file to a sink; raises BackupRefusedError where they are not what they were.

    The sink may have got wrong bytes by then: what it made of them must not be used.
    """
    checked = CheckedSink(backup_id, file, sink, stop, on_bytes)
    writer: Any = checked
    if file.compressed:
        unpacker = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        writer = unpacker.stream_writer(cast("IO[bytes]", checked), closefd=False)
    stored = StoredBytes(store, backup_id, file)
    try:
        if file.encrypted:
            _decrypt(stored, writer, identities)
        else:
            while block := stored.read(BLOCK):
                writer.write(block)
        stored.drain()
    except Exception as error:
        if failure := stored.failure or checked.failure:
            raise failure from None
        # Where a stored piece was changed, its reader stumbles first; the piece says better what is wrong.
        stored.drain()
        _refuse(backup_id, file, error, recipients)
    checked.finish()


def check_stored(store: Store, backup_id: str, file: StoredFile, *, stop: Stop, on_bytes: OnBytes) -> None:
    """Read a file's stored bytes, whose key need not be at hand, and refuse those that are not what they were."""
    stored = StoredBytes(store, backup_id, file)
    while block := stored.read(BLOCK):
        stop.check()
        on_bytes(len(block))


def _decrypt(stored: "StoredBytes", writer: Any, identities: list[Any]) -> None:
    pyrage.decrypt_io(stored, writer, identities)


def _refuse(backup_id: str, file: StoredFile, error: Exception, recipients: list[str]) -> None:
    if isinstance(error, pyrage.DecryptError) and "No matching keys" in str(error):
        raise BackupRefusedError(
            f"backup {backup_id} is encrypted for {', '.join(recipients)}, and none of the identities given opens it",
            identities="other",
        ) from None
    if isinstance(error, pyrage.DecryptError | zstandard.ZstdError | OSError):
        raise BackupRefusedError(f"{file.name} of backup {backup_id} is damaged: {error}") from error
    raise error


class StoredBytes:
    """The pieces of a file as one stream, each held against the manifest as it ends."""

    def __init__(self, store: Store, backup_id: str, file: StoredFile) -> None:
        self._blocks = _checked_blocks(store, backup_id, file)
        self._rest = memoryview(b"")
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        if not self._rest:
            try:
                self._rest = memoryview(next(self._blocks, b""))
            except Exception as error:
                self.failure = error
                raise
        size = size if size > 0 else BLOCK
        block, self._rest = self._rest[:size], self._rest[size:]
        return bytes(block)

    def drain(self) -> None:
        """Read what the reader left: the last piece is checked at its end."""
        while self.read(BLOCK):
            pass


def _checked_blocks(store: Store, backup_id: str, file: StoredFile) -> Iterator[bytes]:
    for part in file.parts:
        digest, size = hashlib.sha256(), 0
        try:
            for block in store.blocks(backup_id, part.name):
                digest.update(block)
                size += len(block)
                yield block
        except FileNotFoundError:
            raise BackupRefusedError(f"{part.name} of backup {backup_id} is missing") from None
        if (size, digest.hexdigest()) != (part.size, part.sha256):
            raise BackupRefusedError(
                f"{part.name} of backup {backup_id} is not what its manifest says: {size} bytes of {part.size},"
                f" SHA-256 {digest.hexdigest()} instead of {part.sha256}",
                found_sha256=digest.hexdigest(),
            )
