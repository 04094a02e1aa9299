"""The tokens of a user: sessions and API tokens, listed, made and revoked."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import InvalidInputError, NotSignedInError
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import policy, queries
from holdfast.features.accounts.errors import ScopeForbiddenError, TokenNotFoundError, UserForbiddenError
from holdfast.features.accounts.sessions import end_token
from holdfast.features.accounts.tokens import new_token, token_hash
from holdfast.features.accounts.types import Token, TokenRow
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action

DEFAULT_DAYS = 30


async def list_tokens(
    tx: Transaction,
    actor: Actor,
    page: PageRequest,
    *,
    cursor_key: bytes,
    user_id: str | None = None,
    **filters: Any,
) -> Page[Token]:
    """The actor's sessions and API tokens that were not revoked; super administrators may ask for another's."""
    if user_id not in {None, actor.user_id} and not actor.is_super_admin:
        raise UserForbiddenError("only super administrators list the tokens of others")
    found = await queries.TOKENS.fetch_page(
        tx, page, cursor_key=cursor_key, user_id=user_id or actor.user_id, **filters
    )
    items = [_shown(row) for row in found.items]
    return Page(items=items, total=found.total, page=found.page, limit=found.limit, next=found.next)


async def get_token(tx: Transaction, actor: Actor, token_id: str) -> Token:
    """One of the actor's tokens, without its secret; any user's for super administrators."""
    return _shown(await _get_row(tx, actor, token_id))


async def create_token(
    tx: Transaction,
    actor: Actor,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    longest_days: int,
    clock: Clock = utc_now,
) -> Token:
    """Make an API token; the answer holds the secret, which is stored only as a hash.

    It can do nothing that the token in use cannot do, and does not outlive it where that is an API token. Without
    `expires_at` it lives for 30 days.
    """
    now = clock()
    if unknown := sorted(set(scopes) - policy.SCOPES):
        raise InvalidInputError(
            f"there is no scope {unknown[0]}; write an area such as forms, or *, and :read or :write"
        )
    if beyond := policy.scopes_beyond(actor, scopes):
        raise ScopeForbiddenError(f"your own token lacks {', '.join(beyond)}, so it cannot make one that has it")
    latest = await _latest_end(tx, actor, now + timedelta(days=longest_days))
    ends = min(now + timedelta(days=DEFAULT_DAYS), latest) if expires_at is None else expires_at
    if not now < ends <= latest:
        raise InvalidInputError(
            f"expires_at must be in the future, at most {longest_days} days from now, and no later than the API token"
            " in use ends"
        )
    secret = new_token()
    token = Token(
        id=new_long_id(),
        user_id=actor.user_id,
        username=actor.username,
        kind="api",
        name=name,
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=ends,
        token=secret,
    )
    await tx.execute(
        queries.INSERT_TOKEN,
        id=token.id,
        user_id=token.user_id,
        kind=token.kind,
        name=name,
        token_hash=token_hash(secret),
        scopes=" ".join(token.scopes),
        created_at=now,
        expires_at=ends,
    )
    new = {"name": name, "scopes": token.scopes, "expires_at": ends}
    await audit.record(tx, actor, Action.CREATE, "token", token.id, label=name, new=new, clock=clock)
    return token


async def revoke_token(tx: Transaction, actor: Actor, token_id: str, *, clock: Clock = utc_now) -> None:
    """End a session or API token at once: one's own, or anybody's for super administrators. Its row stays."""
    row = await _get_row(tx, actor, token_id)
    await end_token(tx, row.user_id, token_id, clock)
    old = {"user_id": row.user_id, "kind": row.kind}
    await audit.record(tx, actor, Action.REVOKE, "token", token_id, label=row.name, old=old, clock=clock)


async def _latest_end(tx: Transaction, actor: Actor, latest: datetime) -> datetime:
    """When a token made with the one in use must have ended.

    That one is read again once no change of the password is under way, which ends all tokens and must miss none.
    """
    if actor.token_id is None:
        return latest
    await tx.fetch_one(queries.FIND_NAME_AS_PARENT, u_id=actor.user_id)
    own = await tx.fetch_one(queries.FIND_TOKEN, token_id=actor.token_id)
    if own is None:
        raise NotSignedInError("this token was revoked at this moment; sign in again")
    return min(latest, own.expires_at) if own.kind == "api" else latest


async def _get_row(tx: Transaction, actor: Actor, token_id: str) -> TokenRow:
    row = await tx.fetch_one(queries.FIND_TOKEN, token_id=token_id)
    if row is None or not (actor.is_super_admin or row.user_id == actor.user_id):
        raise TokenNotFoundError
    return row


def _shown(row: TokenRow) -> Token:
    return Token(**(msgspec.structs.asdict(row) | {"scopes": row.scopes.split()}))
