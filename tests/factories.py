"""Rows for tests, written straight into the tables; everything that is not named gets a plain value."""

from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Table, insert

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id, new_short_id
from holdfast.db.engines.base import Database
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import (
    config_files,
    container_repositories,
    container_tags,
    form_messages,
    forms,
    group_list,
    image_allow_list,
    image_requests,
    project_list,
    tokens,
    user_group,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts.tokens import new_token, token_hash

PASSWORD = "correct horse battery"
# argon2id of PASSWORD with the smallest parameters: tests make many users.
PASSWORD_HASH = "$argon2id$v=19$m=8,t=1,p=1$qZjP/KlCJOEt7/H07V+JxA$zeegZeHSCDu4UMOY1liMbA"
# The same of bcrypt, as users bring it along from an older program.
BCRYPT_HASH = "$2a$04$/qn/rpHbfwpGro7V2rLHFefvBrC9b8c5u3ZELYb8xTydrqFsLIjn6"


@cache
def _inserter(table: Table, columns: tuple[str, ...]) -> Command:
    name = f"tests.insert_{table.name}({','.join(columns)})"
    return Command(name, insert(table).values(parameters_for(table, *columns)))


async def insert_row(database: Database, table: Table, **values: Any) -> None:
    """One row in a transaction of its own."""
    await insert_rows(database, table, [values])


async def insert_rows(database: Database, table: Table, rows: list[dict[str, Any]]) -> None:
    """Rows with the same columns, in one transaction."""
    async with database.write() as tx:
        await tx.execute_many(_inserter(table, tuple(rows[0])), rows)


async def make_user(database: Database, username: str | None = None, **values: Any) -> str:
    """A user who can sign in with PASSWORD; their id."""
    u_id = values.pop("u_id", None) or new_short_id()
    username = username or f"user-{u_id[-12:]}"
    await insert_row(
        database, users, **{"u_id": u_id, "username": username, "password": PASSWORD_HASH, "status": "offline"} | values
    )
    return u_id


async def make_token(database: Database, u_id: str, **values: Any) -> str:
    """A session token of a user."""
    token = new_token()
    row = {
        "id": new_long_id(),
        "user_id": u_id,
        "kind": "session",
        "name": "test",
        "token_hash": token_hash(token),
        "scopes": "*:read *:write",
        "expires_at": utc_now() + timedelta(hours=1),
    }
    await insert_row(database, tokens, **row | values)
    return token


async def make_group(database: Database, group_name: str = "physics", **values: Any) -> str:
    """A group; its id."""
    g_id = values.pop("g_id", None) or new_short_id()
    await insert_row(database, group_list, g_id=g_id, group_name=group_name, **values)
    return str(g_id)


async def make_member(database: Database, u_id: str, g_id: str, role: str = "user") -> None:
    """A membership."""
    await insert_row(database, user_group, u_id=u_id, g_id=g_id, role=role)


async def make_super_admin(database: Database, username: str = "root-of-tests") -> str:
    """A super administrator other than `admin`; makes group `super` where it is not there."""
    async with database.read() as tx:
        found = await tx.fetch_text(f"SELECT 1 FROM group_list WHERE g_id = '{SUPER_GROUP_ID}'")
    if not found:
        await make_group(database, SUPER_GROUP_NAME, g_id=SUPER_GROUP_ID)
    u_id = await make_user(database, username)
    await make_member(database, u_id, SUPER_GROUP_ID, "admin")
    return u_id


async def make_project(database: Database, g_id: str, project_name: str = "course", **values: Any) -> str:
    """A project; its id."""
    p_id = new_short_id()
    await insert_row(database, project_list, p_id=p_id, g_id=g_id, project_name=project_name, **values)
    return p_id


async def make_form(database: Database, user_id: str, project_id: str | None = None, **values: Any) -> str:
    """A pending form; its id."""
    row = {"id": new_long_id(), "user_id": user_id, "project_id": project_id, "title": "A question"} | values
    await insert_row(database, forms, **row)
    return str(row["id"])


async def make_message(database: Database, form_id: str, user_id: str, **values: Any) -> str:
    """A message on a form; its id."""
    row = {"id": new_long_id(), "form_id": form_id, "user_id": user_id, "content": "Please help"} | values
    await insert_row(database, form_messages, **row)
    return str(row["id"])


async def make_config_file(database: Database, project_id: str, filename: str = "web.yaml", **values: Any) -> str:
    """A config file without resources; its id."""
    row = {"cf_id": new_long_id(), "project_id": project_id, "filename": filename, "content": "# empty"} | values
    await insert_row(database, config_files, **row)
    return str(row["cf_id"])


async def make_image_request(database: Database, user_id: str, project_id: str | None = None, **values: Any) -> str:
    """A pending request for `nginx:1.27`; its id."""
    row = {
        "id": new_long_id(),
        "user_id": user_id,
        "project_id": project_id,
        "input_registry": "docker.io",
        "input_image_name": "library/nginx",
        "input_tag": "1.27",
    } | values
    await insert_row(database, image_requests, **row)
    return str(row["id"])


async def make_rule(database: Database, created_by: str, project_id: str | None = None, **values: Any) -> str:
    """An allow-list rule for a new repository and tag; its id."""
    repository_id, tag_id, rule_id = new_long_id(), new_long_id(), new_long_id()
    name = f"image-{repository_id[-10:].lower().replace('_', 'x').replace('-', 'y')}"
    await insert_row(
        database,
        container_repositories,
        id=repository_id,
        registry="docker.io",
        namespace="library",
        name=name,
        full_name=f"docker.io/library/{name}",
    )
    await insert_row(database, container_tags, id=tag_id, repository_id=repository_id, name="1.0")
    row = {
        "id": rule_id,
        "project_id": project_id,
        "tag_id": tag_id,
        "repository_id": repository_id,
        "created_by": created_by,
    } | values
    await insert_row(database, image_allow_list, **row)
    return rule_id
