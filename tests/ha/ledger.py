"""What callers tried, what they were told, and what that allows the database to hold."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Told(StrEnum):
    """What a caller knows of a write."""

    ACKNOWLEDGED = "acknowledged"
    # Refused with the promise that nothing of it was kept.
    REFUSED = "refused"
    # The answer says that nobody knows, or no answer came.
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Write:
    """A write that makes one row with a text of its own."""

    text: str
    place: str
    keyed: bool
    told: Told = Told.UNKNOWN
    id: str | None = None


@dataclass(slots=True)
class Register:
    """A row with one writer who counts up in it: which values a reader may find there."""

    allowed: set[int] = field(default_factory=lambda: {0})

    def before_writing(self, value: int) -> None:
        """A write is under way: from now on it may be there."""
        self.allowed.add(value)

    def after_writing(self, value: int, told: Told) -> None:
        """Its answer came."""
        if told is Told.ACKNOWLEDGED:
            self.allowed = {value}
        elif told is Told.REFUSED:
            self.allowed.discard(value)

    def read(self, value: int) -> bool:
        """Whether the value may be there. Once seen it is the truth: no older one may come back."""
        if value not in self.allowed:
            return False
        self.allowed = {each for each in self.allowed if each >= value}
        return True


@dataclass(slots=True)
class Figures:
    """What a run came to."""

    tried: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    unknown_kept: int = 0
    reads: int = 0
    unavailable: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    kept_though_refused: list[str] = field(default_factory=list)
    wrong_reads: list[str] = field(default_factory=list)
    unexpected_answers: list[str] = field(default_factory=list)
    longest_answer_seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)

    def require_kept_promises(self) -> None:
        """Fail with what was broken."""
        broken = {
            name: found[:10]
            for name in ("lost", "doubled", "kept_though_refused", "wrong_reads", "unexpected_answers")
            if (found := getattr(self, name))
        }
        assert not broken, f"{broken}; {self}"
        assert self.acknowledged > 0, f"nothing was written: {self}"

    def count_writes(self, writes: Iterable[Write], found: Counter[str]) -> None:
        """Hold what was told against the texts that are there."""
        for write in writes:
            count = found[write.text]
            self.tried += 1
            match write.told:
                case Told.ACKNOWLEDGED:
                    self.acknowledged += 1
                    if count == 0:
                        self.lost.append(write.text)
                case Told.REFUSED:
                    self.refused += 1
                    if count:
                        self.kept_though_refused.append(write.text)
                case Told.UNKNOWN:
                    self.unknown += 1
                    self.unknown_kept += count
            if count > 1:
                self.doubled.append(f"{write.text}: {count} times")
