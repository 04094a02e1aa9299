"""The statements that give a user's things to another."""

from sqlalchemy import ColumnElement, and_, bindparam, case, select, update

from holdfast.db.statements import Command, Query, any_of, live, new_value
from holdfast.db.tables import (
    container_repositories,
    container_tags,
    forms,
    group_list,
    image_allow_list,
    project_list,
    user_group,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.deletions.types import AdminSeat, HandedRow

OPEN_STATUSES = ("Pending", "Processing")

_from_id = bindparam("from_id", type_=users.c.u_id.type)
_heir_id = bindparam("heir_id", type_=users.c.u_id.type)


def _group_of(project_id: ColumnElement[str]) -> ColumnElement[str]:
    return select(project_list.c.g_id).where(project_list.c.p_id == project_id).scalar_subquery().label("g_id")


LOCK_RULES = Query(
    "deletions.lock_rules_include_deleted",
    select(
        image_allow_list.c.id,
        case(
            (container_tags.c.id.is_(None), container_repositories.c.full_name),
            else_=container_repositories.c.full_name.concat(":").concat(container_tags.c.name),
        ).label("label"),
        _group_of(image_allow_list.c.project_id),
        image_allow_list.c.updated_at,
    )
    .select_from(image_allow_list)
    .join(container_repositories, container_repositories.c.id == image_allow_list.c.repository_id)
    .outerjoin(container_tags, container_tags.c.id == image_allow_list.c.tag_id)
    .where(image_allow_list.c.created_by == _from_id, image_allow_list.c.is_enabled, live(image_allow_list))
    .order_by(image_allow_list.c.id)
    .with_for_update(of=image_allow_list),
    HandedRow,
)
GIVE_RULES = Command(
    "deletions.give_rules",
    update(image_allow_list)
    .where(any_of(image_allow_list.c.id, "ids"))
    .values(created_by=_heir_id, updated_at=bindparam("now", type_=image_allow_list.c.updated_at.type)),
)

LOCK_OPEN_FORMS = Query(
    "deletions.lock_open_forms",
    select(forms.c.id, forms.c.title.label("label"), _group_of(forms.c.project_id), forms.c.updated_at)
    .where(forms.c.user_id == _from_id, forms.c.status.in_(OPEN_STATUSES), live(forms))
    .order_by(forms.c.id)
    .with_for_update(of=forms),
    HandedRow,
)
GIVE_FORMS = Command(
    "deletions.give_forms",
    update(forms)
    .where(any_of(forms.c.id, "ids"))
    .values(user_id=_heir_id, updated_at=bindparam("now", type_=forms.c.updated_at.type)),
)

_own, _heirs = user_group.alias("own_membership"), user_group.alias("heirs_membership")
# The groups are locked as for any change of their members. The heir may have been in a group before.
LOCK_ADMIN_SEATS = Query(
    "deletions.lock_admin_seats_include_deleted",
    select(
        group_list.c.g_id,
        group_list.c.group_name,
        _heirs.c.role.label("heir_role"),
        _heirs.c.deletion_id.label("heir_deletion_id"),
        _heirs.c.updated_at.label("heir_updated_at"),
    )
    .select_from(group_list)
    .join(_own, _own.c.g_id == group_list.c.g_id)
    .outerjoin(_heirs, and_(_heirs.c.g_id == group_list.c.g_id, _heirs.c.u_id == _heir_id))
    .where(
        _own.c.u_id == _from_id,
        _own.c.role == "admin",
        group_list.c.g_id != SUPER_GROUP_ID,
        live(_own),
        live(group_list),
    )
    .order_by(group_list.c.g_id)
    .with_for_update(of=group_list, key_share=True),
    AdminSeat,
)
MAKE_ADMIN = Command(
    "deletions.make_admin",
    update(user_group)
    .where(
        user_group.c.u_id == bindparam("u_id", type_=users.c.u_id.type),
        any_of(user_group.c.g_id, "g_ids"),
    )
    # MariaDB assigns in this order, which is the columns': whoever joins anew is told by the deletion, still there.
    .values(
        role="admin",
        created_at=case(
            (live(user_group), user_group.c.created_at),
            else_=bindparam("new_updated_at", type_=user_group.c.updated_at.type),
        ),
        deleted_at=None,
        deletion_id="",
        **new_value(user_group, "updated_at"),
    ),
)
