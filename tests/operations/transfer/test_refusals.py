"""Files that are not whole and unchanged, or of an unknown version, are refused by name, and leave nothing behind."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.errors import HoldfastError
from holdfast.db.address import parse_address
from holdfast.db.lifecycle import upgrades
from holdfast.db.lifecycle.bundle_file import MANIFEST
from holdfast.db.migrate import check_schema, schema_status
from holdfast.db.migrations.files import known_revisions
from holdfast.db.open import open_database
from holdfast.operations.checksums import read_checksums
from holdfast.operations.transfer.importing import import_instance
from tests.operations.transfer.conftest import NewPlace
from tests.operations.transfer.files import Members, rewritten, sealed_anew

Fields = dict[str, Any]


def _flip(path: Path, target: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    target.write_bytes(content)


def _truncate(path: Path, target: Path) -> None:
    target.write_bytes(path.read_bytes()[:-1000])


def _swap(members: Members) -> None:
    members["users.jsonl"], members["forms.jsonl"] = members["forms.jsonl"], members["users.jsonl"]


def _lose_a_line(members: Members) -> None:
    members["users.jsonl"] = members["users.jsonl"].partition(b"\n")[2]


def _lose_a_file(members: Members) -> None:
    del members["users.jsonl"]


def _add_a_file(members: Members) -> None:
    members["more.jsonl"] = b"{}\n"


def _change_a_count(members: Members) -> None:
    fields = msgspec.json.decode(members[MANIFEST])
    fields["files"]["users.jsonl"]["rows"] += 1
    members[MANIFEST] = msgspec.json.encode(fields, order="sorted")


def _change_a_bundle(members: Members) -> None:
    name = next(each for each in members if each.startswith("bundles/") and "prepared" not in each)
    members[name] = members[name][:-1] + b"!"


def _blow_a_bundle_up(members: Members) -> None:
    name = next(each for each in members if each.startswith("bundles/") and "prepared" not in each)
    # Packed it is small, whatever it unpacks to.
    members[name] = bytes(64 * 1024 * 1024)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_swap, r"(users|forms)\.jsonl in .* is not what the manifest says"),
        (_lose_a_line, r"users\.jsonl in .* is not what the manifest says: \d+ lines of"),
        (_lose_a_file, "holds other files than its manifest names"),
        (_add_a_file, "holds other files than its manifest names"),
        (_change_a_count, "was changed: its digest is not that of its text"),
        (_change_a_bundle, r"bundles/.* is not what the manifest says"),
        (_blow_a_bundle_up, r"bundles/.* is not what the manifest says: \d{1,7} bytes of \d+,"),
    ],
)
async def test_changed_members_are_refused(
    export: Path, new_place: NewPlace, tmp_path: Path, change: Callable[[Members], None], told: str
) -> None:
    await _require_refusal(new_place, rewritten(export, tmp_path / "changed.zip", change), told)


@pytest.mark.parametrize(("damage", "told"), [(_flip, "."), (_truncate, "is damaged, or no export at all")])
async def test_a_damaged_file_is_refused(
    export: Path, new_place: NewPlace, tmp_path: Path, damage: Callable[[Path, Path], None], told: str
) -> None:
    damage(export, tmp_path / "damaged.zip")
    await _require_refusal(new_place, tmp_path / "damaged.zip", told)


async def test_what_is_no_export_is_refused(source: Any, new_place: NewPlace, tmp_path: Path) -> None:
    await _require_refusal(new_place, tmp_path / "missing.zip", "missing.zip cannot be read: No such file")
    (tmp_path / "words.zip").write_text("just words")
    await _require_refusal(new_place, tmp_path / "words.zip", "is damaged, or no export at all")


def _of_a_newer_revision(members: Members, fields: Fields) -> None:
    fields["schema_revision"] = "9999"


def _of_an_impossible_revision(members: Members, fields: Fields) -> None:
    fields["schema_revision"] = "0001"


def _of_a_newer_format(members: Members, fields: Fields) -> None:
    fields["version"] = 2


def _of_a_bundle(members: Members, fields: Fields) -> None:
    fields["format"] = "holdfast-bundle"


def _with_an_unknown_table(members: Members, fields: Fields) -> None:
    fields["files"]["unheard_of.jsonl"] = dict(fields["files"]["users.jsonl"])
    members["unheard_of.jsonl"] = b"{}\n"


def _with_a_path(members: Members, fields: Fields) -> None:
    name, entry = next(iter(fields["bundles"].items()))
    fields["bundles"] = {"../../etc/cron.d/evil.bundle.zip": entry}
    members["bundles/../../etc/cron.d/evil.bundle.zip"] = members.pop(f"bundles/{name}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_of_a_newer_revision, r"was made at schema revision 9999, and this version knows \d+: use the Holdfast that"),
        (_of_an_impossible_revision, "names the schema revision '0001', which there never was"),
        (_of_a_newer_format, "has version 2 of the format, and this Holdfast reads version 1"),
        (_of_a_bundle, "is no export of an instance: its format is 'holdfast-bundle'"),
        (_with_an_unknown_table, "holds rows of unheard_of, and this version has no such tables"),
        (_with_a_path, r"holds a bundle with an impossible name: '\.\./\.\./etc/cron\.d/evil"),
    ],
)
async def test_what_this_version_cannot_read_is_refused(
    export: Path, new_place: NewPlace, tmp_path: Path, change: Callable[[Members, Fields], None], told: str
) -> None:
    await _require_refusal(new_place, sealed_anew(export, tmp_path / "other.zip", change), told)


async def _require_refusal(new_place: NewPlace, file: Path, told: str) -> None:
    settings = new_place("sqlite")
    with pytest.raises(HoldfastError, match=told) as refused:
        await import_instance(settings, file, patience_seconds=0)
    assert str(file) in str(refused.value) or "the bundle names" in str(refused.value)
    status = await schema_status(parse_address(settings.resolved_database_url))
    if status.current is not None:
        async with open_database(settings).running() as database:
            assert sum(each.rows for each in (await read_checksums(database)).values()) == 0
    assert not list(settings.resolved_bundle_dir.glob("**/*.zip"))


def _with_a_lost_parent(members: Members, fields: Fields) -> None:
    lines = members["tokens.jsonl"].splitlines(keepends=True)
    members["tokens.jsonl"] = re.sub(rb'"user_id":"..', b'"user_id":"~~', lines[0]) + b"".join(lines[1:])


def _with_spaces(members: Members, fields: Fields) -> None:
    members["tokens.jsonl"] = members["tokens.jsonl"].replace(b'"kind":', b'"kind": ')


def _with_an_unknown_column(members: Members, fields: Fields) -> None:
    members["tokens.jsonl"] = members["tokens.jsonl"].replace(b'"kind":', b'"king":"x","kind":')


def _out_of_order(members: Members, fields: Fields) -> None:
    members["users.jsonl"] = b"".join(reversed(members["users.jsonl"].splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_with_a_lost_parent, "does not exist|user_id"),
        (_with_spaces, r"tokens\.jsonl does not hold its rows as an export writes them"),
        (_with_an_unknown_column, r"a line of tokens\.jsonl is no row of that table"),
    ],
)
async def test_rows_that_the_database_must_not_take_leave_it_empty_and_good(
    export: Path, new_place: NewPlace, tmp_path: Path, change: Callable[[Members, Fields], None], told: str
) -> None:
    settings = new_place("sqlite")
    with pytest.raises(HoldfastError, match=told):
        await import_instance(settings, sealed_anew(export, tmp_path / "other.zip", change))
    await check_schema(parse_address(settings.resolved_database_url))
    assert not list(settings.resolved_bundle_dir.glob("**/*.zip"))


@pytest.mark.slow
async def test_after_a_refusal_at_the_end_the_database_takes_another_import(
    export: Path, new_place: NewPlace, engine: str, tmp_path: Path
) -> None:
    settings = new_place(engine)
    told = r"the database does not hold what the file does: users: \d+ rows as before, but other ones"
    with pytest.raises(HoldfastError, match=told):
        await import_instance(settings, sealed_anew(export, tmp_path / "other.zip", _out_of_order))
    await check_schema(parse_address(settings.resolved_database_url))
    assert not list(settings.resolved_bundle_dir.glob("**/*.zip"))
    done = await import_instance(settings, export)
    assert not done.was_unfinished


async def test_an_older_export_is_upgraded(
    export: Path, new_place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_protection(table: str, fields: Fields) -> Fields:
        return fields | {"deletion_protected": True} if table == "users" else fields

    def before(members: Members, fields: Fields) -> None:
        fields["schema_revision"] = known_revisions()[-2]
        members["users.jsonl"] = members["users.jsonl"].replace(b'"deletion_protected":false,', b"")
        # A table that there was not.
        members.pop("jobs.jsonl")
        del fields["files"]["jobs.jsonl"]

    monkeypatch.setitem(upgrades.UPGRADES, known_revisions()[-1], add_protection)
    settings = new_place("sqlite")
    done = await import_instance(settings, sealed_anew(export, tmp_path / "older.zip", before))
    async with open_database(settings).running() as database, database.read() as tx:
        assert await tx.fetch_text("SELECT count(*) FROM jobs") == [(0,)]
        (counted,) = await tx.fetch_text("SELECT count(*), sum(deletion_protected) FROM users")
    assert counted == (done.rows["users"], done.rows["users"])
