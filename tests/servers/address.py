"""Where a test server answers, and how databases are made and dropped there."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg
import pymysql
from psycopg import sql

CONNECT_SECONDS = 10
DATABASE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress(ABC):
    """A plain value: it can be handed to another process, which then makes databases of its own."""

    engine: ClassVar[str]
    admin_database: ClassVar[str]

    port: int
    host: str = "127.0.0.1"
    user: str = "holdfast"

    def admin_url(self, database: str | None = None) -> str:
        """The URL of `database`, or of the database that every server of this engine has."""
        return f"{self.engine}://{self.user}@{self.host}:{self.port}/{database or self.admin_database}"

    @abstractmethod
    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop a database, also one that is in use or absent."""


class PostgresqlAddress(ServerAddress):
    engine = "postgresql"
    admin_database = "postgres"

    def create_database(self, name: str) -> str:
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(checked_name(name))))
        return self.admin_url(name)

    def drop_database(self, name: str) -> None:
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(checked_name(name))))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url(), autocommit=True, connect_timeout=CONNECT_SECONDS) as connection:
            connection.execute(statement)


class MariadbAddress(ServerAddress):
    engine = "mariadb"
    admin_database = "mysql"

    def create_database(self, name: str) -> str:
        self._execute(f"CREATE DATABASE `{checked_name(name)}` CHARACTER SET utf8mb4")
        return self.admin_url(name)

    def drop_database(self, name: str) -> None:
        """Sessions that still use the database are ended first: their locks would make the drop wait."""
        condition = f"db = '{checked_name(name)}' AND id <> CONNECTION_ID()"
        self._execute(
            f"BEGIN NOT ATOMIC FOR session IN (SELECT id FROM information_schema.processlist WHERE {condition})"
            " DO BEGIN DECLARE CONTINUE HANDLER FOR 1094 BEGIN END; KILL session.id; END; END FOR; END"
        )
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _execute(self, statement: str) -> None:
        connection = pymysql.connect(
            host=self.host, port=self.port, user=self.user, autocommit=True, connect_timeout=CONNECT_SECONDS
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)


def parse_address(url: str) -> ServerAddress:
    """The address in a URL that `admin_url` made."""
    parts = urlsplit(url)
    addresses: dict[str, type[ServerAddress]] = {"postgresql": PostgresqlAddress, "mariadb": MariadbAddress}
    if parts.scheme not in addresses or not (parts.port and parts.hostname and parts.username):
        raise ValueError(f"{url!r} is not the URL of a test server.")
    return addresses[parts.scheme](host=parts.hostname, port=parts.port, user=parts.username)


def checked_name(name: str) -> str:
    if not DATABASE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain database name: use lower-case letters, digits and underscores.")
    return name
