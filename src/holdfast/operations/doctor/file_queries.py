"""The statements on what names files: recovery bundles of deletions, and archives of the audit log."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Select, and_, bindparam, func, null, or_, select, type_coerce, update

from holdfast.db.statements import Command, Query, any_of, parameters_for
from holdfast.db.tables import audit_archives, audit_logs, deletions
from holdfast.db.types import LongText


class NamedFile(msgspec.Struct, frozen=True):
    """A file that a row names, with what it must be. `of` is the row's id, `state` how far it is."""

    of: str
    state: str
    path: str | None
    sha256: str | None
    rows: int | None


class KnownId(msgspec.Struct, frozen=True):
    """The id of a deletion, or of an archive."""

    id: str


class Gap(msgspec.Struct, frozen=True):
    """Numbers that no entry has: so many before this one."""

    before: int
    missing: int


class RemovedEntries(msgspec.Struct, frozen=True):
    """What took entries out of the log, and how many, in JSON or as a number."""

    counts: str


class LastNumber(msgspec.Struct, frozen=True):
    """The greatest number of an entry; None where there is none."""

    value: int | None


class ArchivedRange(msgspec.Struct, frozen=True):
    """An archive's numbers: which entries, how many, and how many of them have left the log."""

    id: str
    first_id: int
    last_id: int
    row_count: int
    removed_rows: int
    created_at: datetime


_after = bindparam("after_id", type_=deletions.c.id.type)
_limit: BindParameter[Any] = bindparam("at_most", required=True)


def _bundles() -> Select[tuple[object, ...]]:
    return select(
        deletions.c.id.label("of"),
        deletions.c.state,
        deletions.c.bundle_path.label("path"),
        deletions.c.bundle_sha256.label("sha256"),
        null().label("rows"),
    )


_is_bundled = and_(
    deletions.c.state.in_(("deleted", "purging", "purged", "failed")), deletions.c.bundle_path.is_not(None)
)
_is_gone_without = and_(
    deletions.c.state == "purged", deletions.c.bundle_path.is_(None), deletions.c.purged_with.is_(None)
)
BUNDLES = Query(
    "doctor.bundles",
    _bundles()
    .where(or_(_is_bundled, _is_gone_without), deletions.c.id > _after)
    .order_by(deletions.c.id)
    .limit(_limit),
    NamedFile,
    heavy=True,
)
BUNDLES_NOW = Query("doctor.bundles_now", _bundles().where(any_of(deletions.c.id, "ids")), NamedFile)
ARCHIVES = Query(
    "doctor.archives",
    select(
        audit_archives.c.id.label("of"),
        null().label("state"),
        audit_archives.c.bundle_path.label("path"),
        audit_archives.c.bundle_sha256.label("sha256"),
        audit_archives.c.row_count.label("rows"),
    )
    .where(audit_archives.c.id > _after)
    .order_by(audit_archives.c.id)
    .limit(_limit),
    NamedFile,
)
KNOWN_DELETIONS = Query("doctor.known_deletions", select(deletions.c.id).where(any_of(deletions.c.id, "ids")), KnownId)
KNOWN_ARCHIVES = Query(
    "doctor.known_archives", select(audit_archives.c.id).where(any_of(audit_archives.c.id, "ids")), KnownId
)
ARCHIVED = Query(
    "doctor.archived_ranges",
    select(*(audit_archives.c[name] for name in ArchivedRange.__struct_fields__)).order_by(audit_archives.c.id),
    ArchivedRange,
)
_entry = audit_logs.c.id
_numbered = select(
    _entry.label("before"), (_entry - func.lag(_entry).over(order_by=_entry) - 1).label("missing")
).subquery("numbered")
GAPS = Query(
    "doctor.gaps_in_audit_log",
    select(_numbered.c.before, _numbered.c.missing)
    .where(_numbered.c.missing >= bindparam("least", type_=_entry.type))
    .order_by(_numbered.c.before),
    Gap,
    heavy=True,
)
LAST_ENTRY: Query[LastNumber] = Query("doctor.last_entry", select(func.max(_entry).label("value")), LastNumber)
PURGED_COUNTS = Query(
    "doctor.purged_counts",
    select(type_coerce(deletions.c.actual_counts, LongText()).label("counts")).where(
        deletions.c.state.in_(("purged", "purging", "failed")), deletions.c.actual_counts.is_not(null())
    ),
    RemovedEntries,
    heavy=True,
)
# What the cure of orphans took out of the log stands in the log.
CURED_ENTRIES = Query(
    "doctor.cured_entries",
    select(type_coerce(audit_logs.c.new_data, LongText()).label("counts")).where(
        audit_logs.c.resource_type == "doctor",
        audit_logs.c.resource_id == "orphans",
        audit_logs.c.resource_label == "audit_logs",
    ),
    RemovedEntries,
)
SET_PATH = Command(
    "doctor.set_bundle_path",
    update(deletions)
    .where(
        deletions.c.id == bindparam("deletion_id", type_=deletions.c.id.type),
        deletions.c.bundle_path == bindparam("old_path", type_=deletions.c.bundle_path.type),
        deletions.c.bundle_sha256 == bindparam("old_sha256", type_=deletions.c.bundle_sha256.type),
    )
    .values(parameters_for(deletions, "bundle_path", "updated_at")),
)
FORGET_PREPARED = Command(
    "doctor.forget_prepared_bundle",
    update(deletions)
    .where(deletions.c.id == bindparam("deletion_id", type_=deletions.c.id.type), deletions.c.state == "deleted")
    .values(
        {
            **parameters_for(deletions, "updated_at"),
            "bundle_path": null(),
            "bundle_sha256": null(),
            "bundle_verified_at": null(),
        }
    ),
)
