"""What a form and its messages are, as callers see them."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable, UnfrozenDeletable


class FormMessage(Deletable, frozen=True):
    """A message on a form, with the name of who wrote it."""

    id: str
    form_id: str
    user_id: str
    username: str
    full_name: str | None
    content: str
    created_at: datetime


class Form(UnfrozenDeletable):
    """A form with the names of its author and project. `messages`, oldest first, are there where they were asked for.

    It is not frozen, because a list attaches the messages of all its forms after one statement.
    """

    id: str
    user_id: str
    username: str
    full_name: str | None
    project_id: str | None
    project_name: str | None
    title: str
    description: str | None
    tag: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    messages: list[FormMessage] | msgspec.UnsetType = msgspec.UNSET


class FormAccess(msgspec.Struct, frozen=True):
    """What decides over a form: whose it is, its state, its project's group and the caller's role in it."""

    id: str
    user_id: str
    project_id: str | None
    title: str
    status: str
    tag: str | None
    description: str | None
    updated_at: datetime
    g_id: str | None
    actor_role: str | None
