"""/users: make, read and change them; their groups and their password."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, patch, post, put
from litestar.params import FromQuery, JSONBody
from msgspec import UNSET, UnsetType

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    SESSION_COOKIE,
    ApiRequest,
    CursorText,
    Door,
    IncludeDeleted,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    changes_of,
    database_of,
    if_match_of,
    origin_of,
    page_of,
    settings_of,
    versioned,
)
from holdfast.api.sessions import attempt_rule
from holdfast.api.types import FilterId, PathId, SearchText
from holdfast.core.actor import Actor
from holdfast.core.errors import HoldfastError, InvalidInputError
from holdfast.core.pages import Page
from holdfast.core.versions import version_of
from holdfast.db.engines.base import Transaction
from holdfast.db.retries import with_retries
from holdfast.features.accounts import password_changes, passwords, registration
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.errors import RegistrationClosedError
from holdfast.features.accounts.rules import (
    EMAIL_PATTERN,
    FULL_NAME_PATTERN,
    LONGEST_EMAIL,
    LONGEST_FULL_NAME,
    LONGEST_PASSWORD,
    SHORTEST_PASSWORD,
    USERNAME_PATTERN,
)
from holdfast.features.accounts.types import User
from holdfast.features.groups import service as groups
from holdfast.features.groups.types import UserGroup

_door = Door("users")
_password_door = Door("users", before_password_change=True)

Username = Annotated[str, msgspec.Meta(pattern=USERNAME_PATTERN, min_length=3, max_length=50)]
NewPassword = Annotated[str, msgspec.Meta(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
Email = Annotated[str, msgspec.Meta(pattern=EMAIL_PATTERN, max_length=LONGEST_EMAIL)]
FullName = Annotated[str, msgspec.Meta(pattern=FULL_NAME_PATTERN, min_length=1, max_length=LONGEST_FULL_NAME)]
UserType = Literal["origin", "oauth2"]
UserStatus = Literal["online", "offline", "delete"]
Role = Literal["admin", "manager", "user"]


class CreateUser(msgspec.Struct, forbid_unknown_fields=True):
    """A new account. Without `password` one is generated and shown once, as `first_password`.

    Who registers themselves must give a password; their `type`, `status` and `must_change_password` are ignored.
    """

    username: Username
    password: NewPassword | None = None
    full_name: FullName | None = None
    email: Email | None = None
    type: UserType = "origin"
    status: UserStatus = "offline"
    must_change_password: bool = True


class CreatedUser(User, frozen=True):
    """The new user. `first_password` is there where it was generated, and only in this answer."""

    first_password: str | UnsetType | None = UNSET


class ChangeUser(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay. All but the name and the address take a super administrator."""

    username: Username | UnsetType = UNSET
    full_name: FullName | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET
    type: UserType | UnsetType = UNSET
    status: UserStatus | UnsetType = UNSET
    deletion_protected: bool | UnsetType = UNSET


class ChangePassword(msgspec.Struct, forbid_unknown_fields=True):
    """A new password; your own needs the old one, too."""

    new_password: NewPassword
    old_password: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


@get("/", summary="Users: all for super administrators, those of their groups for group admins")
async def list_users(
    request: ApiRequest,
    status: FromQuery[UserStatus | None] = None,
    type: FromQuery[UserType | None] = None,  # noqa: A002 - the column's name
    g_id: FilterId = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[User]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    filters: dict[str, Any] = {"status": status, "type": type, "g_id": g_id, "q": q}
    key = settings_of(request).cursor_key
    return await _door.read(request, lambda tx, actor: accounts.list_users(tx, actor, asked, cursor_key=key, **filters))


@post(
    "/",
    summary="Make a user; or register yourself where that is open",
    security=[{"token": []}, {}],
    opt=budget(6, repeated=("accounts.find_failures",)),
)
async def create_user(request: ApiRequest, data: JSONBody[CreateUser]) -> Response[CreatedUser]:
    """With an Idempotency-Key a repeated request gets the answer again without a generated password."""
    if not _has_token(request):
        return await _register(request, data)
    first_password: str | UnsetType = UNSET
    if data.password is None:
        # Its hash costs no more than to ask first whether the caller may; the change itself asks.
        first_password = passwords.new_first_password()
        (hashed,) = await passwords.hash_first_passwords([first_password])
    else:
        await _door.prepare(request, _require_super_admin)
        hashed = await passwords.hash_password(data.password)

    async def work(tx: Transaction, actor: Actor) -> CreatedUser:
        user = await accounts.create_user(
            tx,
            actor,
            username=data.username,
            hashed_password=hashed,
            full_name=data.full_name,
            email=data.email,
            type=data.type,
            status=data.status,
            must_change_password=data.must_change_password or data.password is None,
        )
        return CreatedUser(**msgspec.structs.asdict(user), first_password=first_password)

    return await _door.create(
        request,
        work,
        location=_location,
        kept=lambda user: user if user.first_password is UNSET else msgspec.structs.replace(user, first_password=None),
    )


@get("/{u_id:str}", summary="A user")
async def get_user(request: ApiRequest, u_id: PathId, include_deleted: IncludeDeleted = False) -> Response[User]:
    if include_deleted:
        found = await _door.read(request, lambda tx, actor: accounts.get_user_include_deleted(tx, actor, u_id))
        return Response(found)
    return versioned(request, await _door.read(request, lambda tx, actor: accounts.get_user(tx, actor, u_id)))


@patch(
    "/{u_id:str}",
    summary="Change a profile; also name, type, status and protection as super administrator",
    opt=budget(8),
)
async def change_user(request: ApiRequest, u_id: PathId, data: JSONBody[ChangeUser]) -> Response[User]:
    changes, if_match = changes_of(data), if_match_of(request)
    user = await _door.write(
        request, lambda tx, actor: accounts.change_user(tx, actor, u_id, changes, if_match=if_match)
    )
    return versioned(request, user)


@get("/{u_id:str}/groups", summary="The groups of a user, with the roles")
async def list_groups_of_user(
    request: ApiRequest,
    u_id: PathId,
    role: FromQuery[Role | None] = None,
    q: SearchText = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[UserGroup]:
    asked = page_of(page, limit, sort, cursor, total)
    key = settings_of(request).cursor_key
    return await _door.read(
        request,
        lambda tx, actor: groups.list_groups_of_user(tx, actor, u_id, asked, cursor_key=key, role=role, q=q),
    )


@put(
    "/{u_id:str}/password",
    status_code=204,
    summary="Set a new password; all other sessions and tokens end",
    opt=budget(10, repeated=("accounts.find_*", "accounts.count_failure")),
)
async def set_password(request: ApiRequest, u_id: PathId, data: JSONBody[ChangePassword]) -> None:
    rule = attempt_rule(settings_of(request))
    origin = origin_of(request)
    asked = await _password_door.prepare(
        request, lambda tx, actor: password_changes.prepare(tx, actor, u_id, rule, origin=origin)
    )
    if asked.needs_old_password:
        check = await passwords.check_password(asked.credentials.password, data.old_password or "")
        if not check.matches:
            raise await _password_door.write(
                request, lambda tx, actor: password_changes.count_wrong_password(tx, actor, rule, origin=origin)
            )
        if data.old_password == data.new_password:
            raise InvalidInputError("new_password must differ from old_password")
    hashed = await passwords.hash_password(data.new_password)
    await _password_door.write(
        request, lambda tx, actor: password_changes.set_password(tx, actor, asked.credentials, hashed)
    )


async def _register(request: ApiRequest, data: CreateUser) -> Response[CreatedUser]:
    settings, origin, database = settings_of(request), origin_of(request), database_of(request)
    if not settings.registration_open:
        raise RegistrationClosedError
    if data.password is None:
        raise InvalidInputError("password must be given")
    rule = attempt_rule(settings)

    async def require_attempts_left() -> None:
        async with database.read() as tx:
            await registration.require_attempts_left(tx, rule, origin)

    await with_retries(require_attempts_left)
    hashed = await passwords.hash_password(data.password)

    async def attempt() -> User | HoldfastError:
        async with database.write() as tx:
            return await registration.register(
                tx,
                rule,
                origin,
                username=data.username,
                hashed_password=hashed,
                full_name=data.full_name,
                email=data.email,
            )

    user = await with_retries(attempt)
    if isinstance(user, HoldfastError):
        raise user
    created = CreatedUser(**msgspec.structs.asdict(user))
    headers = {"Location": _location(created), "ETag": version_of(user.updated_at)}
    return Response(content=created, status_code=201, headers=headers)


async def _require_super_admin(tx: Transaction, actor: Actor) -> None:
    accounts.require_super_admin(actor)


def _has_token(request: ApiRequest) -> bool:
    return request.header(b"authorization") is not None or SESSION_COOKIE in request.cookies


def _location(user: User) -> str:
    return f"/api/v1/users/{user.u_id}"


router = Router(
    "/users",
    route_handlers=[list_users, create_user, get_user, change_user, list_groups_of_user, set_password],
    tags=["users"],
)
