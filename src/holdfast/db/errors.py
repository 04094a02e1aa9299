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
    """The connection broke. Whether a commit under way took effect is not known."""

    code = "connection_lost"


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


class SchemaDriftError(HoldfastError):
    """The live catalogue is not what this version needs. `details["findings"]` lists the differences by name."""

    code = "schema_drift"
