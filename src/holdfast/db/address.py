"""Database addresses: what `HOLDFAST_DATABASE_URL` may say, and how each engine is reached from it."""

import ssl
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import make_url
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


class DatabaseAddress(msgspec.Struct, frozen=True):
    """A parsed database URL. `text` may hold a password: show `shown` instead."""

    text: str
    dialect_name: str

    @property
    def shown(self) -> str:
        """The URL with its password masked."""
        return make_url(self.text).render_as_string(hide_password=True)

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(make_url(self.text).database or "")

    @property
    def dsn(self) -> str:
        """The URL as asyncpg takes it."""
        return make_url(self.text).set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def connect_arguments(self) -> dict[str, Any]:
        """The parts of a MariaDB URL as asyncmy takes them."""
        url = make_url(self.text)
        arguments: dict[str, Any] = {"user": url.username, "password": url.password or "", "db": url.database}
        if socket := url.query.get("unix_socket"):
            return arguments | {"unix_socket": socket}
        if "ssl_ca" in url.query or url.query.get("ssl") == "true":
            authority = url.query.get("ssl_ca")
            arguments["ssl"] = ssl.create_default_context(cafile=None if authority is None else str(authority))
        return arguments | {"host": url.host or "127.0.0.1", "port": url.port or 3306}


def parse_address(text: str) -> DatabaseAddress:
    """Read a database URL, or say which forms there are."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL is not a database address; write {_FORMS}") from error
    dialect_name = _DIALECTS.get(url.drivername)
    if dialect_name is None:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names the engine {url.drivername!r}; write {_FORMS}")
    if dialect_name == "sqlite" and url.database in (None, "", ":memory:"):
        raise InvalidInputError(
            "HOLDFAST_DATABASE_URL must name a file for SQLite, such as sqlite:////var/lib/holdfast/holdfast.db"
        )
    if dialect_name != "sqlite" and not url.database:
        raise InvalidInputError(f"HOLDFAST_DATABASE_URL names no database; write {_FORMS}")
    return DatabaseAddress(text=text, dialect_name=dialect_name)
