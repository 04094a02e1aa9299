"""The recovery bundle: what it holds, that it is read back as it was written, and that no damaged one is read."""

import errno
import hashlib
import resource
import secrets
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.errors import NotFoundError
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import Bundle, bundle_path, write_bundle
from holdfast.db.lifecycle.bundle_file import (
    BundleReader,
    BundleRefusedError,
    BundleWriter,
    FileEntry,
    Manifest,
    manifest_text,
    open_bundle,
)
from holdfast.db.lifecycle.deletion_closure import BUNDLED
from holdfast.db.lifecycle.recover import check_recovery
from holdfast.db.lifecycle.row_format import format_of
from holdfast.db.lifecycle.upgrades import FIRST_REVISION, UPGRADES, steps_between
from holdfast.db.migrations.files import known_revisions
from tests.db.deleting import NOON, Course, delete, make_course
from tests.db.snapshots import Snapshot, read_rows

MADE_AT = datetime(2026, 4, 1, tzinfo=UTC)


async def no_lease() -> None:
    """Nothing is leased."""


async def write(database: Database, deletion_id: str, folder: Path) -> Bundle:
    return await write_bundle(database, deletion_id, folder, made_at=MADE_AT, renew=no_lease)


def lines_of(reader: BundleReader, name: str) -> list[Any]:
    return [msgspec.json.decode(line) for page in reader.pages(name, 2) for line in page]


@pytest.fixture
async def course(database: Database) -> Course:
    return await make_course(database)


@pytest.fixture
async def path(database: Database, course: Course, tmp_path: Path) -> Path:
    """The bundle of a user with an earlier deletion beneath."""
    await delete(database, "form-message", course.messages[0])
    return (await write(database, await delete(database, "user", course.student), tmp_path)).path


async def test_a_bundle_holds_every_row_of_the_closure_as_the_database_has_it(
    database: Database, course: Course, tmp_path: Path
) -> None:
    nested = await delete(database, "form-message", course.messages[0])
    deletion_id = await delete(database, "user", course.student)
    rows = await read_rows(database)
    bundle = await write(database, deletion_id, tmp_path)
    found: Snapshot = {}
    for table in BUNDLED:
        form = format_of(table)
        decoded = [form.decode(line) for page in bundle.reader.pages(f"{table.name}.jsonl", 2) for line in page]
        found[table.name] = {form.key_of(row): msgspec.structs.asdict(row) for row in decoded}
        assert list(found[table.name]) == sorted(found[table.name]), "in the order of the keys"
        for key, row in found[table.name].items():
            assert row == rows[table.name][key]
    taken = {name: len(each) for name, each in found.items() if each}
    assert taken == bundle.manifest.rows_by_table() == bundle.standing
    assert taken == {
        "users": 1,
        "user_group": 1,
        "tokens": 1,
        "forms": 1,
        "form_messages": 3,
        "image_requests": 1,
        "course_workloads": 1,
        "audit_logs": 3,
    }
    own = taken | {"form_messages": 2}
    del own["audit_logs"]
    assert bundle.manifest.own_rows_by_table() == own
    assert {row["id"] for row in lines_of(bundle.reader, "deletions.jsonl")} == {nested, deletion_id}
    pointers = lines_of(bundle.reader, "pointers.jsonl")
    assert {(each["table"], each["column"], *each["key"], each["value"]) for each in pointers} == {
        ("image_allow_list", "request_id", course.rule, course.request),
        ("image_allow_list", "request_id", course.outside_rule, course.request),
    }


async def test_a_bundle_says_where_it_comes_from(database: Database, course: Course, tmp_path: Path) -> None:
    deletion_id = await delete(database, "form", course.form, root_label="A »question«")
    manifest = (await write(database, deletion_id, tmp_path)).manifest
    assert (manifest.format, manifest.version, manifest.kind) == ("holdfast-bundle", 1, "deletion")
    assert (manifest.dialect, manifest.made_at) == (database.dialect_name, MADE_AT)
    assert manifest.schema_revision == known_revisions()[-1]
    assert manifest.subject == {
        "id": deletion_id,
        "root_type": "form",
        "root_id": course.form,
        "root_label": "A »question«",
        "actor_name": "tester",
    }


async def test_a_line_is_canonical_json(database: Database, course: Course, tmp_path: Path) -> None:
    bundle = await write(database, await delete(database, "project", course.project), tmp_path)
    ((line,),) = bundle.reader.pages("course_workloads.jsonl", 10)
    fields = msgspec.json.decode(line)
    assert list(fields) == sorted(fields)
    assert msgspec.json.encode(fields) == line
    assert fields["started_at"] == fields["deleted_at"] == "2026-03-01T12:00:00.250000Z"
    assert datetime.fromisoformat(fields["started_at"]) == NOON
    resources = lines_of(bundle.reader, "resources.jsonl")
    kept = '{"big": 12345678901234567890123, "a": 1.50, "b": "\\u00e9"}'
    assert [row["parsed_yaml"] for row in resources] == [kept] * 2, "JSON stays as it was written"


async def test_the_same_rows_give_the_same_file(database: Database, course: Course, tmp_path: Path) -> None:
    deletion_id = await delete(database, "group", course.group)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = [await write(database, deletion_id, tmp_path / name) for name in ("a", "b")]
    assert first.reader.sha256 == second.reader.sha256
    assert first.reader.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


async def test_only_the_service_reads_a_bundle_and_nothing_else_is_left(
    database: Database, course: Course, tmp_path: Path
) -> None:
    deletion_id = await delete(database, "form", course.form)
    left = tmp_path / f".{deletion_id}.bundle.zip.0123.part"
    left.write_bytes(b"of a process that died")
    bundle = await write(database, deletion_id, tmp_path)
    assert bundle.path.stat().st_mode & 0o077 == 0
    assert bundle.path == bundle_path(tmp_path, deletion_id)
    assert files_in(tmp_path) == [bundle.path.name]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("deletion_id", ["no-such-deletion", "../../etc/passwd", ""])
async def test_a_deletion_that_is_not_there_has_no_bundle(deletion_id: str, database: Database, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await write(database, deletion_id, tmp_path)
    assert files_in(tmp_path) == []


def test_what_is_not_finished_leaves_no_file(tmp_path: Path) -> None:
    class FullDiskError(Exception):
        pass

    def write_half() -> None:
        with BundleWriter(tmp_path / "a.bundle.zip") as writer:
            writer.begin("users.jsonl").write([b"{}"])
            raise FullDiskError

    with pytest.raises(FullDiskError):
        write_half()
    assert files_in(tmp_path) == []


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """Its room is needed: with SQLite the database is mostly on the same disk. A limit of the process stands for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed = []
    for most_bytes in range(100_000, 120_000, 1_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
        try:
            with BundleWriter(tmp_path / "a.bundle.zip") as writer:
                lines = writer.begin("users.jsonl")
                for _ in range(2_000):
                    lines.write([secrets.token_hex(100).encode()])
        except OSError as error:
            failed.append(error.errno)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert files_in(tmp_path) == []
    assert failed == [errno.EFBIG] * 20


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The bundle with other contents, in a sound zip."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    other = path.with_name("other.bundle.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return other


def _change_row(members: dict[str, bytes]) -> None:
    members["users.jsonl"] = members["users.jsonl"].replace(b"student", b"another")


def _drop_row(members: dict[str, bytes]) -> None:
    members["form_messages.jsonl"] = members["form_messages.jsonl"].partition(b"\n")[2]


def _repeat_row(members: dict[str, bytes]) -> None:
    members["form_messages.jsonl"] += members["form_messages.jsonl"]


def _drop_file(members: dict[str, bytes]) -> None:
    del members["pointers.jsonl"]


def _add_file(members: dict[str, bytes]) -> None:
    members["secrets.jsonl"] = b"{}\n"


def _drop_manifest(members: dict[str, bytes]) -> None:
    del members["manifest.json"]


def _change_manifest(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b'"kind":"deletion"', b'"kind":"Deletion"')


def _respace_manifest(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b",", b", ")


def _add_to_manifest(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b"{", b'{"a":1,', 1)


def _no_json(members: dict[str, bytes]) -> None:
    members["manifest.json"] = b"\xff{"


def _wrong_hash(members: dict[str, bytes]) -> None:
    _remade(members, "users.jsonl", sha256="0" * 64)


def _wrong_count(members: dict[str, bytes]) -> None:
    _remade(members, "users.jsonl", rows=2)


def _remade(members: dict[str, bytes], name: str, **changes: Any) -> None:
    manifest = msgspec.json.decode(members["manifest.json"], type=Manifest)
    files = {**manifest.files, name: msgspec.structs.replace(manifest.files[name], **changes)}
    members["manifest.json"] = manifest_text(msgspec.structs.replace(manifest, files=files))


def _unknown_format(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b"holdfast-bundle", b"holdfast-bundel")


def _newer_version(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(b'"version":1', b'"version":2')


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_change_row, "users.jsonl"),
        (_drop_row, "form_messages.jsonl"),
        (_repeat_row, "form_messages.jsonl"),
        (_drop_file, "other files"),
        (_add_file, "other files"),
        (_drop_manifest, "manifest.json"),
        (_change_manifest, "digest"),
        (_respace_manifest, "digest"),
        (_add_to_manifest, "manifest.json"),
        (_no_json, "manifest.json"),
        (_wrong_hash, "SHA-256"),
        (_wrong_count, "1 lines of 2"),
        (_unknown_format, "format"),
        (_newer_version, "version 2"),
    ],
)
async def test_a_changed_bundle_is_refused(
    change: Callable[[dict[str, bytes]], None], named: str, path: Path, database: Database
) -> None:
    other = rewritten(path, change)
    with pytest.raises(BundleRefusedError, match=named):
        open_bundle(other)
    with pytest.raises(BundleRefusedError):
        await check_recovery(database, other)


def test_a_bundle_that_is_only_packed_anew_is_the_same_bundle(path: Path) -> None:
    assert open_bundle(rewritten(path, lambda members: None)).manifest == open_bundle(path).manifest


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_bundle_is_refused(kept: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BundleRefusedError):
        open_bundle(path)


def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_read(path: Path) -> None:
    whole = path.read_bytes()
    sound = open_bundle(path)
    refused = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            found = open_bundle(path)
        except BundleRefusedError:
            refused += 1
        else:
            # Such as the time stamps in the directory of the zip.
            assert found.manifest == sound.manifest
            assert found.sha256 != sound.sha256
    assert refused > len(whole) / 7 / 2


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.bundle.zip"
    path.write_bytes(content)
    with pytest.raises(BundleRefusedError):
        open_bundle(path)
    with pytest.raises(BundleRefusedError, match="No such file"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(BundleRefusedError):
        open_bundle(tmp_path)


def write_by_hand(path: Path, files: dict[str, bytes], **facts: Any) -> Path:
    """A sound bundle of any content."""
    with BundleWriter(path) as writer:
        for name, content in files.items():
            lines = writer.begin(name)
            lines.write(content.splitlines())
            lines.end()
        given = {
            "dialect": "sqlite",
            "kind": "deletion",
            "made_at": MADE_AT,
            "schema_revision": known_revisions()[-1],
            "subject": {"id": "by-hand", "root_type": "form", "root_id": "f", "root_label": None, "actor_name": "x"},
        }
        writer.finish(**given | facts)
    return path


@pytest.mark.parametrize(
    ("files", "facts", "named"),
    [
        ({}, {"schema_revision": "9999"}, "newer Holdfast"),
        ({}, {"schema_revision": "0001"}, "never was"),
        ({}, {"schema_revision": "x"}, "never was"),
        ({}, {"kind": "audit-log"}, "audit-log"),
        ({}, {"subject": {}}, "deletion"),
        ({"moon_phases.jsonl": b"{}"}, {}, "moon_phases"),
        ({"forms.jsonl": b"[]"}, {}, "forms.jsonl"),
        ({"forms.jsonl": b"{}"}, {}, "forms.jsonl"),
        ({"forms.jsonl": b"\xff"}, {}, "forms.jsonl"),
        ({"pointers.jsonl": b"{}"}, {}, "pointers.jsonl"),
        ({"deletions.jsonl": b"{}"}, {}, "deletions.jsonl"),
        ({"../forms.jsonl": b"{}"}, {}, "impossible name"),
    ],
)
async def test_a_sound_file_with_senseless_content_is_refused(
    files: dict[str, bytes], facts: dict[str, Any], named: str, database: Database, tmp_path: Path
) -> None:
    path = write_by_hand(tmp_path / "by-hand.bundle.zip", files, **facts)
    before = await read_rows(database)
    with pytest.raises(BundleRefusedError, match=named):
        await check_recovery(database, path)
    assert await read_rows(database) == before


def test_every_migration_since_bundles_exist_says_what_it_does_to_their_rows() -> None:
    later = {revision for revision in known_revisions() if revision > FIRST_REVISION}
    assert set(UPGRADES) == later, (
        "db/lifecycle/upgrades.py: register a step for a migration that changes what a bundled row looks like, and None"
        " for one that does not"
    )


def test_the_steps_between_two_revisions_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(name: str, fields: dict[str, Any]) -> dict[str, Any]:
        return fields

    monkeypatch.setattr(
        "holdfast.db.lifecycle.upgrades.UPGRADES",
        {"0012": step, "0010": None, "0011": step, "0013": step, "0014": step},
    )
    assert steps_between("0010", "0012") == [step, step]
    assert steps_between("0012", "0012") == []


def test_an_entry_counts_lines_as_the_writer_does(tmp_path: Path) -> None:
    path = write_by_hand(tmp_path / "a.bundle.zip", {"users.jsonl": b"{}\n{}"})
    assert open_bundle(path).manifest.files == {
        "users.jsonl": FileEntry(rows=2, own_rows=0, size=6, sha256=hashlib.sha256(b"{}\n{}\n").hexdigest())
    }
