"""Files such as the doctor's cure of orphans leaves."""

from pathlib import Path

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.lifecycle.bundle_file import BundleWriter
from holdfast.db.migrations.files import known_revisions
from holdfast.operations.doctor.orphan_files import orphan_file


def add_orphan_file(bundle_dir: Path) -> Path:
    """A whole one, with a row."""
    file_id = new_long_id()
    path = orphan_file(bundle_dir, file_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with BundleWriter(path) as writer:
        lines = writer.begin("forms.jsonl")
        lines.write([b'{"id":"' + file_id.encode() + b'"}'])
        lines.end()
        writer.finish(
            kind="orphans",
            subject={"id": file_id},
            dialect="sqlite",
            made_at=utc_now(),
            schema_revision=known_revisions()[-1],
        )
    return path
