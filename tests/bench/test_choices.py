"""The measuring of what the product was built with: that every side does the same work, and what is told of it."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from bench.choices import BRIEF, ID_WAYS, measure_ids
from bench.on_asyncio import OwnLoop
from bench.pipelining import WAYS
from bench.processes import driven
from holdfast.core.ids import LONG_WIDTH, is_id
from tests.conftest import NewDatabase

_TABLE = "CREATE TABLE notes (id varchar(21) PRIMARY KEY, of_note varchar(21), number integer NOT NULL)"


def test_both_kinds_of_ids_are_as_long_and_of_the_same_alphabet() -> None:
    for made in (way(50) for way in ID_WAYS.values()):
        assert len(set(made)) == 50
        assert all(is_id(each) and len(each) == LONG_WIDTH for each in made)


def test_forms_are_filled_in_with_either_kind_of_id(tmp_path: Path) -> None:
    extent = msgspec.structs.replace(BRIEF, rows=400, rows_at_once=40)
    told = [str(row) for row in measure_ids("sqlite", extent, tmp_path)]
    assert [line.partition(" | ")[0] for line in told] == [f"| 400 forms with {way}" for way in ID_WAYS]
    assert all("rows/s" in line and " 0.0 MiB" not in line for line in told)


def test_the_other_loop_is_taken_whatever_the_product_asks_for() -> None:
    assert OwnLoop("bench:app", loop="uvloop", access_log=False).loop == "asyncio"


def test_every_way_of_sending_statements_does_them_all(new_database: NewDatabase, tmp_path: Path) -> None:
    address = new_database("postgresql")
    found = "SELECT count(*) FROM notes WHERE number = $1"
    added = "INSERT INTO notes (id, of_note, number) VALUES ($1, $2, $3)"
    trace: list[Any] = [(found, [1], {}, True), (added, ["", None, 1], {0: 0}, False)]
    trace.append((added, ["", "", 2], {0: 1, 1: 0}, False))
    file = tmp_path / "traces.pickle"
    file.write_bytes(pickle.dumps(("postgresql", address, 2, {"notes": ([trace], True)})))
    pairs = "SELECT one.number, two.number FROM notes AS one JOIN notes AS two ON two.of_note = one.id"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_TABLE)
        with driven("bench.pipelining", str(file)) as process:
            for number, way in enumerate(WAYS, 1):
                process.run(way=way, scenario="notes", connections=2, count=7)
                assert connection.execute(pairs).fetchall() == [(1, 2)] * 7 * number, way
