"""Answers kept under an Idempotency-Key: a client that did not hear the answer may send the same POST again.

The key is claimed and the answer kept in the transaction of the change itself, so either all of it is there or none.
"""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, select, update

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Transaction
from holdfast.db.statements import Command, Query, insert_unless_present, parameters_for
from holdfast.db.tables import idempotency_keys

_CLAIMED = 0
_ROWS_AT_ONCE = 500


class Answer(msgspec.Struct, frozen=True):
    """What was answered. `fingerprint` is the SHA-256 of the request it answers."""

    fingerprint: str
    status: int
    location: str | None
    etag: str | None
    body: str | None


class _Kept(msgspec.Struct, frozen=True):
    user_id: str
    idempotency_key: str


class IdempotencyKeyReusedError(ConflictError):
    """The key was sent before with another request."""

    code = "idempotency_key_reused"


_CLAIM = insert_unless_present(
    "answers.claim", idempotency_keys, "user_id", "idempotency_key", "fingerprint", "status", "created_at"
)
_key = (
    idempotency_keys.c.user_id == bindparam("owner_id", type_=idempotency_keys.c.user_id.type),
    idempotency_keys.c.idempotency_key == bindparam("key", type_=idempotency_keys.c.idempotency_key.type),
)
_FIND = Query(
    "answers.find",
    select(
        idempotency_keys.c.fingerprint,
        idempotency_keys.c.status,
        idempotency_keys.c.location,
        idempotency_keys.c.etag,
        idempotency_keys.c.body,
    ).where(*_key),
    Answer,
)
_KEEP = Command(
    "answers.keep",
    update(idempotency_keys)
    .where(*_key)
    .values(parameters_for(idempotency_keys, "status", "location", "etag", "body")),
)
_FIND_OLD = Query(
    "answers.find_old",
    select(idempotency_keys.c.user_id, idempotency_keys.c.idempotency_key)
    .where(idempotency_keys.c.created_at < bindparam("before", type_=idempotency_keys.c.created_at.type))
    .order_by(idempotency_keys.c.created_at)
    .limit(_ROWS_AT_ONCE),
    _Kept,
)
_REMOVE = Command("answers.remove", delete(idempotency_keys).where(*_key))


async def find_or_claim(
    tx: Transaction, user_id: str, key: str, fingerprint: str, clock: Clock = utc_now
) -> Answer | None:
    """The answer kept under the key, or None when this request is the first and now holds the key.

    A second request that comes while the first is still open waits for its end.
    """
    claimed = await tx.insert_unless_present(
        _CLAIM, user_id=user_id, idempotency_key=key, fingerprint=fingerprint, status=_CLAIMED, created_at=clock()
    )
    if claimed:
        return None
    answer = await tx.fetch_one(_FIND, owner_id=user_id, key=key)
    if answer is None or answer.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError("this Idempotency-Key was used for another request; send a new one")
    return answer


async def keep(tx: Transaction, user_id: str, key: str, answer: Answer) -> None:
    """Keep the answer to the request that claimed the key."""
    await tx.execute(
        _KEEP,
        owner_id=user_id,
        key=key,
        status=answer.status,
        location=answer.location,
        etag=answer.etag,
        body=answer.body,
    )


async def remove_old(tx: Transaction, before: datetime) -> int:
    """Remove answers kept before a moment; how many went, at most 500."""
    kept = await tx.fetch_all(_FIND_OLD, before=before)
    await tx.execute_many(_REMOVE, [{"owner_id": each.user_id, "key": each.idempotency_key} for each in kept])
    return len(kept)
