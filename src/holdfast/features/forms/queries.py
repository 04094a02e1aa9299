"""The statements of forms and their messages."""

from sqlalchemy import and_, bindparam, insert, or_, select, union, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Query,
    any_of,
    contains_text,
    live,
    locked_as_parent,
    new_value,
    parameters_for,
)
from holdfast.db.tables import form_messages, forms, project_list, users
from holdfast.features.forms.types import Form, FormAccess, FormMessage
from holdfast.features.groups.queries import groups_of_actor, role_of_actor, staff_seats_of_actor
from holdfast.features.groups.types import STAFF_ROLES

_form_id = bindparam("form_id", type_=forms.c.id.type)
_actor_id = bindparam("actor_id", type_=users.c.u_id.type)

_FORM = (
    select(
        forms.c.id,
        forms.c.user_id,
        users.c.username,
        users.c.full_name,
        forms.c.project_id,
        project_list.c.project_name,
        forms.c.title,
        forms.c.description,
        forms.c.tag,
        forms.c.status,
        forms.c.created_at,
        forms.c.updated_at,
    )
    .select_from(forms)
    .join(users, users.c.u_id == forms.c.user_id)
    .outerjoin(project_list, project_list.c.p_id == forms.c.project_id)
    .where(live(forms))
)

GET_FORM = Query("forms.get_form", _FORM.where(forms.c.id == _form_id), Form)
GET_FORM_INCLUDE_DELETED = with_deleted(GET_FORM, forms)

# Each half finds its rows by an index; with OR between the conditions the servers would read all forms to count them.
_seats = staff_seats_of_actor()
_own, _staffed = forms.alias("own_forms"), forms.alias("staffed_forms")
_visible = union(
    select(_own.c.id).where(_own.c.user_id == _actor_id, live(_own)),
    select(_staffed.c.id)
    .join(project_list, project_list.c.p_id == _staffed.c.project_id)
    .join(_seats, _seats.c.g_id == project_list.c.g_id)
    .where(live(project_list), live(_staffed)),
).subquery("visible_forms")

# Where a project or a user is named, its index finds few rows, and asking of each is quicker than finding all of them.
# SQLite reads the two sides of OR by their indexes, and needs no list of what it found.
_staffed_projects = select(project_list.c.p_id).where(
    project_list.c.g_id.in_(groups_of_actor(*STAFF_ROLES)), live(project_list)
)
_is_visible = or_(forms.c.user_id == _actor_id, forms.c.project_id.in_(_staffed_projects))

FORMS = Listing(
    "forms",
    _FORM,
    Form,
    row_id=forms.c.id,
    sorts={"created_at": forms.c.created_at},
    default_sort="-created_at",
    filters={
        "user_id": forms.c.user_id == bindparam("user_id", type_=forms.c.user_id.type),
        "project_id": forms.c.project_id == bindparam("project_id", type_=forms.c.project_id.type),
        "status": forms.c.status == bindparam("status", type_=forms.c.status.type),
        "tag": forms.c.tag == bindparam("tag", type_=forms.c.tag.type),
    },
    scopes={
        "all": None,
        "visible": forms.c.id == _visible.c.id,
        "visible_among_few": _is_visible,
    },
    scopes_on_sqlite={"visible": _is_visible},
    search=contains_text(forms.c.title, "q"),
    count_select=select(forms.c.id).where(live(forms)),
)

_ACCESS = select(
    forms.c.id,
    forms.c.user_id,
    forms.c.project_id,
    forms.c.title,
    forms.c.status,
    forms.c.tag,
    forms.c.description,
    forms.c.updated_at,
    select(project_list.c.g_id).where(project_list.c.p_id == forms.c.project_id).scalar_subquery().label("g_id"),
    select(role_of_actor(project_list.c.g_id))
    .where(project_list.c.p_id == forms.c.project_id)
    .scalar_subquery()
    .label("actor_role"),
).where(forms.c.id == _form_id, live(forms))
FIND_ACCESS = Query("forms.find_access", _ACCESS, FormAccess)
FIND_ACCESS_AS_PARENT = Query("forms.find_access_as_parent", locked_as_parent(_ACCESS, forms), FormAccess)
FIND_ACCESS_ALONE = Query("forms.find_access_alone", _ACCESS.with_for_update(of=forms), FormAccess)

INSERT_FORM = Command(
    "forms.insert_form",
    insert(forms).values(
        parameters_for(
            forms, "id", "user_id", "project_id", "title", "description", "tag", "status", "created_at", "updated_at"
        )
    ),
)
UPDATE_FORM = Command(
    "forms.update_form",
    update(forms)
    .where(forms.c.id == _form_id)
    .values(new_value(forms, "title", "description", "tag", "status", "updated_at")),
)

_MESSAGE = (
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
    .where(live(form_messages))
)
# Of the forms of one page: one statement, however many they are.
MESSAGES_OF_FORMS = Query(
    "forms.messages_of_forms",
    _MESSAGE.where(any_of(form_messages.c.form_id, "form_ids")).order_by(
        form_messages.c.form_id, form_messages.c.created_at, form_messages.c.id
    ),
    FormMessage,
)
MESSAGES_OF_FORMS_INCLUDE_DELETED = with_deleted(MESSAGES_OF_FORMS, form_messages)
MESSAGES = Listing(
    "form_messages",
    _MESSAGE.where(form_messages.c.form_id == _form_id),
    FormMessage,
    row_id=form_messages.c.id,
    sorts={"created_at": form_messages.c.created_at},
    default_sort="created_at",
    count_select=select(form_messages.c.id).where(and_(live(form_messages), form_messages.c.form_id == _form_id)),
)
GET_MESSAGE = Query(
    "forms.get_message",
    _MESSAGE.where(
        form_messages.c.form_id == _form_id,
        form_messages.c.id == bindparam("message_id", type_=form_messages.c.id.type),
    ),
    FormMessage,
)
GET_MESSAGE_INCLUDE_DELETED = with_deleted(GET_MESSAGE, form_messages)
INSERT_MESSAGE = Command(
    "forms.insert_message",
    insert(form_messages).values(parameters_for(form_messages, "id", "form_id", "user_id", "content", "created_at")),
)
