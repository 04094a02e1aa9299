"""All procedures of an engine, in the order in which they are created."""

from holdfast.db.lifecycle.procedures import mariadb, postgresql

ENGINES = ("postgresql", "mariadb")


def write_procedures(engine: str) -> list[str]:
    """The statements that create the procedures on `postgresql` or `mariadb`."""
    if engine == "postgresql":
        texts = [postgresql.OUTSIDE, postgresql.cleanup_soft_deleted(), postgresql.CLEANUP_AUDIT_LOGS]
    else:
        texts = [mariadb.cleanup_soft_deleted(), mariadb.CLEANUP_AUDIT_LOGS]
    return [text.strip() for text in texts]
