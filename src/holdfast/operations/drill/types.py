"""What a drill tells."""

from datetime import datetime

import msgspec


class Doubt(msgspec.Struct, frozen=True):
    """Something that speaks against the backup: a single one, and the drill has failed."""

    step: str
    message: str


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill found. `passed` is without any doubt.

    `rpo_seconds`: the age of the newest data in the backup, which is what a loss of the machine now would cost;
    `writes_at_risk` are the entries of the audit log made since. `rto_seconds`: from the drill's beginning until the
    restored database was verified and answered through the application; None where it did not come so far. `steps`
    are the seconds that each part took.
    """

    started_at: datetime
    finished_at: datetime
    engine: str
    passed: bool
    doubts: list[Doubt]
    backup_id: str | None = None
    made_at: datetime | None = None
    schema_revision: str | None = None
    rows: int | None = None
    bundles: int | None = None
    compared: str | None = None
    sentinel_found: bool = False
    checks: list[str] = []
    remarks: list[str] = []
    rpo_seconds: float | None = None
    newest_write_at: datetime | None = None
    newest_write_in_backup_at: datetime | None = None
    writes_at_risk: int | None = None
    rto_seconds: float | None = None
    steps: dict[str, float] = {}

    @property
    def failure(self) -> str | None:
        """The doubts in one text; None where there is none."""
        return "; ".join(f"{each.step}: {each.message}" for each in self.doubts) or None
