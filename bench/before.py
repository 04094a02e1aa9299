"""Before and after of the seed's table (seed 8): the answers of the product's lists, got with a statement for each row.

Both sides run on the product's connections and give the same rows in the same structs, so that what differs is what
the seed changed and nothing else. Both have the indexes; what an index brings is measured apart, in `bench.unindexed`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select

from holdfast.core.actor import Actor
from holdfast.core.pages import page_request
from holdfast.db.engines.base import Transaction
from holdfast.db.statements import Command, Query, live
from holdfast.db.tables import config_files, form_messages, group_list, project_list, resources, user_group, users
from holdfast.features.accounts import service as accounts
from holdfast.features.config_files import service as config_file_service
from holdfast.features.config_files.types import ConfigFileWithResources, ProjectWithConfigFiles, ResourceSummary
from holdfast.features.forms import service as form_service
from holdfast.features.forms.types import Form, FormMessage
from holdfast.features.groups import service as group_service
from holdfast.features.groups.types import UserGroup
from holdfast.features.projects import service as project_service

ROWS = 100
_CURSOR_KEY = b"a key that only has to be the same twice"
_PAGE = page_request(limit=ROWS)

Act = Callable[[Transaction, Actor, str], Awaitable[Any]]


class Row(msgspec.Struct, frozen=True):
    """A line of the seed's table: two ways to one answer. `at_least` is the part of the time that must go."""

    name: str
    before: Act
    after: Act
    at_least: float


class _Seat(msgspec.Struct, frozen=True):
    g_id: str
    role: str
    created_at: Any


class _GroupName(msgspec.Struct, frozen=True):
    g_id: str
    group_name: str
    description: str | None


def _parameter(name: str, column: Any) -> Any:
    return bindparam(name, type_=column.type)


_SEATS_OF_USER = Query(
    "bench.seats_of_user",
    select(user_group.c.g_id, user_group.c.role, user_group.c.created_at).where(
        user_group.c.u_id == _parameter("u_id", user_group.c.u_id), live(user_group)
    ),
    _Seat,
)
_GROUP_NAME = Query(
    "bench.group_name",
    select(group_list.c.g_id, group_list.c.group_name, group_list.c.description).where(
        group_list.c.g_id == _parameter("g_id", group_list.c.g_id), live(group_list)
    ),
    _GroupName,
)
_MESSAGES_OF_FORM = Query(
    "bench.messages_of_form",
    select(
        form_messages.c.id,
        form_messages.c.form_id,
        form_messages.c.user_id,
        users.c.username,
        users.c.full_name,
        form_messages.c.content,
        form_messages.c.created_at,
    )
    .join(users, users.c.u_id == form_messages.c.user_id)
    .where(form_messages.c.form_id == _parameter("form_id", form_messages.c.form_id), live(form_messages))
    .order_by(form_messages.c.created_at, form_messages.c.id),
    FormMessage,
)


class _FileName(msgspec.Struct, frozen=True):
    cf_id: str
    filename: str
    project_id: str
    created_at: Any
    updated_at: Any


_FILES_OF_PROJECT = Query(
    "bench.files_of_project",
    select(
        config_files.c.cf_id,
        config_files.c.filename,
        config_files.c.project_id,
        config_files.c.created_at,
        config_files.c.updated_at,
    )
    .where(config_files.c.project_id == _parameter("p_id", project_list.c.p_id), live(config_files))
    .order_by(config_files.c.filename, config_files.c.cf_id)
    .limit(ROWS),
    _FileName,
)
_RESOURCES_OF_FILE = Query(
    "bench.resources_of_file",
    select(
        resources.c.r_id,
        resources.c.cf_id,
        resources.c.type,
        resources.c.name,
        resources.c.description,
        resources.c.created_at,
        resources.c.updated_at,
    )
    .where(resources.c.cf_id == _parameter("cf_id", resources.c.cf_id), live(resources))
    .order_by(resources.c.name),
    ResourceSummary,
)


async def _user_with_groups_before(tx: Transaction, actor: Actor, u_id: str) -> list[UserGroup]:
    await accounts.get_access(tx, actor, u_id)
    found = []
    for seat in await tx.fetch_all(_SEATS_OF_USER, u_id=u_id):
        group = await tx.fetch_one(_GROUP_NAME, g_id=seat.g_id)
        if group is not None:
            found.append(UserGroup(group.g_id, group.group_name, group.description, seat.role, seat.created_at))
    return sorted(found, key=lambda group: (group.group_name, group.g_id))[:ROWS]


async def _user_with_groups(tx: Transaction, actor: Actor, u_id: str) -> list[UserGroup]:
    page = await group_service.list_groups_of_user(tx, actor, u_id, _PAGE, cursor_key=_CURSOR_KEY)
    return page.items


async def _forms_with_messages_before(tx: Transaction, actor: Actor, p_id: str) -> list[Form]:
    page = await form_service.list_forms(tx, actor, _PAGE, cursor_key=_CURSOR_KEY, project_id=p_id)
    for form in page.items:
        form.messages = await tx.fetch_all(_MESSAGES_OF_FORM, form_id=form.id)
    return page.items


async def _forms_with_messages(tx: Transaction, actor: Actor, p_id: str) -> list[Form]:
    page = await form_service.list_forms_with_messages(tx, actor, _PAGE, cursor_key=_CURSOR_KEY, project_id=p_id)
    return page.items


async def _project_with_config_before(tx: Transaction, actor: Actor, p_id: str) -> ProjectWithConfigFiles:
    project = await project_service.get_project(tx, actor, p_id)
    files = []
    for file in await tx.fetch_all(_FILES_OF_PROJECT, p_id=p_id):
        found = await tx.fetch_all(_RESOURCES_OF_FILE, cf_id=file.cf_id)
        files.append(
            ConfigFileWithResources(**msgspec.structs.asdict(file), resource_count=len(found), resources=found)
        )
    return ProjectWithConfigFiles(**msgspec.structs.asdict(project), config_files=files)


async def _project_with_config(tx: Transaction, actor: Actor, p_id: str) -> ProjectWithConfigFiles:
    return await config_file_service.get_project_with_config_files(tx, actor, p_id)


USER_WITH_GROUPS = Row("user with groups", _user_with_groups_before, _user_with_groups, 95.0)
FORM_WITH_MESSAGES = Row("form with messages", _forms_with_messages_before, _forms_with_messages, 95.0)
PROJECT_WITH_CONFIG = Row("project with config", _project_with_config_before, _project_with_config, 90.0)
# The engine's own cascade over foreign keys, with nothing to restore afterwards.
HARD_CASCADE = Command(
    "bench.hard_cascade_of_group",
    delete(group_list).where(group_list.c.g_id == _parameter("g_id", group_list.c.g_id)),
    heavy=True,
)
