"""An instance that moves stays itself, so that on another engine it goes on with its own backups."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.db.address import parse_address
from holdfast.db.instance_id import find_instance_id_at
from holdfast.db.lifecycle.bundle_file import MANIFEST, manifest_text
from holdfast.operations.transfer.exporting import export_instance
from holdfast.operations.transfer.file import ExportRefusedError, InstanceManifest, open_export
from holdfast.operations.transfer.importing import import_instance
from holdfast.settings import Settings
from tests.operations.transfer.conftest import NewPlace
from tests.operations.transfer.files import Members, rewritten, sealed_anew

Fields = dict[str, Any]


async def _id_of(settings: Settings) -> str | None:
    return await find_instance_id_at(parse_address(settings.resolved_database_url))


async def test_an_import_goes_on_as_the_instance_that_was_exported(
    engine: str, source: Settings, export: Path, new_place: NewPlace, tmp_path: Path
) -> None:
    settings = new_place(engine)
    await import_instance(settings, export)
    moved = await _id_of(settings)
    assert moved is not None
    assert moved == await _id_of(source)
    again = tmp_path / "again.zip"
    await export_instance(settings, again)
    assert open_export(again).manifest.instance == open_export(export).manifest.instance == moved


def _of_a_release_before(members: Members, fields: Fields) -> None:
    del fields["instance"]


async def test_an_older_export_names_none_and_the_database_keeps_its_own(
    source: Settings, export: Path, new_place: NewPlace, tmp_path: Path
) -> None:
    settings = new_place("sqlite")
    await import_instance(settings, sealed_anew(export, tmp_path / "older.zip", _of_a_release_before))
    assert await _id_of(settings) not in {None, await _id_of(source)}


def _of_an_impossible_instance(members: Members) -> None:
    manifest = msgspec.json.decode(members[MANIFEST], type=InstanceManifest)
    members[MANIFEST] = manifest_text(msgspec.structs.replace(manifest, instance="x' OR 'y"))


async def test_an_id_that_cannot_be_is_refused(export: Path, new_place: NewPlace, tmp_path: Path) -> None:
    settings = new_place("sqlite")
    with pytest.raises(ExportRefusedError, match=r"manifest\.json of .* cannot be read: .*instance"):
        await import_instance(settings, rewritten(export, tmp_path / "changed.zip", _of_an_impossible_instance))
    assert await _id_of(settings) is None
