"""Serves a WSGI application in one process with waitress: `wsgi.py PORT MODULE NAME`.

In one thread: two are no cheaper, and Keystone refuses requests while several threads load its policy.
"""

import importlib
import logging
import sys


def main() -> None:
    """Serve until the process is ended."""
    port, module, name = sys.argv[1:]
    # Keystone reads the command line on import.
    del sys.argv[1:]
    application = getattr(importlib.import_module(module), name)
    # Keystone's log would have a line for each request that waits.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    importlib.import_module("waitress").serve(application, listen=f"127.0.0.1:{port}", threads=1)


if __name__ == "__main__":
    main()
