"""What every table shares: metadata, soft-delete columns, names of constraints, and the policy each must declare."""

from enum import StrEnum

import msgspec
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, MetaData, Table, UniqueConstraint, false
from sqlalchemy.schema import SchemaItem

from holdfast.db.types import Flag, Key, Timestamp, bounds_on_sqlite, utc_timestamp

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Deletion(StrEnum):
    """How a row of a table leaves."""

    SOFT = "soft"  # marked with its deletion, purged later (spec decision 2)
    PURGE_ONLY = "purge_only"  # goes only with its parent's purge or by retention: audit rows
    EXPIRES = "expires"  # working state of the service, removed when its time is over


class TablePolicy(msgspec.Struct, frozen=True):
    """What becomes of a table's rows.

    `in_bundle`: the recovery bundle carries them. `retention`: the category of settings that says how long they stay
    once deleted or made. `audited_as`: the resource type under which their changes stand in the audit log, or None
    for rows that record something else's change.
    """

    deletion: Deletion
    in_bundle: bool
    retention: str
    audited_as: str | None


def define_table(name: str, *items: SchemaItem, policy: TablePolicy) -> Table:
    """A table of the product, with its policy in `table.info["policy"]`."""
    columns = [item for item in items if isinstance(item, Column)]
    constraints = [item for item in items if not isinstance(item, Column)]
    if policy.deletion is Deletion.SOFT:
        columns += [
            Column("deleted_at", Timestamp()),
            Column("deletion_id", Key(21), nullable=False, server_default=""),
        ]
        constraints += [
            CheckConstraint("(deleted_at IS NULL) = (deletion_id = '')", name="deleted_has_deletion"),
            Index(None, "deletion_id"),
        ]
    return Table(
        name,
        metadata,
        *columns,
        *constraints,
        *bounds_on_sqlite(columns),
        info={"policy": policy},
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
        # Where the engine numbers the rows, no row gets the number of one that was removed: the servers need no word.
        sqlite_autoincrement=True,
    )


def policy_of(table: Table) -> TablePolicy:
    """The policy that the table declares."""
    policy = table.info.get("policy")
    if not isinstance(policy, TablePolicy):
        raise TypeError(
            f"{table.name} has no policy: make it with define_table(…, policy=TablePolicy(…)), and choose how its rows"
            " are deleted, whether the recovery bundle carries them, how long they stay, and under which name they are"
            " audited"
        )
    return policy


def cascade_key(
    column: str, target: str, width: int, *, nullable: bool = False, index: bool = True, primary_key: bool = False
) -> Column[str]:
    """A foreign key whose row goes with its parent. `index=False` where another key of the table begins with it."""
    return Column(
        column,
        Key(width),
        ForeignKey(target, ondelete="CASCADE", onupdate="CASCADE"),
        nullable=nullable,
        index=index,
        primary_key=primary_key,
    )


def unlink_key(column: str, target: str, width: int) -> Column[str]:
    """A foreign key that is emptied when its parent is purged."""
    return Column(
        column, Key(width), ForeignKey(target, ondelete="SET NULL", onupdate="CASCADE"), nullable=True, index=True
    )


def deletion_protected() -> Column[bool]:
    """Whether a deletion that would take the row is refused until somebody lifts this."""
    return Column("deletion_protected", Flag(), nullable=False, server_default=false())


def created_at() -> Column[object]:
    """When the row was made."""
    return Column("created_at", Timestamp(), nullable=False, server_default=utc_timestamp())


def updated_at() -> Column[object]:
    """When the row last changed. It is also the row's version: every change makes it greater."""
    return Column("updated_at", Timestamp(), nullable=False, server_default=utc_timestamp())


def live_unique(*columns: str) -> UniqueConstraint:
    """A key that is unique among live rows (spec decision 3)."""
    return UniqueConstraint(*columns, "deletion_id")


def one_of(column: str, *values: str, name: str | None = None) -> CheckConstraint:
    """A check that the column holds one of the listed values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or column)
