"""Which dumps an engine has."""

from holdfast.operations.legacy.upgrade.dumps.base import OldDumps
from holdfast.operations.legacy.upgrade.dumps.mariadb import MariadbDumps
from holdfast.operations.legacy.upgrade.dumps.postgresql import PostgresqlDumps

_DUMPS: dict[str, type[OldDumps]] = {each.dialect: each for each in (PostgresqlDumps, MariadbDumps)}


def dumps_of(dialect_name: str) -> OldDumps:
    """Those of the engine of this name."""
    return _DUMPS[dialect_name]()
