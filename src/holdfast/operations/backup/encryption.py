"""The age format (age-encryption.org/v1): whom backups are encrypted for, and whose key opens them."""

from pathlib import Path
from typing import Any

import pyrage

from holdfast.core.errors import InvalidInputError
from holdfast.settings import Settings


def recipients_in(settings: Settings) -> list[str]:
    """The public keys of HOLDFAST_BACKUP_RECIPIENTS; none where backups are not encrypted."""
    keys = settings.backup_recipients.replace(",", " ").split()
    if settings.backup_recipients and not keys:
        raise InvalidInputError(
            "HOLDFAST_BACKUP_RECIPIENTS is set and names no key: backups would not be encrypted. Name one, or unset it"
        )
    for key in keys:
        _recipient(key)
    return keys


def parsed_recipients(keys: list[str]) -> list[Any]:
    """The keys as the library takes them."""
    return [_recipient(key) for key in keys]


def _recipient(key: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError as error:
        if key.startswith("AGE-SECRET-KEY"):
            raise InvalidInputError(
                "HOLDFAST_BACKUP_RECIPIENTS holds a secret key: name the public one, which begins with age1"
            ) from None
        raise InvalidInputError(
            f"HOLDFAST_BACKUP_RECIPIENTS: {key!r} is no public key of age, such as `age-keygen` prints: {error}"
        ) from error


def load_identities(path: Path | None) -> list[Any]:
    """The secret keys in a file as `age-keygen` writes it; none where no file is named."""
    if path is None:
        return []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInputError(f"the file of identities {path} cannot be read: {reason}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise InvalidInputError(f"the file of identities {path} holds no secret key")
    try:
        return [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        # The library's message might show a part of the key.
        raise InvalidInputError(
            f"the file of identities {path} holds a line that is no secret key of age (AGE-SECRET-KEY-…)"
        ) from None


def identity_path(settings: Settings) -> Path | None:
    """The file of HOLDFAST_BACKUP_IDENTITY_FILE, if any is named."""
    return Path(settings.backup_identity_file) if settings.backup_identity_file else None
