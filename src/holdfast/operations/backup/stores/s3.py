"""A bucket of an S3-compatible server.

A file goes there as objects of some megabytes, each put whole in one request. So there are no multipart uploads, whose
parts stay invisible, and paid for, when the process that began them dies. The manifest is the last object.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from holdfast.core.clock import Clock, utc_now
from holdfast.operations.backup.errors import StoreError
from holdfast.operations.backup.stores.base import PartSink, Store, Upload
from holdfast.operations.backup.types import MANIFEST, is_backup_id

_BLOCK = 1024 * 1024
# What has no manifest and was not written to for so long is no backup under way.
_LEFTOVER_HOURS = 24
_UPLOADED_AT_ONCE = 2


class BucketStore(Store):
    """`options` are those of the library's S3Store: endpoint, region, keys."""

    def __init__(self, bucket: str, prefix: str, *, clock: Clock = utc_now, **options: Any) -> None:
        self.shown = f"s3://{bucket}/{prefix}".rstrip("/")
        self._clock = clock
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "timeout": timedelta(seconds=120),
                "connect_timeout": timedelta(seconds=10),
                "allow_http": str(options.get("endpoint", "")).startswith("http://"),
            },
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=120)},
            **options,
        )

    def ids(self) -> list[str]:
        with self._told():
            folders = obstore.list_with_delimiter(self._store)["common_prefixes"]
            named = [each.rstrip("/").rpartition("/")[2] for each in folders]
            return sorted((each for each in named if is_backup_id(each) and self._is_whole(each)), reverse=True)

    def _is_whole(self, backup_id: str) -> bool:
        try:
            obstore.head(self._store, f"{backup_id}/{MANIFEST}")
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def upload(self, backup_id: str) -> Iterator[Upload]:
        uploading = _BucketUpload(self._store, backup_id, self._told)
        try:
            with uploading.running():
                yield uploading
        finally:
            if not uploading.is_finished:
                # Where the server is away, they go with the left-overs.
                with contextlib.suppress(BaseError, OSError):
                    self._remove_all(backup_id)

    def read_small(self, backup_id: str, name: str) -> bytes | None:
        with self._told():
            try:
                return bytes(obstore.get(self._store, f"{backup_id}/{name}").bytes())
            except FileNotFoundError:
                return None

    def write_small(self, backup_id: str, name: str, content: bytes) -> None:
        with self._told():
            obstore.put(self._store, f"{backup_id}/{name}", content, use_multipart=False)

    def blocks(self, backup_id: str, name: str) -> Iterator[bytes]:
        try:
            for block in obstore.get(self._store, f"{backup_id}/{name}").stream(min_chunk_size=_BLOCK):
                yield bytes(block)
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise StoreError(f"{name} of backup {backup_id} cannot be read: {_reason(error)}") from error

    def sizes(self, backup_id: str) -> dict[str, int]:
        with self._told():
            return {each["path"].rpartition("/")[2]: each["size"] for each in self._objects(f"{backup_id}/")}

    def remove(self, backup_id: str) -> None:
        with self._told():
            # Without it the rest is none.
            obstore.delete(self._store, f"{backup_id}/{MANIFEST}")
            self._remove_all(backup_id)

    def remove_leftovers(self) -> int:
        with self._told():
            lefts: dict[str, bool] = {}
            old = self._clock() - timedelta(hours=_LEFTOVER_HOURS)
            for each in self._objects(None):
                folder, _, name = each["path"].rpartition("/")
                if is_backup_id(folder):
                    is_left = name != MANIFEST and each["last_modified"] < old
                    lefts[folder] = lefts.get(folder, True) and is_left
            removed = [folder for folder, is_left in lefts.items() if is_left]
            for folder in removed:
                self._remove_all(folder)
            return len(removed)

    def _remove_all(self, backup_id: str) -> None:
        if paths := [each["path"] for each in self._objects(f"{backup_id}/")]:
            obstore.delete(self._store, paths)

    def _objects(self, prefix: str | None) -> Iterator[Any]:
        for page in obstore.list(self._store, prefix):
            yield from page

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreError(f"{self.shown} cannot be used for backups: {_reason(error)}") from error


class _BucketUpload(Upload):
    part_bytes = 16 * 1024 * 1024

    def __init__(self, store: S3Store, backup_id: str, told: Callable[[], AbstractContextManager[None]]) -> None:
        self._store = store
        self._told = told
        self._backup_id = backup_id
        self._threads = ThreadPoolExecutor(_UPLOADED_AT_ONCE, thread_name_prefix="backup-upload")
        self._under_way: deque[Future[Any]] = deque()
        self.is_finished = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Ends only when no upload is under way, so that what is removed then stays removed."""
        try:
            yield
        finally:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def begin_part(self, name: str) -> PartSink:
        return _ObjectSink(self, name)

    def put(self, name: str, content: bytearray) -> None:
        """Send an object beside what is made next; at most so many are in memory."""
        with self._told():
            self._wait_for(_UPLOADED_AT_ONCE - 1)
        self._under_way.append(
            self._threads.submit(obstore.put, self._store, self._path(name), content, use_multipart=False)
        )

    def copy_part(self, backup_id: str, name: str) -> None:
        try:
            obstore.copy(self._store, f"{backup_id}/{name}", self._path(name))
        except FileNotFoundError:
            raise
        except BaseError as error:
            raise StoreError(f"{name} of backup {backup_id} cannot be copied: {_reason(error)}") from error

    def finish(self, manifest: bytes) -> None:
        with self._told():
            self._wait_for(0)
            obstore.put(self._store, self._path(MANIFEST), manifest, use_multipart=False)
        self.is_finished = True

    def _wait_for(self, at_most: int) -> None:
        while len(self._under_way) > at_most:
            self._under_way.popleft().result()

    def _path(self, name: str) -> str:
        return f"{self._backup_id}/{name}"


class _ObjectSink(PartSink):
    def __init__(self, upload: _BucketUpload, name: str) -> None:
        self._upload = upload
        self._name = name
        self._content = bytearray()

    def write(self, block: memoryview) -> None:
        self._content += block

    def close(self) -> None:
        self._upload.put(self._name, self._content)

    def discard(self) -> None:
        self._content = bytearray()


def _reason(error: BaseException) -> str:
    """The library's message ends with pages of what it was asked."""
    return str(error).partition("\n\nDebug source:")[0].strip().replace("\n", " ")[:500]
