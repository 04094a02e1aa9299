"""How the steps of the state machine are made, and how the product is held against the model after each."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from holdfast.core.clock import utc_now
from holdfast.core.errors import HoldfastError
from tests.db.consistency import find_inconsistencies
from tests.lifecycle.model import Deletion, Model, RowId, Values
from tests.lifecycle.world import World, count_audit_rows, dump_deletions, dump_rows

Result = TypeVar("Result")
OFTEN = st.sampled_from([True, True, True, False])
# What the acts of the machine that make something may change of a row that is there.
_CHANGED_BY_PEOPLE = {
    "users": {"username", "deletion_protected"},
    "group_list": {"deletion_protected"},
    "project_list": {"deletion_protected"},
    "config_files": {"content"},
    "resources": {"deletion_id"},
    "image_requests": {"status", "reviewer_id", "reviewed_at"},
    "image_allow_list": {"request_id", "is_enabled"},
}


class ComparingMachine(RuleBasedStateMachine):
    """Runs acts on the product, and knows what the model says of them."""

    def __init__(self, runner: asyncio.Runner, world: World, tally: Counter[str]) -> None:
        super().__init__()
        self.runner = runner
        self.world = world
        # What happened in all runs, so that a test can tell whether anything did.
        self.tally = tally
        self.model = Model()
        # The super administrator in whose name all is done, with group and seat: nothing of it is deleted.
        self.kept: set[RowId] = set()
        # Per user, as the last step left them.
        self.audit_rows: dict[str, int] = {}

    # The state after each step.

    @invariant()
    def the_product_and_the_model_agree(self) -> None:
        found = self.run(dump_rows(self.world.database))
        assert found == self.model.rows
        self.audit_rows = self.run(count_audit_rows(self.world.database))
        deletions = self.run(dump_deletions(self.world.database))
        assert deletions == {
            deletion.id: (deletion.root_type, deletion.state, deletion.purged_with)
            for deletion in self.model.deletions.values()
        }
        assert self.run(find_inconsistencies(self.world.database)) == []

    # How the steps are made.

    def attempt(self, act: Coroutine[Any, Any, Result]) -> Result | HoldfastError:
        """What an act gave, or how it was refused."""
        try:
            return self.run(act)
        except HoldfastError as error:
            return error

    def adopt_versions(self, rows: Iterable[RowId]) -> None:
        """Rows whose pointers changed have a new version."""
        found = self.run(dump_rows(self.world.database))
        for row in rows:
            if row in found and row in self.model.rows and "updated_at" in found[row]:
                self.model.rows[row]["updated_at"] = found[row]["updated_at"]

    def run(self, act: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(act)

    def live(self, table: str) -> list[RowId]:
        """The live rows of a table that may be deleted."""
        return [row for row in self.model.live(table) if row not in self.kept]

    def ids(self, table: str) -> list[str]:
        return [key[0] for _, key in self.live(table)]

    def draw(self, data: st.DataObject, table: str) -> str | None:
        """The id of a live row of a table, or None where there is none."""
        rows = self.live(table)
        return data.draw(st.sampled_from(rows), label=table)[1][0] if rows else None

    def draw_project_or_none(self, data: st.DataObject) -> str | None:
        return self.draw(data, "project_list") if data.draw(OFTEN) else None

    def draw_deletion(self, data: st.DataObject, *states: str) -> Deletion | None:
        found = [deletion for deletion in self.model.deletions.values() if deletion.state in states]
        return data.draw(st.sampled_from(found), label="deletion") if found else None

    def make(self, act: Coroutine[Any, Any, Any]) -> None:
        """Let a person make or change something; where a rule refuses it, nothing may have changed."""
        outcome = self.attempt(act)
        if isinstance(outcome, HoldfastError):
            assert outcome.status in {400, 409}, outcome
            note(f"refused: {outcome}")
            self.tally["refused to make"] += 1
        else:
            self.tally["made"] += 1
            self.adopt()

    def adopt(self) -> None:
        """Take what a person made into the model; nothing else may have changed, and nothing gone or come back."""
        # In an order that does not hang on the ids: Hypothesis repeats its runs.
        found = sorted(self.run(dump_rows(self.world.database)).items(), key=_without_ids)
        for row, values in found:
            known = self.model.rows.get(row)
            if known is None:
                assert values["deletion_id"] == ""
            elif values["deletion_id"] != known["deletion_id"]:
                self.adopt_mark(row, known, values)
            if known is not None and not _has_joined_again(row, known, values):
                _require_only_changes_of_people(row, known, values)
            self.model.rows[row] = values
        assert self.model.rows.keys() == dict(found).keys()

    def adopt_times(self, rows: Iterable[RowId]) -> None:
        """Rows that an act made or changed, as the model says; only the product knows their times and defaults."""
        found = self.run(dump_rows(self.world.database))
        for row in rows:
            known = self.model.rows[row]
            taken = {name: value for name, value in found[row].items() if name not in known or name.endswith("ed_at")}
            self.model.rows[row] = known | taken

    def adopt_mark(self, row: RowId, known: Values, values: Values) -> None:
        if row[0] == "user_group":
            # Who was removed and joins again: the removal is undone.
            assert values["deletion_id"] == ""
            assert self.model.deletions[known["deletion_id"]].root_type == "member"
            self.model.deletions[known["deletion_id"]].state = "restored"
            return
        # An update of a config file that lacks a resource deletes it.
        assert row[0] == "resources"
        assert known["deletion_id"] == ""
        update = self.model.deletions.setdefault(
            values["deletion_id"],
            Deletion(
                id=values["deletion_id"],
                root_type="config-file-update",
                root=("config_files", (values["cf_id"],)),
                counts={"resources": 0},
                made_at=utc_now(),
            ),
        )
        update.counts["resources"] += 1

    def adopt_revocations(self, deletion_id: str) -> None:
        """Tokens that a deletion took are revoked by it, if they were not before."""
        found = self.run(dump_rows(self.world.database))
        for row in self.model.rows_of(deletion_id):
            if row[0] == "tokens":
                assert found[row]["revoked_at"] is not None
                assert self.model.rows[row]["revoked_at"] in {None, found[row]["revoked_at"]}
                self.model.rows[row]["revoked_at"] = found[row]["revoked_at"]

    def audit_rows_beneath(self, root: RowId) -> dict[str, int]:
        users = {row[1][0] for row in self.model.closure([root], through_deleted=True) if row[0] == "users"}
        count = sum(self.audit_rows.get(user, 0) for user in users)
        return {"audit_logs": count} if count else {}


def _has_joined_again(row: RowId, known: Values, values: Values) -> bool:
    return row[0] == "user_group" and known["deletion_id"] != values["deletion_id"]


def _require_only_changes_of_people(row: RowId, known: Values, values: Values) -> None:
    changed = {name for name, value in values.items() if value != known[name]}
    allowed = _CHANGED_BY_PEOPLE.get(row[0], set())
    # A mark leaves the version as it is; whatever people change has a new one.
    if changed - {"deletion_id"}:
        allowed = allowed | {"updated_at"}
        assert values["updated_at"] > known["updated_at"]
    assert changed <= allowed, f"{row} changed in {changed}"


def _without_ids(item: tuple[RowId, Values]) -> tuple[str, str]:
    (table, _), values = item
    return table, str(values.get("name"))
