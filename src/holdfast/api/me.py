"""/me: who the token in use stands for, and what they may do."""

import msgspec
from litestar import Router, get

from holdfast.api.deps import ApiRequest, Door
from holdfast.core.actor import Actor
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.types import User
from holdfast.features.groups import service as groups
from holdfast.features.groups.types import UserGroup

# Any token may ask, and also before the first password is changed.
_door = Door(None, before_password_change=True)


class Me(User, frozen=True):
    """The signed-in user, their groups with roles, and the token in use with its scopes."""

    groups: list[UserGroup]
    token_id: str | None
    scopes: list[str]


@get("/", summary="Who you are, your groups and roles, and what your token may do")
async def get_me(request: ApiRequest) -> Me:
    return await _door.read(request, _read_me)


async def _read_me(tx: Transaction, actor: Actor) -> Me:
    user = await accounts.get_user(tx, actor, actor.user_id)
    return Me(
        **msgspec.structs.asdict(user),
        groups=await groups.list_own_groups(tx, actor),
        token_id=actor.token_id,
        scopes=sorted(actor.scopes),
    )


router = Router("/me", route_handlers=[get_me], tags=["sessions"])
