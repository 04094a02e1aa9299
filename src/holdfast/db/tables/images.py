"""Container repositories and tags, requests for images, the allow list, and what the cluster has pulled."""

from sqlalchemy import BigInteger, Column, Index, false, true

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    live_unique,
    one_of,
    unlink_key,
    updated_at,
)
from holdfast.db.types import Flag, Key, LongText, Timestamp, Words, index_on_mariadb

IMAGE_REQUEST_STATUSES = ("pending", "approved", "rejected")


def _soft(audited_as: str) -> TablePolicy:
    return TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as=audited_as)


container_repositories = define_table(
    "container_repositories",
    Column("id", Key(21), primary_key=True),
    Column("registry", Words(255), nullable=False, server_default="docker.io", index=True),
    Column("namespace", Words(255)),
    Column("name", Words(255), nullable=False, index=True),
    Column("full_name", Words(512), nullable=False),
    created_at(),
    updated_at(),
    Index(None, "created_at", "id"),
    Index(None, "deleted_at"),
    index_on_mariadb("full_name", "id"),
    live_unique("full_name"),
    policy=_soft("repository"),
)

container_tags = define_table(
    "container_tags",
    Column("id", Key(21), primary_key=True),
    cascade_key("repository_id", "container_repositories.id", 21, index=False),
    Column("name", Words(128), nullable=False, index=True),
    Column("digest", Words(255), index=True),
    Column("size", BigInteger),
    Column("pushed_at", Timestamp(), index=True),
    created_at(),
    updated_at(),
    Index(None, "deleted_at"),
    live_unique("repository_id", "name"),
    policy=_soft("tag"),
)

image_requests = define_table(
    "image_requests",
    Column("id", Key(21), primary_key=True),
    cascade_key("user_id", "users.u_id", 20, index=False),
    cascade_key("project_id", "project_list.p_id", 20, nullable=True, index=False),
    Column("input_registry", Words(255)),
    Column("input_image_name", Words(255), nullable=False),
    Column("input_tag", Words(128), nullable=False),
    Column("status", Key(20), nullable=False, server_default="pending"),
    unlink_key("reviewer_id", "users.u_id", 20),
    Column("reviewed_at", Timestamp()),
    Column("reviewer_note", LongText()),
    created_at(),
    updated_at(),
    Index(None, "created_at", "id"),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "project_id", "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "deleted_at"),
    one_of("status", *IMAGE_REQUEST_STATUSES),
    policy=_soft("image-request"),
)

image_allow_list = define_table(
    "image_allow_list",
    Column("id", Key(21), primary_key=True),
    cascade_key("project_id", "project_list.p_id", 20, nullable=True),
    cascade_key("tag_id", "container_tags.id", 21, nullable=True),
    cascade_key("repository_id", "container_repositories.id", 21),
    unlink_key("request_id", "image_requests.id", 21),
    cascade_key("created_by", "users.u_id", 20),
    Column("is_enabled", Flag(), nullable=False, server_default=true(), index=True),
    created_at(),
    updated_at(),
    Index(None, "created_at", "id"),
    Index(None, "deleted_at"),
    policy=_soft("image"),
)

cluster_image_status = define_table(
    "cluster_image_status",
    Column("id", Key(21), primary_key=True),
    cascade_key("tag_id", "container_tags.id", 21, index=False),
    Column("is_pulled", Flag(), nullable=False, server_default=false(), index=True),
    Column("last_pulled_at", Timestamp()),
    Column("pull_error", LongText()),
    created_at(),
    updated_at(),
    Index(None, "deleted_at"),
    live_unique("tag_id"),
    policy=_soft("image-status"),
)
