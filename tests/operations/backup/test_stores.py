"""Folder and bucket alike: whole or not there at all, in pieces, and without left-overs."""

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.core.clock import utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.operations.backup.encryption import recipients_in
from holdfast.operations.backup.errors import StoreError
from holdfast.operations.backup.stores import folder as folder_store
from holdfast.operations.backup.stores import s3
from holdfast.operations.backup.stores.base import PartWriter, Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import MANIFEST, new_backup_id
from holdfast.settings import Settings
from tests.operations.backup.s3_server import KEY, SECRET, S3Server, s3_server

_CONTENT = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def bucket_settings(server: S3Server, bucket: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        backup_url=f"s3://{bucket}/deep/prefix",
        backup_s3_endpoint=server.endpoint,
        backup_s3_key=KEY,
        backup_s3_secret=SECRET,
    )


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(folder_store._FolderUpload, "part_bytes", 1_000_000)
    monkeypatch.setattr(s3._BucketUpload, "part_bytes", 1_000_000)
    if request.param == "folder":
        return open_store(Settings(data_dir=tmp_path))
    server: S3Server = request.getfixturevalue("server")
    bucket = f"bucket-{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    server.make_bucket(bucket)
    return open_store(bucket_settings(server, bucket, tmp_path))


def put(store: Store, backup_id: str, *, finish: bool = True, content: bytes = _CONTENT) -> None:
    with store.upload(backup_id) as upload:
        writer = PartWriter(upload, "database.sqlite")
        for start in range(0, len(content), 70_001):
            writer.write(content[start : start + 70_001])
        parts = writer.close()
        assert sum(part.size for part in parts) == len(content)
        assert {part.size for part in parts[:-1]} == {upload.part_bytes}
        assert store.ids() == []
        if not finish:
            raise KeyboardInterrupt
        upload.finish(b"the manifest")


def test_a_file_comes_back_in_the_pieces_it_went_in(store: Store) -> None:
    backup_id = new_backup_id()
    assert store.ids() == []
    put(store, backup_id)
    assert store.ids() == [backup_id]
    names = [f"database.sqlite.{number:04d}" for number in (1, 2, 3)]
    assert b"".join(block for name in names for block in store.blocks(backup_id, name)) == _CONTENT
    assert store.sizes(backup_id) == dict.fromkeys(names, 1_000_000) | {MANIFEST: 12}
    assert store.read_small(backup_id, MANIFEST) == b"the manifest"
    assert store.read_small(backup_id, "other") is None
    assert store.read_small(new_backup_id(), MANIFEST) is None
    with pytest.raises(FileNotFoundError):
        list(store.blocks(backup_id, "other"))
    for content in (b"first", b"second"):
        store.write_small(backup_id, "note", content)
        assert store.read_small(backup_id, "note") == content


def test_what_is_broken_off_is_no_backup_and_leaves_nothing(store: Store) -> None:
    backup_id = new_backup_id()
    with pytest.raises(KeyboardInterrupt):
        put(store, backup_id, finish=False)
    assert store.ids() == []
    assert store.sizes(backup_id) == {}


def test_pieces_are_taken_over_from_another_backup_and_outlive_it(store: Store) -> None:
    first, second = new_backup_id(), new_backup_id()
    put(store, first)
    with store.upload(second) as upload:
        upload.copy_part(first, "database.sqlite.0002")
        with pytest.raises(FileNotFoundError):
            upload.copy_part(first, "database.sqlite.0009")
        upload.finish(b"{}")
    assert store.ids() == sorted([first, second], reverse=True)
    store.remove(first)
    assert store.ids() == [second]
    assert store.sizes(first) == {}
    assert b"".join(store.blocks(second, "database.sqlite.0002")) == _CONTENT[1_000_000:2_000_000]


def test_no_upload_in_parts_is_left_in_the_bucket(server: S3Server, tmp_path: Path) -> None:
    server.make_bucket("parts")
    store = open_store(bucket_settings(server, "parts", tmp_path))
    with pytest.raises(KeyboardInterrupt):
        put(store, new_backup_id(), finish=False, content=b"x" * 40 * 1024 * 1024)
    listed = server.multipart_uploads("parts")
    assert "ListMultipartUploadsResult" in listed
    assert "<Upload>" not in listed


def test_what_a_killed_process_left_in_a_bucket_goes_after_a_day(server: S3Server, tmp_path: Path) -> None:
    server.make_bucket("left")
    settings = bucket_settings(server, "left", tmp_path)
    dead, whole = new_backup_id(), new_backup_id()
    server.change("left", f"deep/prefix/{dead}/database.sqlite.0001", b"half")
    server.change("left", f"deep/prefix/{whole}/{MANIFEST}", b"{}")
    server.change("left", "deep/prefix/note-of-somebody.txt", b"mine")
    now = open_store(settings)
    assert now.ids() == [whole]
    assert now.remove_leftovers() == 0
    tomorrow = s3.BucketStore(
        "left",
        "deep/prefix",
        clock=lambda: utc_now() + timedelta(hours=25),
        endpoint=server.endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
    )
    assert tomorrow.remove_leftovers() == 1
    assert now.sizes(dead) == {}
    assert now.ids() == [whole]


def test_what_a_killed_process_left_in_a_folder_goes_and_what_runs_stays(tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    with store.upload(new_backup_id()):
        dead = tmp_path / "backups" / f".{new_backup_id()}.part"
        dead.mkdir()
        (dead / "database.sqlite.0001").write_bytes(b"half")
        removed = tmp_path / "backups" / f".{new_backup_id()}.1234.removed"
        removed.mkdir()
        assert store.remove_leftovers() == 2
        assert len([path for path in (tmp_path / "backups").iterdir() if path.name.endswith(".part")]) == 1


def test_a_store_that_is_away_says_so(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="mount or make it"):
        open_store(Settings(data_dir=tmp_path, backup_url=str(tmp_path / "not-mounted"))).ids()
    absent = open_store(bucket_settings(server, "no-such-bucket", tmp_path))
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/deep/prefix cannot be used for backups: .*NoSuchBucket"):
        absent.ids()


@pytest.mark.parametrize("url", ["s3://", "ftp://host/x", "s3://bucket/x?y=1", "https://host/bucket"])
def test_an_impossible_place_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="HOLDFAST_BACKUP_URL is no place for backups"):
        open_store(Settings(data_dir=tmp_path, backup_url=url))


@pytest.mark.parametrize("url", ["s3://AKIA:verysecret@bucket/x", "file://host/var/backups"])
def test_a_place_that_holds_a_secret_or_a_host_is_refused_without_showing_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="HOLDFAST_BACKUP_URL") as refused:
        open_store(Settings(data_dir=tmp_path, backup_url=url))
    assert "verysecret" not in str(refused.value)
    assert open_store(Settings(data_dir=tmp_path, backup_url=f"file://{tmp_path}")).ids() == []


def test_recipients_that_name_no_key_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="names no key"):
        recipients_in(Settings(backup_recipients=" , "))
    assert recipients_in(Settings()) == []


def test_a_backup_that_ends_is_nobodys_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    monkeypatch.setattr(folder_store._FolderUpload, "part_bytes", 1_000_000)
    monkeypatch.setattr(folder_store, "sync_folder", lambda folder: store.remove_leftovers())
    backup_id = new_backup_id()
    put(store, backup_id)
    assert store.ids() == [backup_id]
    assert ".lock" not in store.sizes(backup_id)
