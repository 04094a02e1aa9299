"""Completeness: no route without a sentence, no setting without a heading, and a description that is current."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.app import describe_api
from holdfast.settings import Settings

_PROJECT = Path(__file__).parents[2]
_METHODS = {"get", "post", "put", "patch", "delete"}


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in describe_api(Settings(data_dir=Path("nowhere")))["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                yield f"{method.upper()} {path}", operation


def test_every_route_has_a_summary_and_a_tag() -> None:
    lacking = [route for route, operation in _operations() if not operation.get("summary") or not operation.get("tags")]
    assert not lacking, f"say in a few words what these do (summary=, and tags= of their router): {lacking}"


def test_every_route_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, operation in _operations()]
    assert len(set(names)) == len(names)


def test_every_route_describes_its_errors_as_problems() -> None:
    for route, operation in _operations():
        if "/api/v1/" not in route:
            continue
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert errors, f"{route} describes no error"
        for status, answer in errors.items():
            assert list(answer["content"]) == ["application/problem+json"], f"{route} {status}"


def test_every_setting_has_a_heading() -> None:
    text = (_PROJECT / "docs" / "settings.md").read_text("utf-8")
    headings = set(re.findall(r"^### (HOLDFAST_[A-Z0-9_]+)$", text, re.MULTILINE))
    settings = {f"HOLDFAST_{name.upper()}" for name in Settings.__struct_fields__}
    assert not settings - headings, f"describe in docs/settings.md: {', '.join(sorted(settings - headings))}"
    gone = sorted(name for name in headings - settings if not name.startswith(("HOLDFAST_CLI_", "HOLDFAST_TEST_")))
    assert not gone, f"docs/settings.md describes what there is not: {', '.join(gone)}"


def test_the_description_in_the_repository_is_current() -> None:
    script = _PROJECT / "scripts" / "write_openapi.py"
    run = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
