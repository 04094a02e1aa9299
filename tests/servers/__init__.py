"""Private PostgreSQL and MariaDB servers for tests and benchmarks.

Each server has its own folder, unix socket and loopback port, and goes with the process that started it. A server
that happens to run on the machine is never used. Nothing here may import the product.
"""

from tests.servers.address import ServerAddress, parse_address
from tests.servers.mariadb import MariadbServer, mariadb_server
from tests.servers.postgresql import PostgresqlServer, postgresql_server
from tests.servers.process import DatabaseServer, EngineMissingError, ServerFailedError

__all__ = [
    "DatabaseServer",
    "EngineMissingError",
    "MariadbServer",
    "PostgresqlServer",
    "ServerAddress",
    "ServerFailedError",
    "mariadb_server",
    "parse_address",
    "postgresql_server",
]
