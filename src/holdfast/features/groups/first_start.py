"""The first start: group `super`, user `admin`, and the role that makes them a super administrator (spec decision 10).

Every start looks; only what is missing is made. Replicas may start at one moment: the first to insert a row makes
it, the others wait for that and find it.
"""

from datetime import datetime

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_short_id
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.retries import with_retries
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts import passwords
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.groups import queries
from holdfast.features.groups.members import member_id, member_label
from holdfast.features.groups.types import FirstStart


async def ensure_first_start(
    database: Database, admin_password: str | None, clock: Clock = utc_now
) -> FirstStart | None:
    """Make what is missing. The answer holds the generated password, once, if this call made user `admin`.

    It opens its own transactions, because the password is hashed between them. Whether given or generated, the
    password must be changed at the first sign-in.
    """
    async with database.read() as tx:
        if await _is_complete(tx):
            return None
    generated = None if admin_password is not None else passwords.new_first_password()
    hashed = await passwords.hash_password(admin_password or generated or "")

    async def attempt() -> bool:
        async with database.write() as tx:
            return await _make_missing(tx, hashed, clock)

    # Replicas that start at once meet here.
    made_admin = await with_retries(attempt)
    return FirstStart(username=ADMIN_USERNAME, generated_password=generated) if made_admin else None


async def _is_complete(tx: Transaction) -> bool:
    admin = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
    if admin is None:
        return False
    member = await tx.fetch_one(queries.FIND_MEMBER, g_id=SUPER_GROUP_ID, u_id=admin.u_id)
    return member is not None and member.role == "admin"


async def _make_missing(tx: Transaction, hashed_password: str, clock: Clock) -> bool:
    """Whether user `admin` was made."""
    now = clock()
    # Whoever comes second waits at this row until the first has committed.
    made_group = await tx.insert_unless_present(
        queries.INSERT_GROUP_UNLESS_PRESENT,
        g_id=SUPER_GROUP_ID,
        group_name=SUPER_GROUP_NAME,
        description="The super administrators",
        created_at=now,
        updated_at=now,
    )
    await tx.fetch_all(account_queries.LOCK_SUPER_GROUP)
    present = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
    u_id = new_short_id() if present is None else present.u_id
    if present is None:
        await _insert_admin(tx, u_id, hashed_password, now)
    made_role = await _give_role(tx, u_id, now)
    actor = Actor(user_id=u_id, username=ADMIN_USERNAME)
    if made_group:
        new = {"group_name": SUPER_GROUP_NAME}
        await audit.record(
            tx,
            actor,
            Action.CREATE,
            "group",
            SUPER_GROUP_ID,
            label=SUPER_GROUP_NAME,
            g_id=SUPER_GROUP_ID,
            new=new,
            clock=clock,
        )
    if present is None:
        new = {"username": ADMIN_USERNAME}
        await audit.record(tx, actor, Action.CREATE, "user", u_id, label=ADMIN_USERNAME, new=new, clock=clock)
    if made_role:
        label = member_label(ADMIN_USERNAME, SUPER_GROUP_NAME)
        new = {"u_id": u_id, "g_id": SUPER_GROUP_ID, "role": "admin"}
        await audit.record(
            tx,
            actor,
            Action.CREATE,
            "member",
            member_id(SUPER_GROUP_ID, u_id),
            label=label,
            g_id=SUPER_GROUP_ID,
            new=new,
            clock=clock,
        )
    return present is None


async def _insert_admin(tx: Transaction, u_id: str, hashed_password: str, now: datetime) -> None:
    await tx.execute(
        account_queries.INSERT_USER,
        u_id=u_id,
        username=ADMIN_USERNAME,
        password=hashed_password,
        email=None,
        full_name="Administrator",
        type="origin",
        status="offline",
        must_change_password=True,
        created_at=now,
        updated_at=now,
    )


async def _give_role(tx: Transaction, u_id: str, now: datetime) -> bool:
    """Whether the role was missing."""
    membership = await tx.fetch_one(queries.FIND_MEMBERSHIP_INCLUDE_DELETED, g_id=SUPER_GROUP_ID, u_id=u_id)
    if membership is None:
        await tx.execute(
            queries.INSERT_MEMBER, u_id=u_id, g_id=SUPER_GROUP_ID, role="admin", created_at=now, updated_at=now
        )
        return True
    if membership.deletion_id:
        await tx.execute(
            queries.REVIVE_MEMBERS,
            g_id=SUPER_GROUP_ID,
            u_ids=[u_id],
            new_role="admin",
            new_created_at=now,
            new_updated_at=now,
        )
        return True
    if membership.role != "admin":
        await tx.execute(queries.SET_ROLE, g_id=SUPER_GROUP_ID, u_ids=[u_id], new_role="admin", new_updated_at=now)
        return True
    return False
