"""Starts dstack's own command line, with one pair of keys for all users.

dstack makes a pair of RSA keys for each new user, which takes many times what the rest of the request does. Like a
password's hash it is left out of the comparison: it is made once, here, before the server starts.
"""

import importlib
import sys
from typing import Any


def main() -> None:
    """Serve until the process is ended."""
    crypto: Any = importlib.import_module("dstack._internal.utils.crypto")
    pair = crypto.generate_rsa_key_pair_bytes()
    crypto.generate_rsa_key_pair_bytes = lambda comment="dstack": pair
    sys.exit(importlib.import_module("dstack._internal.cli.main").main())


if __name__ == "__main__":
    main()
