"""Each planted fault is found by its check with its rows, its cure says first what it changes, and then it is gone."""

from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.operations.doctor.types import Severity
from tests.db.rows import fetch
from tests.operations.doctor.planted import FAULTS, Fault
from tests.operations.doctor.ward import Ward


def _cases() -> Iterator[Any]:
    for fault in FAULTS:
        for engine in fault.engines:
            marks = [] if engine == "sqlite" else [pytest.mark.slow]
            yield pytest.param(engine, fault, id=f"{engine}-{fault.name.replace(' ', '_')}", marks=marks)


def test_there_are_enough_faults() -> None:
    for engine in ("sqlite", "postgresql", "mariadb"):
        assert sum(engine in fault.engines for fault in FAULTS) >= 25, engine


@pytest.mark.conformance("S-15", "X-06")
@pytest.mark.parametrize(("engine", "fault"), list(_cases()), indirect=["engine"], scope="session")
async def test_a_planted_fault_is_found_and_cured(ward: Ward, fault: Fault) -> None:
    expected = await fault.plant(ward)
    try:
        await _examine(ward, fault, expected)
    finally:
        if fault.undo:
            await ward.harm(*fault.undo)


async def _examine(ward: Ward, fault: Fault, expected: list[str]) -> None:
    found = await ward.findings()
    assert {each.check for each in found} == {fault.check, *fault.also}, found
    own = [each for each in found if each.check == fault.check]
    assert {row for each in own for row in each.rows} >= set(expected)
    assert all(each.count >= len(each.rows) for each in own if each.check != "schema")
    assert [each.fix for each in own] == [fault.check if fault.is_curable else None] * len(own)
    if not fault.is_error:
        assert {each.severity for each in own} == {Severity.NOTICE}
    if fault.is_curable:
        await _cure(ward, fault)


async def _cure(ward: Ward, fault: Fault) -> None:
    before = await ward.content()
    planned = await ward.planned(fault.check)
    assert planned
    assert await ward.content() == before
    done = await ward.cured(fault.check)
    assert sorted(row for change in done for row in change.rows) == sorted(
        row for change in planned for row in change.rows
    )
    left = await ward.findings()
    assert {each.check for each in left} == fault.left, left
    if fault.check != "administrators":
        written = f"SELECT count(*) FROM audit_logs WHERE resource_type = 'doctor' AND resource_id = '{fault.check}'"
        ((entries,),) = await fetch(ward.database, written)
        assert entries == len(done)
    assert await ward.cured(fault.check) == []
