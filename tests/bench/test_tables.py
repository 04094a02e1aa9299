"""The tables of docs/performance.md are what the baselines say, and each target has one."""

from pathlib import Path

import pytest

from bench.baselines import Baselines, Kept
from bench.machine import Machine
from bench.tables import (
    BASELINES,
    PAGE,
    PICTURE,
    connections_table,
    machine_table,
    main,
    read_all,
    stale_files,
    table,
    targets_of,
    with_tables,
)

_MACHINE = Machine(cores=2, model="Small", memory_gib=4, system="Linux 6.1", python="3.11", engines={"sqlite": "3.53"})
_READS = Kept(value=1.5, unit="x limit", bound=1.3, rounds=(1.4, 1.6), product_ms=0.25, other_ms=0.2, machine=0)


def test_the_page_says_what_the_baselines_say() -> None:
    stale = [file.name for file in stale_files(read_all(BASELINES))]
    assert stale == [], "run `python -m bench.tables`"


def test_a_changed_figure_makes_the_page_and_the_picture_stale() -> None:
    kept = read_all(BASELINES)
    key = "P1 user with groups"
    kept["postgresql"].figures[key] = Kept(value=9.9, unit="x limit", bound=1.4)
    assert set(stale_files(kept)) == {PAGE, PICTURE}


def test_every_target_has_a_table() -> None:
    shown = targets_of(PAGE.read_text(encoding="utf-8"))
    kept = {key.partition(" ")[0] for baselines in read_all(BASELINES).values() for key in baselines.figures}
    missing = sorted(kept - set(shown))
    assert missing == [], f"docs/performance.md has no <!-- figures: {' / '.join(missing)} -->: add a section for it"
    assert len(shown) == len(set(shown))


def test_a_table_has_a_line_for_each_figure_and_its_notes() -> None:
    without_target = Kept(value=120.4, unit="x limit", note="one run")
    kept = {
        "postgresql": Baselines((_MACHINE,), {"P1 reads": _READS, "P2 writes": _READS}),
        "mariadb": Baselines(),
        "sqlite": Baselines((), {"P1 reads": without_target, "P1 more": without_target}),
    }
    assert table("P1", kept) == [
        "| what | target | PostgreSQL | SQLite |",
        "|---|---|---|---|",
        "| reads | ≤ 1.3 × limit | 1.50 (1.40 to 1.60) **missed**; 0.25 / 0.20 ms | 120 ¹ |",  # noqa: RUF001
        "| more | × limit |  | 120 ¹ |",  # noqa: RUF001
        "",
        "¹ one run.",
    ]
    assert table("P9", kept) == ["No figures are kept yet."]


def test_connections_stand_in_a_table_for_each_engine() -> None:
    values = {"throughput": 1234.0, "p50": 1.5, "p99": 20.0, "CPU": 0.5}
    figures = {
        f"connections reads, 16 at once, {side}: {measure}": Kept(value=value, unit="ms")
        for side in ("Holdfast", "Django")
        for measure, value in values.items()
    }
    figures["connections memory after the start, Holdfast"] = Kept(value=99.5, unit="MiB")
    assert connections_table({"postgresql": Baselines(), "sqlite": Baselines((), figures)}) == [
        "**SQLite**",
        "",
        "| endpoint, requests at once, side | requests/s | p50 ms | p99 ms | CPU ms | MiB |",
        "|---|---|---|---|---|---|",
        "| reads, 16 at once, Holdfast | 1,234 | 1.50 | 20.0 | 0.50 |  |",
        "| reads, 16 at once, Django | 1,234 | 1.50 | 20.0 | 0.50 |  |",
        "| memory after the start, Holdfast |  |  |  |  | 99.5 |",
    ]
    assert connections_table({"sqlite": Baselines()}) == ["No figures are kept yet."]


def test_a_page_keeps_its_words_around_the_tables() -> None:
    kept = {"sqlite": Baselines((_MACHINE,), {"P1 reads": _READS})}
    page = "# Page\n<!-- figures: P1 -->\nold\n<!-- end -->\nwords\n<!-- machines -->\n<!-- end -->\n"
    written = with_tables(page, {"postgresql": Baselines(), "mariadb": Baselines(), **kept})
    assert "old" not in written
    assert written.startswith("# Page\n<!-- figures: P1 -->\n| what |")
    assert "<!-- end -->\nwords\n<!-- machines -->\n| engine |" in written
    assert with_tables(written, {"postgresql": Baselines(), "mariadb": Baselines(), **kept}) == written


def test_the_machines_are_told_with_their_days() -> None:
    old, new = (Kept(value=1, unit="x", taken_on=day, machine=0) for day in ("2026-01-01", "2026-01-02"))
    lines = machine_table(
        {"sqlite": Baselines((_MACHINE,), {"P1 a": old, "P1 b": new, "P1 c": Kept(value=1, unit="x")})}
    )
    assert lines[2:] == [
        "| SQLite 3.53 | 2 cores of Small, 4 GiB, Linux 6.1 | 3.11 | 2026-01-01 to 2026-01-02 | 2 |",
        "| SQLite | was not kept |  |  | 1 |",
    ]


def test_the_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text("<!-- figures: P1 -->\n<!-- end -->\n")
    monkeypatch.setattr("bench.tables.ROOT", tmp_path)
    monkeypatch.setattr("bench.tables.PAGE", tmp_path / "page.md")
    monkeypatch.setattr("bench.tables.PICTURE", tmp_path / "picture.svg")
    assert main(["--check"]) == 1
    assert "page.md is not what bench/baselines say" in capsys.readouterr().out
    assert main([]) == 0
    assert "| what |" in (tmp_path / "page.md").read_text()
    assert main(["--check"]) == 0
