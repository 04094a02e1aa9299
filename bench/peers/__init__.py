"""The peers: the three endpoints of the targets as they are usually written elsewhere, on the same tables.

Each runs as one serving process beside Holdfast, over a database that Holdfast made, and answers the same requests with
the same rows. It is what a competent developer of its framework writes: related rows loaded ahead, persistent
connections, no middleware that an API does not need. Nothing in here may import the product.
"""

import importlib.util
import sys

import msgspec


class Peer(msgspec.Struct, frozen=True):
    """A way to write the same application. `packages` are what it imports beside the product's own dependencies."""

    name: str
    module: str
    packages: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """Starts it on the port that HOLDFAST_PORT names and the database at the URL in BENCH_PEER_DATABASE."""
        return [sys.executable, "-m", self.module]

    @property
    def is_installed(self) -> bool:
        """Whether it can run here."""
        return all(importlib.util.find_spec(name) for name in self.packages)

    @property
    def how_to_install(self) -> str:
        """What to do where it cannot."""
        return f"{self.name}: left out, it needs `pip install 'holdfast[bench]'`"


FASTAPI = Peer("FastAPI", "bench.peers.fastapi_orm", ("fastapi", "aiosqlite"))
DJANGO = Peer("Django", "bench.peers.django_drf", ("django", "rest_framework", "gunicorn", "psycopg", "pymysql"))
PEERS = (FASTAPI, DJANGO)
