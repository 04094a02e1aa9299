"""A plan in the same plain words for every engine: which tables are read, by which index, and what is sorted."""

from enum import StrEnum

import msgspec


class AccessKind(StrEnum):
    """How the rows of a table are reached."""

    LOOK_UP = "look-up"  # a part of an index, chosen by a condition
    WHOLE_INDEX = "whole index"  # an index from one end, until enough rows are found
    SCAN = "scan"  # the table, row by row


class Access(msgspec.Struct, frozen=True):
    """One reading of one table.

    `examined` counts the rows that were read and `kept` those that its conditions left; both are None where the
    engine only estimated. `estimated` is its guess of the rows kept.
    """

    table: str
    kind: AccessKind
    indexes: tuple[str, ...] = ()
    estimated: float | None = None
    examined: float | None = None
    kept: float | None = None

    def __str__(self) -> str:
        if self.kind is AccessKind.SCAN:
            return f"{self.table} scan"
        words = " + ".join(self.indexes)
        return f"{self.table} by {words}" + (" (whole)" if self.kind is AccessKind.WHOLE_INDEX else "")


class Plan(msgspec.Struct, frozen=True):
    """What an engine does for a statement. `returned` is None where it only estimated.

    `sorted_rows` is what its sorts were given, or the guess of it, and None where the engine tells neither. `sorts`
    means all rows; `sorts_equals` that rows come in order already but for those equal in its first column.
    """

    statement: str
    accesses: tuple[Access, ...] = ()
    sorts: bool = False
    sorts_equals: bool = False
    sorted_rows: float | None = None
    returned: float | None = None

    @property
    def words(self) -> str:
        """The plan as it stands in the reviewed files: without costs and numbers of rows, which change with the data.

        Equal accesses are told once, in the order of the alphabet: how the engine joins them is its affair.
        """
        told = sorted({str(access) for access in self.accesses})
        sorts = ["sort"] if self.sorts else ["sort of equals"] if self.sorts_equals else []
        return "; ".join(told + sorts) or "reads no table"


class Fault(msgspec.Struct, frozen=True):
    """Why a statement would suffer as its tables grow."""

    statement: str
    rule: str
    sentence: str
    accepted_because: str = ""
