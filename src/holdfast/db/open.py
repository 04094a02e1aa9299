"""From the settings to a database: the one place that chooses an engine."""

from holdfast.db.address import parse_address
from holdfast.db.engines import load_engine
from holdfast.db.engines.base import Database
from holdfast.db.pool import PoolSettings
from holdfast.settings import Settings


def open_database(settings: Settings) -> Database:
    """The database that the settings name, not yet started."""
    address = parse_address(settings.resolved_database_url)
    pool = PoolSettings(
        max_idle=settings.pool_max_idle,
        max_open=settings.pool_max_open,
        lifetime_seconds=settings.pool_lifetime_seconds,
        wait_seconds=settings.pool_wait_seconds,
    )
    engine = load_engine(address.dialect_name)
    database: Database
    if address.dialect_name == "sqlite":
        database = engine.SqliteDatabase(address.path, pool=pool, slow_seconds=settings.slow_statement_seconds)
        return database
    limits = {
        "slow_seconds": settings.slow_statement_seconds,
        "statement_timeout_seconds": settings.statement_timeout_seconds,
        "deletion_timeout_seconds": settings.deletion_timeout_seconds,
    }
    if address.dialect_name == "postgresql":
        database = engine.PostgresqlDatabase(address.dsn, pool=pool, hosts=address.hosts, **limits)
    else:
        database = engine.MariadbDatabase(address.connect_arguments_of_hosts, pool=pool, **limits)
    return database
