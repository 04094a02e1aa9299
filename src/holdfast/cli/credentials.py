"""Where a command finds its server and token, and where `holdfast login` keeps them.

`~/.config/holdfast/credentials.json` (or below XDG_CONFIG_HOME), readable by its owner alone, holds one token for each
server. A token is sent to the server that gave it and to no other.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from holdfast.cli.failures import CommandFailedError, ExitCode

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "HOLDFAST_CLI_URL"
TOKEN_VARIABLE = "HOLDFAST_CLI_TOKEN"  # noqa: S105 - the variable's name


class Credential(msgspec.Struct, frozen=True):
    """A session at one server."""

    token: str
    username: str
    expires_at: str


class Credentials(msgspec.Struct):
    """What the file holds: the sessions by server, and the server that commands speak to when none is named."""

    current: str = DEFAULT_URL
    servers: dict[str, Credential] = {}


class Access(msgspec.Struct, frozen=True):
    """The server to speak to, and the token for it where there is one."""

    url: str
    token: str | None


def find_access(url: str | None) -> Access:
    """Settle the server and token from `--url`, the environment and the file, in this order."""
    saved = load_credentials()
    chosen = normalised_url(url or os.environ.get(URL_VARIABLE) or saved.current)
    token = os.environ.get(TOKEN_VARIABLE)
    if not token and chosen in saved.servers:
        token = saved.servers[chosen].token
    return Access(chosen, token or None)


def keep(url: str, credential: Credential) -> None:
    """Remember a session; from now on this server is the current one."""
    saved = load_credentials()
    saved.servers[url] = credential
    saved.current = url
    _write(saved)


def forget(url: str) -> None:
    """Remove the session at a server."""
    saved = load_credentials()
    if saved.servers.pop(url, None) is not None:
        _write(saved)


def load_credentials() -> Credentials:
    """The file, or nothing where there is none."""
    path = credentials_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        return Credentials()
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise CommandFailedError(f"{path} cannot be read ({error}); remove it and sign in again") from error


def credentials_path() -> Path:
    """Where the file is."""
    base = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base and Path(base).is_absolute() else Path.home() / ".config"
    return folder / "holdfast" / "credentials.json"


def normalised_url(url: str) -> str:
    """Scheme, host and port; a path before /api/v1 stays, so that a server can live below one."""
    url = url.strip()
    if "://" not in url:
        url = f"http://{url}"
    url = url.rstrip("/").removesuffix("/api/v1")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise CommandFailedError(
            f"{url} is no server address; write it like https://holdfast.example.org", ExitCode.WRONG_USAGE
        )
    return url


def _write(credentials: Credentials) -> None:
    path = credentials_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Made private before anything is in it, and moved into place whole.
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(credentials)) + b"\n")
    new.replace(path)
