"""Config files of a project and the Kubernetes objects read from them."""

from sqlalchemy import Column, Index

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    live_unique,
    updated_at,
)
from holdfast.db.types import Json, Key, LongText, Words

config_files = define_table(
    "config_files",
    Column("cf_id", Key(21), primary_key=True),
    Column("filename", Words(200), nullable=False, index=True),
    Column("content", LongText(), nullable=False),
    cascade_key("project_id", "project_list.p_id", 20, index=False),
    created_at(),
    updated_at(),
    Index(None, "created_at", "cf_id"),
    live_unique("project_id", "filename"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="config-file"),
)

# `name` is the object's reference within its file, `deployment/web` (spec decision 5).
resources = define_table(
    "resources",
    Column("r_id", Key(21), primary_key=True),
    cascade_key("cf_id", "config_files.cf_id", 21, index=False),
    Column("type", Key(50), nullable=False, index=True),
    Column("name", Words(300), nullable=False, index=True),
    Column("parsed_yaml", Json(), nullable=False),
    Column("description", LongText()),
    created_at(),
    updated_at(),
    Index(None, "created_at", "r_id"),
    live_unique("cf_id", "name"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="resource"),
)
