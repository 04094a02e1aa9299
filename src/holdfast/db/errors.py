"""What an engine can say, in the words of the product. Each engine translates its driver's errors into these."""

from typing import Any

from holdfast.core.errors import ConflictError, HoldfastError, InvalidInputError, UnavailableError


class DatabaseError(HoldfastError):
    """An error of the database that no rule of the product foresees."""

    code = "database_error"


class ConstraintViolationError(ConflictError):
    """A constraint refused a write. `constraint` is its name, or "" where the engine does not tell."""

    code = "constraint_violation"

    def __init__(self, message: str, constraint: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.constraint = constraint


class UniqueViolationError(ConstraintViolationError):
    """Another row has this key already."""

    code = "already_exists"


class ForeignKeyViolationError(ConstraintViolationError):
    """The row refers to a parent that does not exist."""

    code = "missing_parent"


class CheckViolationError(ConstraintViolationError):
    """A value that the column does not take."""

    code = "refused_value"


class NotNullViolationError(ConstraintViolationError):
    """A value is missing."""

    code = "missing_value"


class UnstorableValueError(InvalidInputError):
    """A value that no column of this kind can hold: too long, out of range, or with a NUL character."""

    code = "unstorable_value"


class SerializationError(UnavailableError):
    """The transaction met another one and lost. Running the whole transaction again is safe."""

    code = "serialization_conflict"


class ConnectionLostError(UnavailableError):
    """The connection broke or none could be made. Nothing of the transaction was kept: running it again is safe."""

    code = "connection_lost"


class ServerFullError(ConnectionLostError):
    """The server takes no further connection now."""

    code = "too_many_connections"


class CommitOutcomeUnknownError(UnavailableError):
    """The connection broke after COMMIT was sent: the change took effect whole, or not at all, and nobody knows."""

    code = "commit_outcome_unknown"

    def __init__(self) -> None:
        super().__init__(
            "the database was lost just as the change was stored: it is there whole, or not at all; read to see which"
            " before you send it again. A request with an Idempotency-Key can be sent again as it is",
            retry_after_seconds=2,
        )


class StorageFullError(UnavailableError):
    """The database has no room to write, or another of its resources ran out. Nothing of the transaction was kept."""

    code = "database_storage_full"

    def __init__(self) -> None:
        super().__init__(
            "the database has no room left to write; nothing was changed. Its operator must make room",
            retry_after_seconds=15,
        )


class StatementTimeoutError(UnavailableError):
    """A statement ran into the limit of `HOLDFAST_STATEMENT_TIMEOUT_SECONDS` and was given up."""

    code = "statement_timeout"

    def __init__(self) -> None:
        super().__init__(
            "the database took longer than it may; try again later, with a narrower question", retry_after_seconds=5
        )


class PoolExhaustedError(UnavailableError):
    """No connection became free within the wait limit."""

    code = "pool_exhausted"


class PoolClosedError(UnavailableError):
    """No connections are lent any more: the process ends."""

    code = "pool_closed"

    def __init__(self) -> None:
        super().__init__("this server ends; try again in a moment", retry_after_seconds=1)


class SchemaDriftError(HoldfastError):
    """The live catalogue is not what this version needs. `details["findings"]` lists the differences by name."""

    code = "schema_drift"
