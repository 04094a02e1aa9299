"""The figures that the repository keeps: what the seed and the targets ask for was measured on each engine (seed 8)."""

from pathlib import Path

import pytest

from bench.baselines import Kept, read_baselines
from bench.field import FIELD
from bench.field.server import FieldServer
from bench.stand import ENGINES

_FOLDER = Path(__file__).parents[2] / "bench" / "baselines"
# The rows of the seed's table, by how their figures begin. Queries by index are a row of several.
_QUERY_TYPES = ("user with groups", "form with messages", "project with config", "index: ")
_CASCADES = ("cascade, by the product", "cascade, by the engine")
_TARGETS = ("P1", "P2", "P3", "P4", "P5", "P6", "P7")
_ON_SQLITE = ("P1s", "P8", "P9")


def _kept(engine: str, target: str) -> dict[str, Kept]:
    figures = read_baselines(_FOLDER, engine).figures
    return {key.partition(" ")[2]: kept for key, kept in figures.items() if key.partition(" ")[0] == target}


def _assert_before_and_after(engine: str, row: str) -> None:
    found = {name: kept for name, kept in _kept(engine, "P7").items() if name.startswith(row)}
    assert found, (
        f"no figure of {engine} begins with {row!r}: python -m bench --engine {engine} --only P7 --save-baselines"
    )
    for name, kept in found.items():
        assert kept.unit == "% less", name
        assert kept.value < 100, name
        assert kept.other_ms, f"{name} does not say how long it took before"
        assert kept.product_ms, f"{name} does not say how long it takes"
        assert kept.rounds, f"{name} does not say how its rounds scattered"


@pytest.mark.conformance("Q-08")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", _QUERY_TYPES)
def test_each_query_type_was_measured_before_and_after(engine: str, row: str) -> None:
    _assert_before_and_after(engine, row)


@pytest.mark.conformance("Q-07")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", _CASCADES)
def test_the_cascade_was_measured_against_cleaning_up_by_hand(engine: str, row: str) -> None:
    _assert_before_and_after(engine, row)


@pytest.mark.conformance("Q-08")
@pytest.mark.parametrize(
    ("engine", "target"),
    [*((engine, target) for engine in ENGINES for target in _TARGETS), *(("sqlite", target) for target in _ON_SQLITE)],
)
def test_each_target_was_measured_where_it_applies(engine: str, target: str) -> None:
    kept = _kept(engine, target)
    assert kept, f"no figure of {engine} is kept: python -m bench --engine {engine} --only {target} --save-baselines"
    assert all(each.taken_on and each.unit for each in kept.values())


@pytest.mark.conformance("Q-08")
@pytest.mark.parametrize("server", FIELD, ids=lambda each: each.name)
def test_each_server_of_the_field_was_measured(server: FieldServer) -> None:
    assert any(name.startswith(f"{server.title}: ") for name in _kept("sqlite", "P9")), (
        f"python -m bench.field install {server.name}; python -m bench --engine sqlite --only P9 --save-baselines"
    )
