"""The statements of accounts."""

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Count,
    Query,
    any_of,
    contains_text,
    live,
    locked_as_parent,
    new_value,
    not_by_index,
    parameters_for,
)
from holdfast.db.tables import group_list, sign_in_failures, tokens, user_group, users
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts.types import (
    Credentials,
    Failures,
    RosterUser,
    RowId,
    Session,
    TokenRow,
    User,
    UserAccess,
    UserName,
)

_u_id = bindparam("u_id", type_=users.c.u_id.type)
_username = bindparam("username", type_=users.c.username.type)
_actor_id = bindparam("actor_id", type_=users.c.u_id.type)
_now = bindparam("now", type_=tokens.c.expires_at.type)
_before = bindparam("before", type_=tokens.c.expires_at.type)
_at_most = bindparam("at_most", type_=sign_in_failures.c.failures.type)

IS_SUPER_ADMIN = exists().where(
    user_group.c.u_id == users.c.u_id,
    user_group.c.g_id == SUPER_GROUP_ID,
    user_group.c.role == "admin",
    live(user_group),
)

_SESSION = (
    select(
        tokens.c.id.label("token_id"),
        tokens.c.kind,
        tokens.c.scopes,
        tokens.c.user_id,
        users.c.username,
        users.c.full_name,
        users.c.must_change_password,
        IS_SUPER_ADMIN.label("is_super_admin"),
        tokens.c.expires_at,
    )
    .join(users, users.c.u_id == tokens.c.user_id)
    .where(
        tokens.c.token_hash == bindparam("token_hash", type_=tokens.c.token_hash.type),
        tokens.c.revoked_at.is_(None),
        live(tokens),
        live(users),
        users.c.status != "delete",
    )
)

# The one look-up of every request. A deleted or disabled user, a revoked token and a lost role end here at once.
FIND_SESSION = Query("accounts.find_session", _SESSION, Session)

# The same before a change: the user stays live until it is committed, because a deletion changes a key of the row. With
# a full share lock two requests that change their user's own row would each wait for the other. MariaDB knows no other;
# there the second is told at once and tries again.
FIND_SESSION_LOCKED = Query(
    "accounts.find_session_locked", _SESSION.with_for_update(read=True, key_share=True, of=users), Session
)

_USER_COLUMNS = (
    users.c.u_id,
    users.c.username,
    users.c.email,
    users.c.full_name,
    users.c.type,
    users.c.status,
    users.c.must_change_password,
    users.c.deletion_protected,
    IS_SUPER_ADMIN.label("is_super_admin"),
    users.c.created_at,
    users.c.updated_at,
)
_own = user_group.alias("own_membership")
_theirs = user_group.alias("their_membership")


def _administered(*more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Users in a group that `actor_id` is admin of."""
    own = select(_own.c.g_id).where(_own.c.u_id == _actor_id, not_by_index(_own.c.role) == "admin", live(_own))
    members = select(_theirs.c.u_id).where(_theirs.c.g_id.in_(own.scalar_subquery()), live(_theirs), *more)
    return users.c.u_id.in_(members.scalar_subquery())


GET_USER = Query("accounts.get_user", select(*_USER_COLUMNS).where(users.c.u_id == _u_id, live(users)), User)
GET_USER_INCLUDE_DELETED = with_deleted(GET_USER, users)

_ACCESS = select(*_USER_COLUMNS, _administered(_theirs.c.u_id == _u_id).label("actor_administers")).where(
    users.c.u_id == _u_id, live(users)
)
FIND_ACCESS = Query("accounts.find_access", _ACCESS, UserAccess)
# One caller at a time changes a user. Not FOR UPDATE: it would wait for every transaction in which the user acts.
FIND_ACCESS_ALONE = Query("accounts.find_access_alone", _ACCESS.with_for_update(of=users, key_share=True), UserAccess)

USERS = Listing(
    "users",
    select(*_USER_COLUMNS).where(live(users)),
    User,
    row_id=users.c.u_id,
    sorts={"username": users.c.username, "created_at": users.c.created_at},
    default_sort="username",
    filters={
        "status": users.c.status == bindparam("status", type_=users.c.status.type),
        "type": users.c.type == bindparam("type", type_=users.c.type.type),
        "g_id": users.c.u_id.in_(
            select(user_group.c.u_id)
            .where(user_group.c.g_id == bindparam("g_id", type_=user_group.c.g_id.type), live(user_group))
            .scalar_subquery()
        ),
    },
    scopes={"all": None, "administered": _administered()},
    search=or_(
        contains_text(users.c.username, "q"), contains_text(users.c.full_name, "q"), contains_text(users.c.email, "q")
    ),
    count_select=select(users.c.u_id).where(live(users)),
)

_OWN_ADMIN_ROLES = (
    select(func.count().label("value"))
    .select_from(user_group)
    .where(user_group.c.u_id == _actor_id, not_by_index(user_group.c.role) == "admin", live(user_group))
)
COUNT_ADMINISTERED_GROUPS = Query("accounts.count_administered_groups", _OWN_ADMIN_ROLES, Count)
COUNT_ADMINISTERED_GROUP = Query(
    "accounts.count_administered_group",
    _OWN_ADMIN_ROLES.where(user_group.c.g_id == bindparam("g_id", type_=user_group.c.g_id.type)),
    Count,
)

_NAME = select(users.c.u_id, users.c.username, users.c.full_name, users.c.status).where(live(users))
FIND_NAME_AS_PARENT = Query(
    "accounts.find_name_as_parent", locked_as_parent(_NAME.where(users.c.u_id == _u_id), users), UserName
)
FIND_NAMED_AS_PARENT = Query(
    "accounts.find_named_as_parent", locked_as_parent(_NAME.where(users.c.username == _username), users), UserName
)

_ROSTER_USERS = select(
    users.c.u_id, users.c.username, users.c.email, users.c.full_name, users.c.status, users.c.updated_at
).where(any_of(users.c.username, "usernames"), live(users))
ROSTER_USERS = Query("accounts.roster_users", _ROSTER_USERS, RosterUser)
# In the order of their keys, so that two imports of the same people wait for one another instead of deadlocking.
ROSTER_USERS_ALONE = Query(
    "accounts.roster_users_alone",
    _ROSTER_USERS.order_by(users.c.u_id).with_for_update(of=users, key_share=True),
    RosterUser,
)

INSERT_USER = Command(
    "accounts.insert_user",
    insert(users).values(
        parameters_for(
            users,
            "u_id",
            "username",
            "password",
            "email",
            "full_name",
            "type",
            "status",
            "must_change_password",
            "created_at",
            "updated_at",
        )
    ),
)
UPDATE_USER = Command(
    "accounts.update_user",
    update(users)
    .where(users.c.u_id == _u_id)
    .values(new_value(users, "username", "email", "full_name", "type", "status", "deletion_protected", "updated_at")),
)
UPDATE_PROFILE = Command(
    "accounts.update_profile",
    update(users).where(users.c.u_id == _u_id).values(new_value(users, "email", "full_name", "updated_at")),
)
SET_PASSWORD = Command(
    "accounts.set_password",
    update(users)
    .where(users.c.u_id == _u_id)
    .values(new_value(users, "password", "must_change_password", "updated_at")),
)
# The same password under other parameters: nothing that anybody could see changes.
REPLACE_HASH = Command(
    "accounts.replace_hash", update(users).where(users.c.u_id == _u_id).values(new_value(users, "password"))
)
SET_STATUS = Command(
    "accounts.set_status",
    update(users).where(users.c.u_id == _u_id).values(new_value(users, "status", "updated_at")),
)

_CREDENTIALS = select(users.c.u_id, users.c.username, users.c.password, users.c.status, users.c.updated_at).where(
    live(users)
)
FIND_CREDENTIALS_NAMED = Query(
    "accounts.find_credentials_named", _CREDENTIALS.where(users.c.username == _username), Credentials
)
FIND_CREDENTIALS = Query("accounts.find_credentials", _CREDENTIALS.where(users.c.u_id == _u_id), Credentials)
FIND_CREDENTIALS_ALONE = Query(
    "accounts.find_credentials_alone",
    _CREDENTIALS.where(users.c.u_id == _u_id).with_for_update(of=users, key_share=True),
    Credentials,
)

# Whoever takes a super administrator's role or account waits here for the one before, and counts afterwards.
LOCK_SUPER_GROUP = Query(
    "accounts.lock_super_group",
    select(group_list.c.g_id.label("id"))
    .where(group_list.c.g_id == SUPER_GROUP_ID, live(group_list))
    .with_for_update(of=group_list, key_share=True),
    RowId,
)
COUNT_OTHER_SUPER_ADMINS = Query(
    "accounts.count_other_super_admins",
    select(func.count().label("value"))
    .select_from(user_group)
    .join(users, users.c.u_id == user_group.c.u_id)
    .where(
        user_group.c.g_id == SUPER_GROUP_ID,
        user_group.c.role == "admin",
        user_group.c.u_id != _u_id,
        live(user_group),
        live(users),
        users.c.status != "delete",
    ),
    Count,
)

_LIVE_TOKEN = and_(live(tokens), tokens.c.revoked_at.is_(None))
_TOKEN = (
    select(
        tokens.c.id,
        tokens.c.user_id,
        users.c.username,
        tokens.c.kind,
        tokens.c.name,
        tokens.c.scopes,
        tokens.c.created_at,
        tokens.c.expires_at,
    )
    .join(users, users.c.u_id == tokens.c.user_id)
    .where(_LIVE_TOKEN)
)
_token_id = bindparam("token_id", type_=tokens.c.id.type)
_user_id = bindparam("user_id", type_=tokens.c.user_id.type)
FIND_TOKEN = Query("accounts.find_token", _TOKEN.where(tokens.c.id == _token_id), TokenRow)
TOKENS = Listing(
    "tokens",
    _TOKEN.where(tokens.c.user_id == _user_id),
    TokenRow,
    row_id=tokens.c.id,
    sorts={"created_at": tokens.c.created_at, "expires_at": tokens.c.expires_at, "name": tokens.c.name},
    default_sort="-created_at",
    filters={"kind": tokens.c.kind == bindparam("kind", type_=tokens.c.kind.type)},
    search=contains_text(tokens.c.name, "q"),
    count_select=select(tokens.c.id).where(_LIVE_TOKEN, tokens.c.user_id == _user_id),
)
INSERT_TOKEN = Command(
    "accounts.insert_token",
    insert(tokens).values(
        parameters_for(tokens, "id", "user_id", "kind", "name", "token_hash", "scopes", "created_at", "expires_at")
    ),
)
REVOKE_TOKEN = Command(
    "accounts.revoke_token",
    update(tokens).where(tokens.c.id == _token_id, _LIVE_TOKEN).values(new_value(tokens, "revoked_at")),
)
REVOKE_OTHER_TOKENS = Command(
    "accounts.revoke_other_tokens",
    update(tokens)
    .where(tokens.c.user_id == _user_id, tokens.c.id != bindparam("kept_token_id", type_=tokens.c.id.type), _LIVE_TOKEN)
    .values(new_value(tokens, "revoked_at")),
)
COUNT_SESSIONS = Query(
    "accounts.count_sessions",
    select(func.count().label("value")).where(
        tokens.c.user_id == _user_id, tokens.c.kind == "session", _LIVE_TOKEN, tokens.c.expires_at > _now
    ),
    Count,
)

_subject = bindparam("subject", type_=sign_in_failures.c.subject.type)
FIND_FAILURES = Query(
    "accounts.find_failures",
    select(sign_in_failures.c.subject, sign_in_failures.c.failures, sign_in_failures.c.window_started_at).where(
        any_of(sign_in_failures.c.subject, "subjects")
    ),
    Failures,
)
_FIRST_FAILURE = {**parameters_for(sign_in_failures, "subject", "window_started_at"), "failures": 1}
_window_is_over = sign_in_failures.c.window_started_at <= bindparam(
    "window_opened_after", type_=sign_in_failures.c.window_started_at.type
)
# MariaDB assigns from left to right and sees what it has assigned: the count must come before the window.
_NEXT_FAILURE = {
    "failures": case((_window_is_over, 1), else_=sign_in_failures.c.failures + 1),
    "window_started_at": case(
        (
            _window_is_over,
            bindparam("window_started_at", type_=sign_in_failures.c.window_started_at.type),
        ),
        else_=sign_in_failures.c.window_started_at,
    ),
}
# One statement makes or raises the count and holds its row, so attempts that race are counted one after the other.
COUNT_FAILURE = Command(
    "accounts.count_failure",
    sqlite.insert(sign_in_failures)
    .values(_FIRST_FAILURE)
    .on_conflict_do_update(index_elements=["subject"], set_=_NEXT_FAILURE),
    by_dialect={
        "postgresql": postgresql.insert(sign_in_failures)
        .values(_FIRST_FAILURE)
        .on_conflict_do_update(index_elements=["subject"], set_=_NEXT_FAILURE),
        "mariadb": mysql.insert(sign_in_failures)
        .values(_FIRST_FAILURE)
        .on_duplicate_key_update(list(_NEXT_FAILURE.items())),
    },
)
FORGET_FAILURES = Command(
    "accounts.forget_failures", delete(sign_in_failures).where(sign_in_failures.c.subject == _subject)
)
TAKE_BACK_FAILURE = Command(
    "accounts.take_back_failure",
    update(sign_in_failures)
    .where(sign_in_failures.c.subject == _subject, sign_in_failures.c.failures > 0)
    .values(failures=sign_in_failures.c.failures - 1),
)

# MariaDB takes no LIMIT within IN (…): what a job removes is chosen first, then removed by key.
OLD_TOKENS = Query(
    "accounts.old_tokens",
    # Those of a deletion go with its purge: without them it could not be restored.
    select(tokens.c.id)
    .where(tokens.c.expires_at < _before, live(tokens))
    .order_by(tokens.c.expires_at)
    .limit(_at_most),
    RowId,
)
REMOVE_TOKENS = Command("accounts.remove_tokens", delete(tokens).where(any_of(tokens.c.id, "ids")))
OLD_FAILURES = Query(
    "accounts.old_failures",
    select(sign_in_failures.c.subject.label("id"))
    .where(sign_in_failures.c.window_started_at < _before)
    .order_by(sign_in_failures.c.window_started_at)
    .limit(_at_most),
    RowId,
)
REMOVE_FAILURES = Command(
    "accounts.remove_failures",
    # Once more by time: the count may have begun anew since it was chosen.
    delete(sign_in_failures).where(
        any_of(sign_in_failures.c.subject, "ids"), sign_in_failures.c.window_started_at < _before
    ),
)
_HAS_SESSION = exists().where(
    tokens.c.user_id == users.c.u_id, tokens.c.kind == "session", _LIVE_TOKEN, tokens.c.expires_at > _now
)
ABSENT_USERS = Query(
    "accounts.absent_users",
    select(users.c.u_id.label("id")).where(users.c.status == "online", live(users), ~_HAS_SESSION).limit(_at_most),
    RowId,
)
SET_OFFLINE = Command(
    "accounts.set_offline",
    update(users)
    .where(any_of(users.c.u_id, "ids"), users.c.status == "online", ~_HAS_SESSION)
    .values(status="offline", updated_at=_now),
)
