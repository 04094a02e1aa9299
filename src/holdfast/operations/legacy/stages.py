"""The stages of an import: each fills one of our tables from one of the older ones, parents first."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.operations.legacy.fields import Field
from holdfast.operations.legacy.names import key_text
from holdfast.operations.legacy.source import Row, Source, SourceTable
from holdfast.operations.legacy.types import Note, Options, note


class Clash(StrEnum):
    """What becomes of a row whose name another one has."""

    NONE = "none"
    SUFFIX = "suffix"
    MERGE = "merge"
    # Merged into a row that was there before the import, suffixed where the other one was imported too.
    MERGE_FOREIGN = "merge foreign"


class Draft:
    """A row on its way: its values so far, what was done to it, and whether it is left out or merged."""

    def __init__(self, row: Row, old_key: str) -> None:
        self.row = row
        self.old_key = old_key
        self.new_id = ""
        self.values: dict[str, Any] = {}
        self.notes: list[Note] = []
        self.left_out: str | None = None
        self.merged_into: str | None = None
        # The deletion that the row was in, or that of what it hangs on.
        self.deleted_at: datetime | None = None
        self.deletion_id = ""

    @property
    def is_kept(self) -> bool:
        """Whether it gets a row of its own, as far as is known."""
        return self.left_out is None and self.merged_into is None

    @property
    def is_live(self) -> bool:
        """Whether it gets a row that is not deleted."""
        return self.is_kept and self.deleted_at is None

    def leave_out(self, code: str, why: str, column: str = "", old: object = None) -> None:
        """It is not imported."""
        if self.left_out is None:
            self.left_out = why
            self.notes.append(note(code, column, old, None, why))


class Facts:
    """What rules know beyond their row: the options, the older database, and answers found once."""

    def __init__(self, source: Source, options: Options, name: str) -> None:
        self.source = source
        self.options = options
        self.name = name
        # The key of the one group `super`.
        self.super_key: str | None = None
        self.audit_offset: Callable[[int], int] = lambda number: number


class PageReader(ABC):
    """What rules may ask of the target and the key map while they work on a page."""

    @abstractmethod
    async def new_ids(self, stage: str, keys: set[str]) -> dict[str, str]:
        """What old keys became."""

    @abstractmethod
    async def usernames(self, ids: set[str]) -> dict[str, str]:
        """The names of users, by their new ids."""


Adapt = Callable[[Draft, Facts], None]
AdaptPage = Callable[[list[Draft], Facts, PageReader], Awaitable[None]]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How one of our tables is filled from one of the older ones. `name` is what the key map calls it.

    `adapt` sees each row before its references are resolved, `adapt_page` all of a page afterwards. Rows that are equal
    in the older columns `twins` (`folded` ones in any case) must not be so in ours: all but the newest go last.
    """

    name: str
    table: Table
    source: SourceTable
    fields: tuple[Field, ...]
    clash: Clash = Clash.NONE
    unique: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    constants: dict[str, Any] = {}
    adapt: Adapt | None = None
    adapt_page: AdaptPage | None = None
    # Which columns of a row people may rightly have changed between the import and the comparison.
    changed_since: Callable[[Row, Any], frozenset[str]] | None = None
    key_of: Callable[[Row], str] | None = None
    # Whether a row of its own must be there; a flat list makes some only where it needs them.
    only_where: Callable[[Row], bool] | None = None
    # The table that came after this one, and the columns in which a copy is equal.
    # The flat list's own deletions are those of its rules, not of the images that they name.
    follows_deletions: bool = True
    newer: SourceTable | None = None
    same_by: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The stage in reports: the older table, and ours where it is one of several."""
        return self.source.name if self.name == self.table.name else f"{self.source.name} ({self.table.name})"

    def old_key(self, row: Row) -> str:
        """The row's key as the key map holds it."""
        return self.key_of(row) if self.key_of is not None else key_text(tuple(row[name] for name in self.source.key))

    @property
    def suffixed(self) -> str:
        """The column that tells rows of one name apart."""
        return self.unique[-1]
