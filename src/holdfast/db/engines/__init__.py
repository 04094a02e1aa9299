"""The three engines behind one interface: a pool, a transaction, named statements into structs, errors translated.

`engines.base` states the interface; `postgresql`, `mariadb` and `sqlite` are the only files that import a driver.
"""

import importlib
from typing import Any


def load_engine(dialect_name: str) -> Any:
    """The module of an engine, which brings its driver: a process needs one of the three."""
    return importlib.import_module(f"{__name__}.{dialect_name}")
