"""Password hashes of the older program."""

import msgspec

from holdfast.features.accounts.bcrypt_hashes import PUBLIC_HASHES, is_bcrypt
from holdfast.features.accounts.passwords import is_argon2
from holdfast.operations.legacy.source import Source, SourceTable

WELL_KNOWN_HASHES = PUBLIC_HASHES
# No password fits these; the second one waits for a generated password at the end of the import.
UNUSABLE = "!"
TO_BE_RESET = "!reset"
_ROWS_AT_ONCE = 500


class HashCounts(msgspec.Struct):
    """How many users sign in with bcrypt the first time, and how many have a hash that Holdfast cannot verify.

    Users without a hash and those with a well-known one are neither: the import tells them row by row.
    """

    bcrypt: int = 0
    foreign: int = 0


async def count_hashes(source: Source) -> HashCounts:
    """The kinds of hashes that the older users have."""
    found = HashCounts()
    key = source.catalogue.key_column("users", "u_id", "id") or "u_id"
    async for page in source.pages(SourceTable("users", (key,)), _ROWS_AT_ONCE):
        for row in page:
            stored = row.get("password") or ""
            if is_bcrypt(stored):
                found.bcrypt += 1
            elif stored and stored not in WELL_KNOWN_HASHES and not is_argon2(stored):
                found.foreign += 1
    return found
