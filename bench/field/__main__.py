"""`python -m bench.field install [NAME ...]`: install the servers of the field, each apart from everything else."""

import argparse
import subprocess
import sys

from bench.field import FIELD


def main() -> int:
    """Install the named servers, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench.field", description=__doc__)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("name", nargs="*", help="one of jupyterhub, keystone, dstack, coldfront; all without a name")
    options = parser.parse_args()
    if unknown := set(options.name) - {each.name for each in FIELD}:
        parser.error(f"there is no server {', '.join(sorted(unknown))} in the field")
    failed = False
    for each in FIELD:
        if options.name and each.name not in options.name:
            continue
        if each.is_installed:
            print(f"{each.title} {each.version} is installed", flush=True)
            continue
        print(f"{each.title} {each.version} is being installed in {each.programs.parent} ...", flush=True)
        try:
            each.install()
        except subprocess.CalledProcessError as error:
            print(f"{each.title} could not be installed: {error}", file=sys.stderr, flush=True)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
