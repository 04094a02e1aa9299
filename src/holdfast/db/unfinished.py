"""The mark of a database whose restore was broken off: nothing may serve, migrate or back up what is half there."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from holdfast.db.errors import SchemaDriftError

# A table on the servers. On SQLite it is the file that the restore writes, beside the database's own.
MARKER = "holdfast_unfinished_restore"


def restored_path(path: Path) -> Path:
    """The file that a restore writes, which becomes the database when it is whole."""
    return path.with_name(f"{path.name}.restoring")


def refuse_unfinished(connection: Connection) -> None:
    """Raise SchemaDriftError where the database bears the mark."""
    if connection.dialect.name == "sqlite":
        path = Path(connection.engine.url.database or "")
        if restored_path(path).exists():
            raise SchemaDriftError(
                f"a restore into {path} is under way, or was broken off: run `holdfast backup restore` again."
                f" To give it up, remove {restored_path(path)}"
            )
    elif (backup_id := unfinished_backup(connection)) is not None:
        raise SchemaDriftError(
            f"a restore of backup {backup_id} into this database is under way, or was broken off: run `holdfast backup"
            f" restore` again. To give it up, drop the table {MARKER}"
        )


def unfinished_backup(connection: Connection) -> str | None:
    """Which backup was being restored into a server's database, if it bears the mark."""
    if not inspect(connection).has_table(MARKER):
        return None
    return str(connection.execute(text(f"SELECT max(backup_id) FROM {MARKER}")).scalar() or "unknown")


def mark_unfinished(connection: Connection, backup_id: str) -> None:
    """Put the mark on a server's database, for good."""
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {MARKER} (backup_id VARCHAR(100) NOT NULL)"))
    connection.execute(text(f"DELETE FROM {MARKER}"))
    connection.execute(text(f"INSERT INTO {MARKER} VALUES (:backup_id)"), {"backup_id": backup_id})
    connection.commit()


def mark_finished(connection: Connection) -> None:
    """Take the mark away."""
    connection.execute(text(f"DROP TABLE {MARKER}"))
    connection.commit()
