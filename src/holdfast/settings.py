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
_A_YEAR_SECONDS = 366 * 24 * 3600
# What each number may be, both ends included. A zero would shut everybody out, an endless wait would hide a mistake.
_BOUNDS: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "session_seconds": (1, _A_YEAR_SECONDS),
    "api_token_max_days": (1, 36_500),
    "sign_in_attempts": (1, 1_000_000),
    "sign_in_window_seconds": (1, _A_YEAR_SECONDS),
    "pool_max_idle": (0, 10_000),
    # A bundle is read on one connection while its lease is kept on another.
    "pool_max_open": (2, 10_000),
    "pool_lifetime_seconds": (1, _A_YEAR_SECONDS),
    "pool_wait_seconds": (0.001, 3600),
    "statement_timeout_seconds": (0.1, 86_400),
    "deletion_timeout_seconds": (0.1, 86_400),
    "slow_statement_seconds": (0, 86_400),
    "max_request_bytes": (1024, 1024**3),
    "idempotency_hours": (1, 24 * 366),
    "retention_deleted_days": (1, 36_500),
    "retention_audit_days": (1, 36_500),
    "cleanup_deleted_every_days": (1, 366),
    "cleanup_audit_every_days": (1, 366),
    "backup_every_hours": (0, 24 * 366),
    "doctor_every_days": (0, 366),
    "drill_every_days": (0, 366),
    "drill_max_age_hours": (0.01, 24 * 366),
    "backup_keep_newest": (1, 10_000),
    "backup_keep_daily": (0, 10_000),
    "backup_keep_weekly": (0, 10_000),
    "backup_keep_monthly": (0, 10_000),
    "retention_runs_days": (1, 36_500),
    "worker_concurrency": (1, 64),
    "worker_lease_seconds": (1, 3600),
}


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
    deletion_timeout_seconds: float = 600
    slow_statement_seconds: float = 0.2
    max_request_bytes: int = 2 * 1024 * 1024
    idempotency_hours: int = 24
    bundle_dir: str = ""
    retention_deleted_days: int = 30
    retention_audit_days: int = 90
    cleanup_deleted_every_days: int = 30
    cleanup_audit_every_days: int = 1
    retention_runs_days: int = 90
    trusted_proxies: str = ""
    private_registry: str = ""
    secure_cookies: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    access_log: bool = True
    worker_in_server: bool = True
    backup_url: str = ""
    backup_every_hours: float = 24
    backup_keep_newest: int = 3
    backup_keep_daily: int = 7
    backup_keep_weekly: int = 4
    backup_keep_monthly: int = 12
    backup_recipients: str = ""
    backup_identity_file: str = ""
    doctor_every_days: int = 1
    drill_every_days: int = 7
    drill_max_age_hours: float = 48
    drill_database_url: str = ""
    backup_s3_endpoint: str = ""
    backup_s3_region: str = "us-east-1"
    backup_s3_key: str = ""
    backup_s3_secret: str = ""
    postgresql_bin: str = ""
    worker_concurrency: int = 2
    worker_lease_seconds: float = 60

    @property
    def resolved_database_url(self) -> str:
        """The database address, by default the file `holdfast.db` in the data folder."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'holdfast.db').resolve()}"

    @property
    def resolved_bundle_dir(self) -> Path:
        """The folder of recovery bundles, by default `bundles` in the data folder."""
        return Path(self.bundle_dir or self.data_dir / "bundles").resolve()

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
        reason, _, field = str(error).partition(" - at `$.")
        raise InvalidInputError(f"HOLDFAST_{field.rstrip('`').upper()} does not fit: {reason}") from error
    _check(settings)
    return settings


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise TypeError(f"settings of type {kind} cannot be read")


def _check(settings: Settings) -> None:
    for name, (least, most) in _BOUNDS.items():
        if not least <= getattr(settings, name) <= most:
            raise InvalidInputError(f"HOLDFAST_{name.upper()} must be between {least:g} and {most}")
    if settings.pool_max_idle > settings.pool_max_open:
        raise InvalidInputError("HOLDFAST_POOL_MAX_OPEN must be at least HOLDFAST_POOL_MAX_IDLE")
    if settings.admin_password is not None and not 8 <= len(settings.admin_password) <= 128:
        raise InvalidInputError(
            "HOLDFAST_ADMIN_PASSWORD must be 8 to 128 characters long; leave it out and one is made"
        )
    if settings.mode == "production" and (
        settings.secret == DEVELOPMENT_SECRET or len(settings.secret) < _SHORTEST_SECRET
    ):
        raise InvalidInputError(
            f"HOLDFAST_SECRET must be set to a random text of at least {_SHORTEST_SECRET} characters in production:"
            " make one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`"
        )
