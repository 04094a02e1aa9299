"""A pytest plugin: which rows of the conformance list have a test.

    pytest -p tests.rules.conformance --conformance-report --collect-only -q

prints the rows that no collected test is marked with. A mark that names an unknown row stops the run.
"""

from pathlib import Path

import pytest

_LIST = Path(__file__).with_name("conformance_rows.txt")


def known_rows() -> list[str]:
    """The ids of all rows, in order."""
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def marked_rows(items: list[pytest.Item]) -> dict[str, list[str]]:
    """For each row the tests that are marked with it."""
    marked: dict[str, list[str]] = {}
    for item in items:
        for mark in item.iter_markers("conformance"):
            for row in mark.args:
                marked.setdefault(row, []).append(item.nodeid)
    return marked


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-report", action="store_true", help="list the conformance rows without a test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = marked_rows(items)
    config.stash[_MARKED] = set(marked)
    unknown = sorted(set(marked) - set(known_rows()))
    if unknown:
        tests = ", ".join(marked[row][0] for row in unknown)
        raise pytest.UsageError(f"no conformance row is named {', '.join(unknown)}: correct the marks of {tests}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("conformance_report"):
        return
    rows = known_rows()
    missing = [row for row in rows if row not in config.stash.get(_MARKED, set())]
    terminalreporter.section("conformance")
    for area in dict.fromkeys(row.partition("-")[0] for row in missing):
        terminalreporter.write_line(" ".join(row for row in missing if row.startswith(f"{area}-")))
    terminalreporter.write_line(f"{len(rows) - len(missing)} of {len(rows)} rows have a test")


_MARKED = pytest.StashKey[set[str]]()
