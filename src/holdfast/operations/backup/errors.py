"""What can be wrong with a backup, its store or its target."""

from holdfast.core.errors import ConflictError, HoldfastError, NotFoundError, UnavailableError, UnprocessableError


class BackupRefusedError(UnprocessableError):
    """A backup that is not whole and unchanged, or that cannot be read with what is at hand."""

    code = "backup_refused"


class NoSuchBackupError(NotFoundError):
    """There is no backup of this name, or none at all."""

    code = "no_such_backup"


class BackupFailedError(HoldfastError):
    """The backup could not be made; nothing of it counts as one."""

    code = "backup_failed"


class ProgramKilledError(BackupFailedError):
    """A signal ended a program of the database: that says nothing about what the program read."""

    code = "backup_program_killed"


class SchemaChangedError(ConflictError):
    """A migration ran beside the backup."""

    code = "schema_changed"


class CheckBrokenOffError(UnavailableError):
    """A backup could not be checked with what this machine has at the moment: that says nothing about the backup."""

    code = "backup_check"


class StoreError(UnavailableError):
    """The store of backups cannot be used."""

    code = "backup_store"


class ProgramError(UnavailableError):
    """A program of the database is missing or too old."""

    code = "backup_program"


class RestoreRefusedError(ConflictError):
    """The target is not what a restore may write to."""

    code = "restore_refused"


class RestoreFailedError(HoldfastError):
    """The restore broke off; the target is marked as unfinished."""

    code = "restore_failed"


class StoppedError(Exception):
    """The work was cancelled: never shown to anybody."""
