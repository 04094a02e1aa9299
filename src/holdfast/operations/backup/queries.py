"""The statements of backups: which bundles the rows name, and where those lie from now on."""

import msgspec
from sqlalchemy import bindparam, select, update

from holdfast.db.statements import Command, Query
from holdfast.db.tables import audit_archives, deletions

_TABLES = (deletions, audit_archives)


class NamedBundle(msgspec.Struct, frozen=True):
    """A row that names a bundle, and the SHA-256 that the bundle had then."""

    id: str
    path: str
    sha256: str | None


NAMED_BUNDLES: dict[str, Query[NamedBundle]] = {
    table.name: Query(
        f"backups.named_bundles({table.name})",
        select(table.c.id, table.c.bundle_path.label("path"), table.c.bundle_sha256.label("sha256"))
        .where(table.c.bundle_path.is_not(None))
        .order_by(table.c.id),
        NamedBundle,
        heavy=True,
    )
    for table in _TABLES
}
MOVE_BUNDLE: dict[str, Command] = {
    table.name: Command(
        f"backups.move_bundle({table.name})",
        update(table)
        .where(table.c.id == bindparam("row_id", type_=table.c.id.type))
        .values(bundle_path=bindparam("new_path", type_=table.c.bundle_path.type)),
    )
    for table in _TABLES
}
