"""Users, their session and API tokens, and the count of failed sign-ins."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, UniqueConstraint, false

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    deletion_protected,
    live_unique,
    one_of,
    updated_at,
)
from holdfast.db.types import Flag, Key, Timestamp, Words, index_on_mariadb

USER_TYPES = ("origin", "oauth2")
USER_STATUSES = ("online", "offline", "delete")
TOKEN_KINDS = ("session", "api")

users = define_table(
    "users",
    Column("u_id", Key(20), primary_key=True),
    Column("username", Words(50), nullable=False),
    Column("password", Words(255), nullable=False),
    Column("email", Words(100), index=True),
    Column("full_name", Words(100)),
    Column("type", Key(20), nullable=False, server_default="origin"),
    Column("status", Key(20), nullable=False, server_default="offline", index=True),
    Column("must_change_password", Flag(), nullable=False, server_default=false()),
    deletion_protected(),
    created_at(),
    updated_at(),
    Index(None, "created_at", "u_id"),
    index_on_mariadb("username", "u_id"),
    live_unique("username"),
    one_of("type", *USER_TYPES),
    one_of("status", *USER_STATUSES),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="user"),
)

# Sessions and API tokens. The token itself is never stored, only its SHA-256 in hexadecimal. Bundles carry them so that
# a recovered user has the same rows as before; none opens a door again, because deletion revokes them for good.
tokens = define_table(
    "tokens",
    Column("id", Key(21), primary_key=True),
    cascade_key("user_id", "users.u_id", 20),
    Column("kind", Key(20), nullable=False),
    Column("name", Words(100), nullable=False),
    Column("token_hash", Key(64), nullable=False),
    Column("scopes", Key(1000), nullable=False),
    created_at(),
    Column("expires_at", Timestamp(), nullable=False),
    Column("revoked_at", Timestamp()),
    UniqueConstraint("token_hash"),
    Index(None, "expires_at"),
    one_of("kind", *TOKEN_KINDS),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="token"),
)

# Failed sign-ins per user name and per address within a window, shared by all replicas.
sign_in_failures = define_table(
    "sign_in_failures",
    Column("subject", Key(80), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("window_started_at", Timestamp(), nullable=False),
    CheckConstraint("failures >= 0", name="failures_not_negative"),
    Index(None, "window_started_at"),
    policy=TablePolicy(deletion=Deletion.EXPIRES, in_bundle=False, retention="working", audited_as=None),
)
