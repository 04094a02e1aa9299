"""Holdfast: the system of record and control plane of a shared GPU cluster.

The layers, highest first: `cli`, `app`, the edges (`api`, `worker`), `operations`, `features`, `db`,
`settings` and `core`. Each may import those below it, never beside or above; `pyproject.toml` holds the contracts.
"""

__version__ = "0.1.0"
