"""The errors of MariaDB and of its driver in the words of the product."""

import asyncio
import re

from asyncmy import errors as driver_errors

from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.db.errors import (
    CheckViolationError,
    ConnectionLostError,
    DatabaseError,
    ForeignKeyViolationError,
    NotNullViolationError,
    SerializationError,
    ServerFullError,
    StatementTimeoutError,
    StorageFullError,
    UniqueViolationError,
    UnstorableValueError,
)

DRIVER_ERRORS = (
    driver_errors.MySQLError,
    OSError,
    TimeoutError,
    RuntimeError,
    asyncio.IncompleteReadError,
    UnicodeEncodeError,
)
_CONSTRAINT = re.compile(r"CONSTRAINT `([^`]+)`")
_KEY = re.compile(r"for key '(?:[^'.]*\.)?([^']+)'")
_COLUMN = re.compile(r"(?:Column|Field) '([^']+)'")


_DUPLICATE_KEY = {1062, 1586, 1761, 1762}
_NO_PARENT = {1216, 1452}
_STILL_REFERENCED = {1217, 1451}
_CHECK = {4025, 3819}
_MISSING_VALUE = {1048, 1364, 1263}
_UNSTORABLE = {1264, 1265, 1366, 1406, 1292, 1300, 1267, 1270, 1690, 3140, 4037, 4038}
_CONFLICT = {1205, 1213, 1020}
# 1047 is Galera's "no quorum", 1180 its "lost while the commit was sent"; 1927 and 1053 come while a server goes down,
# 4031 from one that gave the client up; 1290, 1792 and 1836 from one that only reads.
_LOST = {
    1042,
    1043,
    1047,
    1053,
    1129,
    1152,
    1153,
    1158,
    1159,
    1160,
    1161,
    1180,
    1290,
    1792,
    1836,
    1927,
    2002,
    2003,
    2006,
    2013,
    2055,
    4031,
}
# The server takes no more connections, of all clients or of this account.
_TOO_MANY_CONNECTIONS = {1040, 1203, 1226}
# Files that cannot grow, tables that cannot, and whatever the storage engine was told by the system: 28 is ENOSPC.
_DISK_FULL = {3, 28, 1021, 1026, 1114, 1878, 1880}
_NO_SPACE = re.compile(r"(?:error|errno:|Errcode:) ?28\b")
# A transaction beyond the limits of the cluster: Galera says so at a statement, or at COMMIT with EMSGSIZE.
_TOO_LARGE = re.compile(r"wsrep_max_ws|error 90\b")
_TOOK_TOO_LONG = {1969, 3024, 1317}


def translated(error: BaseException) -> HoldfastError:
    """The error of the driver in the words of the product."""
    if isinstance(error, UnicodeEncodeError):
        return UnstorableValueError(f"a value cannot be stored: {error}")
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if number == 1180 and _TOO_LARGE.search(text):
        return UnavailableError(
            "the change is larger than the cluster takes in one transaction; nothing was changed. Its operator must"
            " raise wsrep_max_ws_rows or wsrep_max_ws_size",
            retry_after_seconds=60,
        )
    if isinstance(error, OSError | TimeoutError | RuntimeError | asyncio.IncompleteReadError) or number in _LOST:
        return ConnectionLostError("the database cannot be reached; try again in a moment", retry_after_seconds=2)
    if number in _TOO_MANY_CONNECTIONS:
        return ServerFullError(
            "the database takes no further connection now; try again in a moment", retry_after_seconds=2
        )
    if number in _DISK_FULL or _NO_SPACE.search(text):
        return StorageFullError()
    if isinstance(error, driver_errors.InterfaceError) and number == 0:
        return ConnectionLostError("the database closed the connection; try again in a moment", retry_after_seconds=2)
    if number in _DUPLICATE_KEY:
        return UniqueViolationError("another row has this key already", _first(_KEY, text))
    if number in _NO_PARENT:
        return ForeignKeyViolationError("a row that this one refers to does not exist", _first(_CONSTRAINT, text))
    if number in _STILL_REFERENCED:
        return ForeignKeyViolationError("other rows refer to this one", _first(_CONSTRAINT, text))
    if number in _CHECK:
        return CheckViolationError("a check refuses this value", _first(_CONSTRAINT, text))
    if number in _MISSING_VALUE:
        column = _first(_COLUMN, text)
        return NotNullViolationError(f"{column} must be given", column)
    if number in _UNSTORABLE:
        return UnstorableValueError(f"a value cannot be stored: {text}")
    if number in _CONFLICT:
        return SerializationError("the change met another one at the same moment; try again", retry_after_seconds=1)
    if number in _TOOK_TOO_LONG:
        return StatementTimeoutError()
    return DatabaseError(f"MariaDB refused: {text}")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
