"""Files that hold what a person has reviewed; HOLDFAST_TEST_UPDATE_GOLDEN=1 writes them anew, for the next review."""

import difflib
import os
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "golden"


def assert_golden(name: str, current: str) -> None:
    """Compare with the reviewed file, and show every line that differs."""
    path = _FOLDER / name
    if os.environ.get("HOLDFAST_TEST_UPDATE_GOLDEN") == "1":
        path.write_text(current, encoding="utf-8")
        return
    reviewed = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(reviewed.splitlines(), current.splitlines(), "reviewed", "now", lineterm="", n=0)
    assert current == reviewed, f"tests/golden/{name} differs; is the change meant?\n" + "\n".join(lines)
