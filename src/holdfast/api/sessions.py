"""/sessions: sign in and out."""

from typing import Annotated

import msgspec
from litestar import Response, Router, delete, get, post
from litestar.datastructures import Cookie
from litestar.params import JSONBody

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    SESSION_COOKIE,
    ApiRequest,
    Door,
    database_of,
    origin_of,
    refuse_foreign_page,
    settings_of,
)
from holdfast.core.actor import Actor
from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Transaction
from holdfast.db.retries import with_retries
from holdfast.features.accounts import api_tokens, passwords, sessions
from holdfast.features.accounts.attempts import AttemptRule
from holdfast.features.accounts.errors import PasswordChangedMeanwhileError
from holdfast.features.accounts.types import Credentials, SignedIn, Token
from holdfast.settings import Settings

_door = Door(None, before_password_change=True)


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """A user name and its password."""

    username: Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00]*$")]
    password: Annotated[str, msgspec.Meta(max_length=1000)]


def attempt_rule(settings: Settings) -> AttemptRule:
    """How often a password may be tried."""
    return AttemptRule(attempts=settings.sign_in_attempts, window_seconds=settings.sign_in_window_seconds)


@post(
    "/",
    summary="Sign in: a token, also as a cookie",
    security=[],
    # It starts again where the password changed while it was being checked.
    opt=budget(17, repeated=("accounts.*",)),
)
async def sign_in(request: ApiRequest, data: JSONBody[SignIn]) -> Response[SignedIn]:
    """The token is shown this once. Send it as `Authorization: Bearer …`; a browser sends the cookie by itself."""
    refuse_foreign_page(request)
    settings = settings_of(request)
    signed_in = await _try_to_sign_in(request, data)
    if isinstance(signed_in, PasswordChangedMeanwhileError):
        signed_in = await _try_to_sign_in(request, data)
    if isinstance(signed_in, HoldfastError):
        raise signed_in
    return Response(
        content=signed_in,
        status_code=201,
        headers={"Location": "/api/v1/sessions/current"},
        cookies=[_cookie(settings, signed_in.token, settings.session_seconds)],
    )


@get("/current", summary="The session or API token in use")
async def get_session(request: ApiRequest) -> Token:
    return await _door.read(request, _current_token)


@delete("/current", status_code=204, summary="Sign out: the token in use works no more", opt=budget(6))
async def sign_out(request: ApiRequest) -> Response[None]:
    await _door.write(request, sessions.sign_out)
    return Response(content=None, status_code=204, cookies=[_cookie(settings_of(request), "", 0)])


async def _try_to_sign_in(request: ApiRequest, data: SignIn) -> SignedIn | HoldfastError:
    settings, origin, database = settings_of(request), origin_of(request), database_of(request)
    rule = attempt_rule(settings)

    async def find() -> Credentials | None:
        async with database.read() as tx:
            return await sessions.find_credentials(tx, rule, username=data.username, origin=origin)

    credentials = await with_retries(find)
    check = await passwords.check_password(None if credentials is None else credentials.password, data.password)

    async def attempt() -> SignedIn | HoldfastError:
        async with database.write() as tx:
            return await sessions.complete_sign_in(
                tx,
                rule,
                credentials,
                check,
                username=data.username,
                origin=origin,
                session_seconds=settings.session_seconds,
            )

    return await with_retries(attempt)


async def _current_token(tx: Transaction, actor: Actor) -> Token:
    assert actor.token_id is not None
    return await api_tokens.get_token(tx, actor, actor.token_id)


def _cookie(settings: Settings, value: str, seconds: int) -> Cookie:
    """Lax, not strict: a link from a mail into the console shall find its reader signed in."""
    return Cookie(
        key=SESSION_COOKIE,
        value=value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.secure_cookies or settings.mode == "production",
    )


router = Router("/sessions", route_handlers=[sign_in, get_session, sign_out], tags=["sessions"])
