"""What every route does around its feature call: the actor, the token's scope, one transaction, retries, versions."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.params import QueryParameter

from holdfast.api.budgets import allow_key
from holdfast.api.reasons import field_of, plain_reason
from holdfast.api.responses import JsonResponse
from holdfast.core.actor import Actor, Origin, require_scope
from holdfast.core.errors import ForbiddenError, InvalidInputError, NotSignedInError
from holdfast.core.pages import MAX_PAGE, PageRequest, page_request
from holdfast.core.versions import version_of
from holdfast.db import answers
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import NOTHING_KEPT, once_more, until_known, with_retries
from holdfast.features.accounts import service as accounts
from holdfast.settings import Settings

Result = TypeVar("Result")
Work = Callable[[Transaction, Actor], Awaitable[Result]]

SESSION_COOKIE = "holdfast_session"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ApiRequest(Request[Any, Any, State]):
    """A request whose body is read in one step and strictly into the type that its route declares.

    The framework would decode it twice, take "4" for 4, and answer 500 to invalid UTF-8 and to deep nesting.
    """

    def header(self, name: bytes) -> str | None:
        """A header by its name in small letters; of several the first."""
        # The framework's own view of the headers makes lists and objects of them all, for each request.
        for key, value in self.scope["headers"]:
            if key == name:
                return value.decode("latin-1")
        return None

    def hold_body(self, body: bytes) -> None:
        """Take a body that was read already."""
        self._body = body

    async def json(self) -> Any:
        """The body as the route's struct; 400 with the field and the reason where it does not fit."""
        declared = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if declared is None else declared.annotation)
        except msgspec.ValidationError as error:
            given, _, path = str(error).partition(" - at `$")
            field, reason = field_of(path, given), plain_reason(given)
            raise InvalidInputError(
                f"the request does not fit: {field}: {reason}" if field else f"the request does not fit: {reason}",
                errors=[{"field": field, "in": "body", "reason": reason}],
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInputError(f"the body must be JSON in UTF-8, nested not too deep: {error}") from error


class PasswordChangeRequiredError(ForbiddenError):
    """The user signed in with a first password and must choose another before anything else."""

    code = "password_change_required"


class Door:
    """The way into the features for the routes of one area.

    `area` is the word that token scopes use; None is for what any token may do, such as asking whose it is.
    """

    def __init__(self, area: str | None, *, before_password_change: bool = False) -> None:
        self.area = area
        self._before_password_change = before_password_change

    async def read(self, request: ApiRequest, work: Work[Result]) -> Result:
        """Run reading work as the request's actor; again from the start where its connection broke."""
        try:
            return await self._read(request, work, "read")
        except NOTHING_KEPT:
            return await once_more(lambda: self._read(request, work, "read"))

    async def prepare(self, request: ApiRequest, work: Work[Result]) -> Result:
        """Run the reading part of a change, which needs the rights of the change, before its transaction.

        For what must not happen within it, such as hashing a password.
        """
        try:
            return await self._read(request, work, "write")
        except NOTHING_KEPT:
            return await once_more(lambda: self._read(request, work, "write"))

    async def write(self, request: ApiRequest, work: Work[Result]) -> Result:
        """Run changing work as the request's actor in one transaction.

        Again from the start where it met a conflict, or where its connection broke before the commit.
        """

        async def attempt() -> Result:
            async with database_of(request).write() as tx:
                return await work(tx, await self._changing_actor(request, tx))

        return await with_retries(attempt)

    async def create(
        self,
        request: ApiRequest,
        work: Work[Result],
        *,
        location: Callable[[Result], str],
        status: int | Callable[[Result], int] = 201,
        kept: Callable[[Result], Any] | None = None,
    ) -> Response[Result]:
        """As `write`, answering 201 (or `status`) with the Location of what was made.

        With an Idempotency-Key the first answer is kept in the same transaction, and a repeated request gets it again,
        as `kept` made it where there is something in it that may not be stored.
        """
        key = _idempotency_key(request)
        if key is None:
            return _created(await self.write(request, work), location, status)
        fingerprint = _fingerprint(request, await request.body())
        allow_key(request.scope["state"])

        async def attempt() -> Response[Result]:
            async with database_of(request).write() as tx:
                actor = await self._changing_actor(request, tx)
                answer = await answers.find_or_claim(tx, actor.user_id, key, fingerprint)
                if answer is not None:
                    return _replayed(answer)
                content = await work(tx, actor)
                response = _created(content, location, status)
                answer = answers.Answer(
                    fingerprint=fingerprint,
                    status=_status_of(content, status),
                    location=response.headers["Location"],
                    etag=response.headers.get("ETag"),
                    body=msgspec.json.encode(content if kept is None else kept(content)).decode(),
                )
                await answers.keep(tx, actor.user_id, key, answer)
                return response

        # A commit that took effect is found by its key.
        return await until_known(attempt)

    async def _read(self, request: ApiRequest, work: Work[Result], access: str) -> Result:
        async with database_of(request).read() as tx:
            actor = await accounts.resolve_actor(tx, token_of(request), origin_of(request))
            self._admit(actor, access)
            return await work(tx, actor)

    async def _changing_actor(self, request: ApiRequest, tx: Transaction) -> Actor:
        actor = await accounts.resolve_actor_for_change(tx, token_of(request), origin_of(request))
        self._admit(actor, "write")
        return actor

    def _admit(self, actor: Actor, access: str) -> None:
        if self.area is not None:
            require_scope(actor, self.area, access)
        if actor.must_change_password and not self._before_password_change:
            raise PasswordChangeRequiredError(
                f"choose a new password first: PUT /api/v1/users/{actor.user_id}/password"
            )


def database_of(request: ApiRequest) -> Database:
    """The database of this process."""
    database: Database = request.scope["state"]["database"]
    return database


def settings_of(request: ApiRequest) -> Settings:
    """The settings of this process."""
    settings: Settings = request.scope["state"]["settings"]
    return settings


def token_of(request: ApiRequest) -> str:
    """The token of the Authorization header or of the session cookie.

    A cookie travels by itself, so a changing request that rests on one must come from our own pages.
    """
    header = request.header(b"authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedInError("the Authorization header must be 'Bearer' and a token")
        return token.strip()
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is None:
        raise NotSignedInError("sign in first: POST /api/v1/sessions, then send 'Authorization: Bearer …'")
    if request.method not in _SAFE_METHODS:
        refuse_foreign_page(request)
    return cookie


def refuse_foreign_page(request: ApiRequest) -> None:
    """Refuse what a page of another site made a browser send; browsers say so themselves, programs send neither header.

    For what rests on the session cookie, or sets it: otherwise a foreign page could sign its reader in as its author.
    """
    site = request.header(b"sec-fetch-site")
    origin = request.header(b"origin")
    if site is not None:
        # No page can set it, and it holds behind a proxy that puts its own name for the host, too.
        is_foreign = site not in {"same-origin", "none"}
    else:
        is_foreign = origin is not None and origin.partition("://")[2] != request.header(b"host")
    if is_foreign:
        raise ForbiddenError(
            "browsers sign in and use the session cookie on our own pages only; send the token as a header"
        )


def origin_of(request: ApiRequest) -> Origin:
    """Where the request comes from, cut to what the audit log holds."""
    client = request.client
    agent = request.header(b"user-agent")
    return Origin(
        address=None if client is None else client.host[:45],
        user_agent=None if agent is None else agent.replace("\x00", "")[:500],
    )


def if_match_of(request: ApiRequest) -> str | None:
    """The If-Match header, for the feature to compare."""
    return request.header(b"if-match")


def changes_of(data: msgspec.Struct) -> dict[str, Any]:
    """The fields that a PATCH gives; those it leaves out are not there."""
    fields = {name: getattr(data, name) for name in data.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


def tagged(content: Any) -> Response[Any]:
    """An answer with its ETag, for If-Match; never 304, because it holds more than its own row."""
    return Response(content=content, headers={"ETag": version_of(content.updated_at)})


def versioned(request: ApiRequest, content: Any) -> Response[Any]:
    """An answer with its ETag; 304 without body where the caller has this version already.

    Only for an answer that cannot change without its row's `updated_at`; `tagged` for others.
    """
    etag = version_of(content.updated_at)
    if request.header(b"if-none-match") == etag:
        return Response(content=None, status_code=304, headers={"ETag": etag})
    return JsonResponse(content=content, headers={"ETag": etag})


PageNumber = Annotated[int, QueryParameter(description="Page, from 1.", required=False)]
PageLimit = Annotated[int, QueryParameter(description="Rows a page: 1 to 100, else 20.", required=False)]
SortOrder = Annotated[
    str | None,
    QueryParameter(description="A sort column; with a leading - descending.", max_length=50, required=False),
]
CursorText = Annotated[
    str | None,
    QueryParameter(description="The `next` of the page before.", max_length=2000, required=False),
]
TotalWanted = Annotated[
    Literal["exact", "none"],
    QueryParameter(description="`none` counts nothing: `total` is null, and a long list comes sooner.", required=False),
]

IncludeDeleted = Annotated[
    bool,
    QueryParameter(
        description="Deleted rows, too, with `deleted_at` and `deletion_id` (super administrators).", required=False
    ),
]


def refuse_both(include: str | None, include_deleted: bool) -> None:
    """Refuse to put what is live into rows that are not: what was deleted with them has a list of its own."""
    if include is not None and include_deleted:
        raise InvalidInputError(
            f"include={include} and include_deleted=true do not go together: ask for the {include} by their own list"
        )


def page_of(
    page: int,
    limit: int,
    sort: str | None,
    cursor: str | None,
    total: Literal["exact", "none"],
    *,
    include_deleted: bool = False,
    max_limit: int = 100,
) -> PageRequest:
    """The part of a list that the query parameters ask for."""
    if page > MAX_PAGE:
        raise InvalidInputError(f"page can be at most {MAX_PAGE}; use cursor= to go deep into a list")
    return page_request(
        page,
        limit,
        sort=sort,
        cursor=cursor,
        include_deleted=include_deleted,
        is_counted=total != "none",
        max_limit=max_limit,
    )


def _created(
    content: Result, location: Callable[[Result], str], status: int | Callable[[Result], int]
) -> Response[Result]:
    headers = {"Location": location(content)}
    updated_at = getattr(content, "updated_at", None)
    if updated_at is not None:
        headers["ETag"] = version_of(updated_at)
    return JsonResponse(content=content, status_code=_status_of(content, status), headers=headers)


def _status_of(content: Result, status: int | Callable[[Result], int]) -> int:
    return status if isinstance(status, int) else status(content)


def _replayed(answer: answers.Answer) -> Response[Any]:
    headers = {"Location": answer.location or "", "Idempotency-Replayed": "true"}
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    return Response(
        content=(answer.body or "").encode(), status_code=answer.status, media_type="application/json", headers=headers
    )


def _idempotency_key(request: ApiRequest) -> str | None:
    key = request.header(b"idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidInputError("Idempotency-Key must be 1 to 255 printable ASCII characters, such as a UUID")
    return key


def _fingerprint(request: ApiRequest, body: bytes) -> str:
    head = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(head + body).hexdigest()
