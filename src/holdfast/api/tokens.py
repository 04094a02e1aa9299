"""/tokens: the sessions and API tokens of a user."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.params import FromQuery, JSONBody

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    ApiRequest,
    CursorText,
    Door,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    page_of,
    settings_of,
)
from holdfast.api.types import FilterId, Name100, PathId, SearchText
from holdfast.core.clock import utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.core.pages import Page
from holdfast.features.accounts import api_tokens
from holdfast.features.accounts.types import Token

_door = Door("tokens")

Scope = Annotated[str, msgspec.Meta(pattern=r"^(\*|[a-z-]+):(read|write)$", max_length=50)]


class CreateToken(msgspec.Struct, forbid_unknown_fields=True):
    """A new API token. It lives until `expires_at`, or for `expires_in_days`, or for 30 days."""

    name: Name100
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=30)] = msgspec.field(
        default_factory=lambda: ["*:read"]
    )
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


@get("/", summary="Your sessions and API tokens, newest first, without their secrets")
async def list_tokens(
    request: ApiRequest,
    user_id: FilterId = None,
    kind: FromQuery[Literal["session", "api"] | None] = None,
    q: SearchText = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Token]:
    asked = page_of(page, limit, sort, cursor, total)
    key = settings_of(request).cursor_key
    return await _door.read(
        request,
        lambda tx, actor: api_tokens.list_tokens(tx, actor, asked, cursor_key=key, user_id=user_id, kind=kind, q=q),
    )


@post("/", summary="Make an API token; its secret is shown this once", opt=budget(5))
async def create_token(request: ApiRequest, data: JSONBody[CreateToken]) -> Response[Token]:
    """With an Idempotency-Key a repeated request gets the answer again without the secret, which is not stored."""
    expires_at = _end_of(data)
    longest_days = settings_of(request).api_token_max_days
    return await _door.create(
        request,
        lambda tx, actor: api_tokens.create_token(
            tx, actor, name=data.name, scopes=data.scopes, expires_at=expires_at, longest_days=longest_days
        ),
        location=lambda token: f"/api/v1/tokens/{token.id}",
        kept=lambda token: msgspec.structs.replace(token, token=None),
    )


@get("/{token_id:str}", summary="One of your tokens, without its secret")
async def get_token(request: ApiRequest, token_id: PathId) -> Token:
    return await _door.read(request, lambda tx, actor: api_tokens.get_token(tx, actor, token_id))


@delete("/{token_id:str}", status_code=204, summary="Revoke a token or end a session, at once", opt=budget(5))
async def revoke_token(request: ApiRequest, token_id: PathId) -> None:
    await _door.write(request, lambda tx, actor: api_tokens.revoke_token(tx, actor, token_id))


def _end_of(data: CreateToken) -> datetime | None:
    if data.expires_in_days is None:
        return data.expires_at
    if data.expires_at is not None:
        raise InvalidInputError("give expires_at or expires_in_days, not both")
    return utc_now() + timedelta(days=data.expires_in_days)


router = Router("/tokens", route_handlers=[list_tokens, create_token, get_token, revoke_token], tags=["tokens"])
