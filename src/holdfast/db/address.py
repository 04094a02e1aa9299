"""Database addresses: what `HOLDFAST_DATABASE_URL` may say, and how each engine is reached from it."""

import re
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from holdfast.core.errors import InvalidInputError

_FORMS = "sqlite:///path/to/file.db, postgresql://user:password@host/database or mariadb://user:password@host/database"
_DIALECTS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mariadb": "mariadb",
    "mysql": "mariadb",
}
_DEFAULT_PORTS = {"postgresql": 5432, "mariadb": 3306}
# User and password end where SQLAlchemy sees their end, so that both read the same hosts.
_AUTHORITY = re.compile(r"(?P<before>[\w+]+://(?:[^:/@]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)(?P<after>.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
# What a server must be to be written to. Without a word on it the address means the first.
_WRITABLE = ("read-write", "primary")


class Host(msgspec.Struct, frozen=True):
    """One server of an address."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class DatabaseAddress(msgspec.Struct, frozen=True):
    """A parsed database URL. `text` may hold a password: show `shown` instead.

    `hosts` are the servers of a cluster where the address names several, in its order; else it is empty, and the
    drivers find the one server.
    """

    text: str
    dialect_name: str
    hosts: tuple[Host, ...] = ()

    @property
    def shown(self) -> str:
        """The URL with its password masked."""
        return self._with_hosts(self._url.render_as_string(hide_password=True))

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(self._url.database or "")

    @property
    def database_name(self) -> str:
        """The database on the server."""
        return self._url.database or ""

    @property
    def user_name(self) -> str | None:
        """Who signs in to the server."""
        return self._url.username

    def at_host(self, host: Host) -> "DatabaseAddress":
        """The same database at one of the hosts alone."""
        one = msgspec.structs.replace(self, hosts=(host,))
        return msgspec.structs.replace(self, text=one._with_hosts(_with_first_host(self.text)), hosts=())

    def with_database(self, name: str) -> "DatabaseAddress":
        """Another database of the same server, or servers."""
        text = self._url.set(database=name).render_as_string(hide_password=False)
        return msgspec.structs.replace(self, text=self._with_hosts(text))

    def is_same_as(self, other: "DatabaseAddress") -> bool:
        """Whether both name one database, whatever their passwords are, and which of its servers they name."""
        if not self.hosts and not other.hosts:
            return self._url._replace(password=None) == other._url._replace(password=None)
        is_shared = not set(self._servers).isdisjoint(other._servers)
        return is_shared and self.dialect_name == other.dialect_name and self.database_name == other.database_name

    @property
    def dsn(self) -> str:
        """The URL as asyncpg and the programs of PostgreSQL take it, with all its hosts."""
        return self._with_hosts(self._url.set(drivername="postgresql").render_as_string(hide_password=False))

    @property
    def connect_arguments(self) -> dict[str, Any]:
        """The parts of a MariaDB URL as asyncmy takes them; of several hosts the first."""
        url = self._url
        arguments: dict[str, Any] = {"user": url.username, "password": url.password or "", "db": url.database}
        if socket := url.query.get("unix_socket"):
            return arguments | {"unix_socket": socket}
        if "ssl_ca" in url.query or url.query.get("ssl") == "true":
            authority = url.query.get("ssl_ca")
            arguments["ssl"] = ssl.create_default_context(cafile=None if authority is None else str(authority))
        return arguments | {"host": url.host or "127.0.0.1", "port": url.port or _DEFAULT_PORTS["mariadb"]}

    @property
    def connect_arguments_of_hosts(self) -> list[dict[str, Any]]:
        """The parts of a MariaDB URL for each of its hosts, in its order."""
        arguments = self.connect_arguments
        if not self.hosts:
            return [arguments]
        return [arguments | {"host": host.name, "port": host.port} for host in self.hosts]

    @property
    def _url(self) -> URL:
        return make_url(_with_first_host(self.text))

    @property
    def _servers(self) -> tuple[Host, ...]:
        url = self._url
        return self.hosts or (Host(url.host or "127.0.0.1", url.port or _DEFAULT_PORTS.get(self.dialect_name, 0)),)

    def _with_hosts(self, text: str) -> str:
        if not self.hosts:
            return text
        return _AUTHORITY.sub(lambda found: found["before"] + ",".join(map(str, self.hosts)) + found["after"], text, 1)


def parse_address(text: str) -> DatabaseAddress:
    """Read a database URL, or say which forms there are."""
    try:
        url = make_url(_with_first_host(text))
    except (ArgumentError, ValueError) as error:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL is not a database address; write {_FORMS}") from error
    dialect_name = _DIALECTS.get(url.drivername)
    if dialect_name is None:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names the engine {url.drivername!r}; write {_FORMS}")
    if dialect_name == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidInputError(
            "HOLDFAST_DATABASE_URL must name a file for SQLite, such as sqlite:////var/lib/holdfast/holdfast.db"
        )
    if dialect_name == "sqlite":
        return DatabaseAddress(text=text, dialect_name=dialect_name)
    if not url.database:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names no database; write {_FORMS}")
    if dialect_name == "postgresql":
        _require_writable(url)
    hosts = tuple(_parse_host(each, _DEFAULT_PORTS[dialect_name]) for each in _hosts_in(text))
    if twice := [str(host) for host, count in Counter(hosts).items() if count > 1]:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names {twice[0]} twice")
    return DatabaseAddress(text=text, dialect_name=dialect_name, hosts=hosts)


def _hosts_in(text: str) -> list[str]:
    """The hosts of a URL that names several; of any other none."""
    found = _AUTHORITY.fullmatch(text)
    return found["hosts"].split(",") if found is not None and "," in found["hosts"] else []


def _with_first_host(text: str) -> str:
    """The URL with one host, as SQLAlchemy reads it: it takes the rest of a list for the port of the first."""
    hosts = _hosts_in(text)
    if not hosts:
        return text
    return _AUTHORITY.sub(lambda found: found["before"] + hosts[0] + found["after"], text, 1)


def _parse_host(text: str, default_port: int) -> Host:
    found = _HOST.fullmatch(text)
    if found is None:
        raise InvalidInputError(
            f"HOLDFAST_DATABASE_URL names the host {text!r}; write name:port, or [IPv6 address]:port, with commas"
            " between them"
        )
    port = int(found["port"] or default_port)
    if not 0 < port < 65536:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names the port {port} of {text!r}; ports go from 1 to 65535")
    return Host(name=found["ipv6"] or found["name"], port=port)


def _require_writable(url: URL) -> None:
    wanted = url.query.get("target_session_attrs", _WRITABLE[0])
    if wanted not in _WRITABLE:
        raise InvalidInputError(
            f"HOLDFAST_DATABASE_URL asks for target_session_attrs={wanted}; Holdfast writes, so leave it out, or write"
            " primary or read-write"
        )
