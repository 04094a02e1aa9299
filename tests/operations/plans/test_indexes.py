"""The index ledger: every index is used or asked for by the seed, and the page that tells so is current."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.write_indexes import KEPT, IndexUse, index_uses
from tests.rules.schema_facts import TABLE_FACTS

_PROJECT = Path(__file__).parents[3]
_NAMED = {(fact.name, tuple(columns)) for fact in TABLE_FACTS for columns in fact.lookups}


def _is_named(use: IndexUse) -> bool:
    if "deletion_id" in use.columns[:1] or use.is_constraint:
        return True
    return any((use.table, use.columns[:width]) in _NAMED for width in range(1, len(use.columns) + 1))


@pytest.mark.parametrize("use", index_uses(), ids=lambda use: use.name)
def test_an_index_is_used_by_a_statement_or_named_by_the_seed(use: IndexUse) -> None:
    assert use.statements or _is_named(use) or use.name in KEPT, (
        f"no statement reads {use.name} on any engine, and the seed does not name it: drop it, for each change of"
        f" {use.table} writes it"
    )


def test_nothing_is_kept_that_is_used() -> None:
    unused = {use.name for use in index_uses() if not use.statements}
    assert set(KEPT) <= unused, "take it out of KEPT in scripts/write_indexes.py"


def test_the_ledger_is_current() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "scripts.write_indexes", "--check"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
