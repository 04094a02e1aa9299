"""Serves a WSGI application in one process with waitress: `wsgi.py PORT MODULE NAME`."""

import importlib
import sys


def main() -> None:
    """Serve until the process is ended."""
    port, module, name = sys.argv[1:]
    # Keystone reads the command line on import.
    del sys.argv[1:]
    application = getattr(importlib.import_module(module), name)
    importlib.import_module("waitress").serve(application, listen=f"127.0.0.1:{port}")


if __name__ == "__main__":
    main()
