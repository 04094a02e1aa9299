"""All settings, read once from the environment: each is `HOLDFAST_` and its name in capitals.

docs/settings.md has a heading for each. A value that does not fit stops the start with a sentence that names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from holdfast.core.errors import InvalidInputError

DEVELOPMENT_SECRET = "holdfast-development-secret"  # noqa: S105 - refused in production
_SHORTEST_SECRET = 32


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process. Durations are in seconds, sizes in bytes."""

    mode: Literal["development", "production"] = "development"
    data_dir: Path = Path("data")
    database_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    secret: str = DEVELOPMENT_SECRET
    admin_password: str | None = None
    registration_open: bool = False
    session_seconds: int = 12 * 3600
    api_token_max_days: int = 365
    sign_in_attempts: int = 10
    sign_in_window_seconds: int = 900
    pool_max_idle: int = 10
    pool_max_open: int = 100
    pool_lifetime_seconds: float = 3600
    pool_wait_seconds: float = 5
    statement_timeout_seconds: float = 30
    slow_statement_seconds: float = 0.2
    max_request_bytes: int = 2 * 1024 * 1024
    idempotency_hours: int = 24
    trusted_proxies: str = ""
    private_registry: str = ""
    secure_cookies: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    access_log: bool = True
    worker_in_server: bool = True

    @property
    def resolved_database_url(self) -> str:
        """The database address, by default the file `holdfast.db` in the data folder."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'holdfast.db').resolve()}"

    @property
    def cursor_key(self) -> bytes:
        """The key with which cursors are signed; the same on every replica."""
        return self.secret.encode()


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings, refusing names and values that mean nothing."""
    known = {f"HOLDFAST_{field.upper()}": field for field in Settings.__struct_fields__}
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if name in known:
            values[known[name]] = text
        elif name.startswith("HOLDFAST_") and not name.startswith(
            ("HOLDFAST_TEST_", "HOLDFAST_REQUIRE_", "HOLDFAST_CLI_")
        ):
            raise InvalidInputError(f"there is no setting {name}; docs/settings.md lists them")
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"a setting does not fit: {error}".replace("$.", "HOLDFAST_").replace("`", "'")
        ) from error
    _check(settings)
    return settings


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"settings of type {kind} cannot be read")


def _check(settings: Settings) -> None:
    if not 0 <= settings.port <= 65535:
        raise InvalidInputError("HOLDFAST_PORT must be between 0 and 65535 (0 takes any free port)")
    if not 0 <= settings.pool_max_idle <= settings.pool_max_open or settings.pool_max_open < 1:
        raise InvalidInputError("HOLDFAST_POOL_MAX_OPEN must be at least 1 and at least HOLDFAST_POOL_MAX_IDLE")
    if settings.mode == "production" and (
        settings.secret == DEVELOPMENT_SECRET or len(settings.secret) < _SHORTEST_SECRET
    ):
        raise InvalidInputError(
            f"HOLDFAST_SECRET must be set to a random text of at least {_SHORTEST_SECRET} characters in production:"
            " make one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`"
        )
