"""`python -m tests.ha.figures patroni …`: run the scenarios of clusters and print the tables of docs/failover.md."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.ha.outcomes import Outcome, scenario_module, table
from tests.servers.process import EngineMissingError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ha.figures", description=__doc__)
    parser.add_argument("clusters", nargs="+", metavar="CLUSTER", help="patroni, postgresql, galera")
    parser.add_argument("--only", default="", help="the scenarios whose name has this in it")
    asked = parser.parse_args()
    status = 0
    for name in asked.clusters:
        module = scenario_module(name)
        outcomes: list[Outcome] = []
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="holdfast-ha-") as folder, module.standing(Path(folder)) as stand:
                for scenario in module.SCENARIOS:
                    if asked.only in scenario.__name__:
                        note(f"{name}: {scenario.__name__} ...")
                        outcomes += asyncio.run(scenario(stand))
        except EngineMissingError as error:
            note(f"{name}: {error}")
            status = 1
            continue
        print("\n".join(["", f"### {module.TITLE}", "", *table(outcomes)]), flush=True)  # noqa: T201
        note(f"{name}: {time.monotonic() - started:.0f} s in all")
    return status


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
