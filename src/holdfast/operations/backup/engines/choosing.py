"""Which engine an address needs."""

from holdfast.operations.backup.engines.base import Engine
from holdfast.operations.backup.engines.mariadb import MariadbEngine
from holdfast.operations.backup.engines.postgresql import PostgresqlEngine
from holdfast.operations.backup.engines.sqlite import SqliteEngine

_ENGINES: dict[str, type[Engine]] = {
    engine.dialect: engine for engine in (SqliteEngine, PostgresqlEngine, MariadbEngine)
}


def engine_of(dialect_name: str) -> Engine:
    """The engine of this name."""
    return _ENGINES[dialect_name]()
