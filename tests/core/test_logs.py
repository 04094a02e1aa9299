"""Where the log goes."""

import io
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from holdfast.core.logs import configure_logs


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    configure_logs("error", "json")


@pytest.mark.parametrize("form", ["json", "text"])
def test_lines_go_where_standard_error_is_when_they_are_written(
    monkeypatch: pytest.MonkeyPatch, form: Literal["json", "text"]
) -> None:
    first, second = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    monkeypatch.setattr("sys.stderr", first)
    configure_logs("error", form)
    log = structlog.get_logger("holdfast.test")
    log.error("before")
    first.close()
    monkeypatch.setattr("sys.stderr", second)
    log.error("after")
    second.seek(0)
    (line,) = second.read().splitlines()
    assert "after" in line
