"""Exports as somebody with a grudge, a bad disk or an older version would have them."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast.db.lifecycle.bundle_file import MANIFEST, manifest_text
from holdfast.operations.transfer.file import InstanceManifest

Members = dict[str, bytes]


def rewritten(source: Path, target: Path, change: Callable[[Members], None]) -> Path:
    """The export with its members changed, the manifest as it was."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def sealed_anew(source: Path, target: Path, change: Callable[[Members, dict[str, Any]], None]) -> Path:
    """The export with its members and its manifest changed, all hashes and counts made to fit."""

    def change_both(members: Members) -> None:
        fields = msgspec.json.decode(members[MANIFEST])
        change(members, fields)
        for name, entry in fields["files"].items():
            content = members.get(name, b"")
            entry |= {"rows": content.count(b"\n"), "size": len(content)}
            entry["sha256"] = hashlib.sha256(content).hexdigest()
        members[MANIFEST] = manifest_text(msgspec.convert(fields, InstanceManifest))

    return rewritten(source, target, change_both)
