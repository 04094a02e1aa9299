"""Opening, answering and deciding forms."""

from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.forms import policy, queries
from holdfast.features.forms.errors import (
    FormClosedError,
    FormForbiddenError,
    FormMessageNotFoundError,
    FormNotFoundError,
    FormStatusError,
)
from holdfast.features.forms.types import Form, FormAccess, FormMessage
from holdfast.features.projects import service as projects


async def open_form(
    tx: Transaction,
    actor: Actor,
    *,
    title: str,
    description: str | None = None,
    project_id: str | None = None,
    tag: str | None = None,
    message: str | None = None,
    clock: Clock = utc_now,
) -> Form:
    """Open a form, with its first message where one is given, in one transaction (seed 9).

    Any member of the project's group may (spec decision 11); without a project, any user.
    """
    project_name = g_id = None
    if project_id is not None:
        project = await projects.get_access_as_parent(tx, actor, project_id)
        project_name, g_id = project.project_name, project.g_id
    now = clock()
    form_id = new_long_id()
    fields: dict[str, Any] = {
        "project_id": project_id,
        "title": title,
        "description": description,
        "tag": tag,
        "status": "Pending",
    }
    tx.insert_later(queries.INSERT_FORM, id=form_id, user_id=actor.user_id, created_at=now, updated_at=now, **fields)
    messages = []
    if message is not None:
        messages.append(_insert_message(tx, actor, form_id, message, clock))
    new = fields if message is None else {**fields, "message": message}
    await audit.record(tx, actor, Action.CREATE, "form", form_id, label=title, g_id=g_id, new=new, clock=clock)
    return Form(
        id=form_id,
        user_id=actor.user_id,
        username=actor.username,
        full_name=actor.full_name,
        project_name=project_name,
        created_at=now,
        updated_at=now,
        messages=messages,
        **fields,
    )


async def get_form(tx: Transaction, actor: Actor, form_id: str) -> Form:
    """A form with its messages."""
    await _get_access(tx, actor, form_id, queries.FIND_ACCESS)
    form = await tx.fetch_one(queries.GET_FORM, form_id=form_id)
    if form is None:
        raise FormNotFoundError
    await _attach_messages(tx, [form])
    return form


async def get_form_include_deleted(tx: Transaction, actor: Actor, form_id: str) -> Form:
    """A form with its messages, deleted or live; super administrators only."""
    form = await get_include_deleted(tx, actor, queries.GET_FORM_INCLUDE_DELETED, FormNotFoundError, form_id=form_id)
    form.messages = await tx.fetch_all(queries.MESSAGES_OF_FORMS_INCLUDE_DELETED, form_ids=[form_id])
    return form


async def list_forms(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Form]:
    """The forms that the actor may see: their own and those of projects where they are staff; all for super admins."""
    is_narrow = filters.get("project_id") is not None or filters.get("user_id") is not None
    scope = "all" if actor.is_super_admin else "visible_among_few" if is_narrow else "visible"
    return await queries.FORMS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def list_forms_with_messages(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Form]:
    """As `list_forms`, each with its messages; one statement more, however many forms."""
    forms = await list_forms(tx, actor, page, cursor_key=cursor_key, **filters)
    await _attach_messages(tx, forms.items)
    return forms


async def change_form(
    tx: Transaction,
    actor: Actor,
    form_id: str,
    changes: dict[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Form:
    """Change the status (staff), or title, description and tag (the author, while the form is open, or staff)."""
    access = await _get_access(tx, actor, form_id, queries.FIND_ACCESS_ALONE)
    require_version(access.updated_at, if_match)
    old = {name: getattr(access, name) for name in changes}
    if "status" in changes and changes["status"] != access.status:
        _check_status_change(actor, access, changes["status"])
    if changes.keys() - {"status"} and not policy.can_decide(actor, access) and access.status in policy.CLOSED:
        raise FormClosedError(access.status)
    new = {name: value for name, value in changes.items() if old[name] != value}
    if new:
        await _update(tx, access, new, clock)
        await audit.record(
            tx,
            actor,
            Action.UPDATE,
            "form",
            form_id,
            label=access.title,
            g_id=access.g_id,
            old={name: old[name] for name in new},
            new=new,
            clock=clock,
        )
    return await get_form(tx, actor, form_id)


async def add_message(
    tx: Transaction, actor: Actor, form_id: str, content: str, *, clock: Clock = utc_now
) -> FormMessage:
    """Write on an open form: its author or staff."""
    form = await _get_access(tx, actor, form_id, queries.FIND_ACCESS_AS_PARENT)
    if form.status in policy.CLOSED:
        raise FormClosedError(form.status)
    message = _insert_message(tx, actor, form_id, content, clock)
    await audit.record(
        tx,
        actor,
        Action.CREATE,
        "form-message",
        message.id,
        label=form.title,
        g_id=form.g_id,
        new={"form_id": form_id, "content": content},
        clock=clock,
    )
    return message


async def list_messages(
    tx: Transaction, actor: Actor, form_id: str, page: PageRequest, *, cursor_key: bytes
) -> Page[FormMessage]:
    """The messages of a form, oldest first."""
    if page.include_deleted:
        await get_include_deleted(tx, actor, queries.GET_FORM_INCLUDE_DELETED, FormNotFoundError, form_id=form_id)
    else:
        await _get_access(tx, actor, form_id, queries.FIND_ACCESS)
    return await queries.MESSAGES.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, form_id=form_id
    )


async def get_message(tx: Transaction, actor: Actor, form_id: str, message_id: str) -> FormMessage:
    """One message of a form."""
    await _get_access(tx, actor, form_id, queries.FIND_ACCESS)
    message = await tx.fetch_one(queries.GET_MESSAGE, form_id=form_id, message_id=message_id)
    if message is None:
        raise FormMessageNotFoundError
    return message


async def get_message_include_deleted(tx: Transaction, actor: Actor, form_id: str, message_id: str) -> FormMessage:
    """One message of a form, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx,
        actor,
        queries.GET_MESSAGE_INCLUDE_DELETED,
        FormMessageNotFoundError,
        form_id=form_id,
        message_id=message_id,
    )


async def _get_access(tx: Transaction, actor: Actor, form_id: str, query: Query[FormAccess]) -> FormAccess:
    form = await tx.fetch_one(query, form_id=form_id, actor_id=actor.user_id)
    if form is None or not policy.can_see(actor, form):
        raise FormNotFoundError
    return form


def _check_status_change(actor: Actor, form: FormAccess, status: str) -> None:
    if not policy.can_decide(actor, form):
        raise FormForbiddenError("only managers and admins of the project's group change the status of a form")
    if status not in policy.FOLLOWING[form.status]:
        following = " or ".join(sorted(policy.FOLLOWING[form.status]))
        raise FormStatusError(f"a form that is {form.status} can only become {following}")


async def _update(tx: Transaction, form: FormAccess, new: dict[str, Any], clock: Clock) -> None:
    values = {f"new_{name}": new.get(name, getattr(form, name)) for name in ("title", "description", "tag", "status")}
    await tx.execute(
        queries.UPDATE_FORM, form_id=form.id, new_updated_at=next_version(form.updated_at, clock()), **values
    )


async def _attach_messages(tx: Transaction, forms: list[Form]) -> None:
    by_form: dict[str, list[FormMessage]] = {}
    for form in forms:
        form.messages = by_form[form.id] = []
    if forms:
        for message in await tx.fetch_all(queries.MESSAGES_OF_FORMS, form_ids=list(by_form)):
            by_form[message.form_id].append(message)


def _insert_message(tx: Transaction, actor: Actor, form_id: str, content: str, clock: Clock) -> FormMessage:
    message = FormMessage(
        id=new_long_id(),
        form_id=form_id,
        user_id=actor.user_id,
        username=actor.username,
        full_name=actor.full_name,
        content=content,
        created_at=clock(),
    )
    tx.insert_later(
        queries.INSERT_MESSAGE,
        id=message.id,
        form_id=form_id,
        user_id=actor.user_id,
        content=content,
        created_at=message.created_at,
    )
    return message
