"""Who acts where nobody asks: retention, and the commands of the server."""

from holdfast.core.actor import Actor
from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import ADMIN_USERNAME

SYSTEM_NAME = "holdfast"


async def get_system_actor(tx: Transaction) -> Actor:
    """User `admin`, under the name of the service: audit rows hang on a user, and this one is never deleted."""
    admin = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
    if admin is None:
        raise ConflictError("there is no user admin yet: start the server once, which makes it")
    return Actor(user_id=admin.u_id, username=SYSTEM_NAME, is_super_admin=True)
