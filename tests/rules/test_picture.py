"""The picture of the cascade graph in the documentation, and the page beside it, are those of the tables."""

import subprocess
import sys
from pathlib import Path

_PROJECT = Path(__file__).parents[2]


def test_the_picture_of_the_graph_is_current() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "scripts.draw_graph", "--check"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
