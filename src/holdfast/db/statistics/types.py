"""What the reports hold. A number that an engine does not keep is None; `remark` then says why."""

import msgspec


class IndexUse(msgspec.Struct, frozen=True, kw_only=True):
    """An index: how often it was used, how many entries were read, how many written, and how big it is.

    `rows_per_key` is how many rows have the same value of all its columns, by the last ANALYZE.
    """

    table: str
    index: str
    reads: int | None = None
    rows_read: int | None = None
    writes: int | None = None
    size_bytes: int | None = None
    rows_per_key: int | None = None


class SeedIndexUse(msgspec.Struct, frozen=True):
    """A row of the seed's own query (5.2)."""

    object_schema: str | None
    object_name: str | None
    count_read: int
    count_write: int


class IndexUsage(msgspec.Struct, frozen=True, kw_only=True):
    """All indexes, the least used first. `counted_since` is when the counts began, where the engine knows."""

    engine: str
    items: list[IndexUse]
    counted_since: str | None = None
    seed_query: list[SeedIndexUse] | None = None
    remark: str | None = None


class TableSize(msgspec.Struct, frozen=True, kw_only=True):
    """A table. `rows` is the engine's estimate, or counted where it keeps none; `dead_rows` wait for a vacuum."""

    table: str
    rows: int | None = None
    dead_rows: int | None = None
    table_bytes: int | None = None
    index_bytes: int | None = None


class TableSizes(msgspec.Struct, frozen=True, kw_only=True):
    """All tables, the biggest first, and the whole database."""

    engine: str
    items: list[TableSize]
    database_bytes: int
    remark: str | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that waits for another. What it runs is not told: on some engines it would hold values."""

    connection: str
    waits_for: list[str]
    seconds: float
    user: str | None = None
    kind: str | None = None


class PoolState(msgspec.Struct, frozen=True, kw_only=True):
    """The connections of this process."""

    name: str
    open: int
    in_use: int
    idle: int
    waiting: int
    most: int


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Who is connected to the database, by state, and who waits. `pool` is of the process that answered."""

    engine: str
    states: dict[str, int]
    most: int | None = None
    longest_transaction_seconds: float | None = None
    waits: list[Wait] = []
    pool: PoolState | None = None
    remark: str | None = None
