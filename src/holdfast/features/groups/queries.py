"""The statements of groups and members, and the parts that other features' statements are built from."""

from sqlalchemy import ColumnElement, ScalarSelect, Subquery, bindparam, func, insert, or_, select, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Query,
    any_of,
    contains_text,
    insert_unless_present,
    live,
    new_value,
    not_by_index,
    parameters_for,
)
from holdfast.db.tables import group_list, project_list, user_group, users
from holdfast.features.groups.types import (
    STAFF_ROLES,
    Group,
    GroupAccess,
    Member,
    MemberName,
    Membership,
    UserGroup,
)

_actor_id = bindparam("actor_id", type_=user_group.c.u_id.type)
_g_id = bindparam("g_id", type_=group_list.c.g_id.type)
_u_id = bindparam("u_id", type_=users.c.u_id.type)


def role_of_actor(g_id: ColumnElement[str]) -> ScalarSelect[str | None]:
    """The role that the parameter `actor_id` holds in a group, as a column of a larger statement; NULL outside it."""
    membership = user_group.alias("own_membership")
    return (
        select(membership.c.role)
        .where(membership.c.u_id == _actor_id, membership.c.g_id == g_id, live(membership))
        .scalar_subquery()
    )


def groups_of_actor(*roles: str) -> ScalarSelect[str]:
    """The groups in which `actor_id` holds one of the roles (any role when none is named), for `column.in_(…)`."""
    membership = user_group.alias("own_membership")
    found = select(membership.c.g_id).where(membership.c.u_id == _actor_id, live(membership))
    if roles:
        found = found.where(not_by_index(membership.c.role).in_(roles))
    return found.scalar_subquery()


def staff_seats_of_actor() -> Subquery:
    """The groups on whose staff `actor_id` is, as a table to join: `g_id`."""
    membership = user_group.alias("staff_seat")
    return (
        select(membership.c.g_id)
        .where(membership.c.u_id == _actor_id, not_by_index(membership.c.role).in_(STAFF_ROLES), live(membership))
        .subquery("staff_seats")
    )


_member_count = select(func.count()).where(user_group.c.g_id == group_list.c.g_id, live(user_group)).scalar_subquery()
_project_count = (
    select(func.count()).where(project_list.c.g_id == group_list.c.g_id, live(project_list)).scalar_subquery()
)
_GROUP = select(
    group_list.c.g_id,
    group_list.c.group_name,
    group_list.c.description,
    group_list.c.deletion_protected,
    group_list.c.created_at,
    group_list.c.updated_at,
    _member_count.label("member_count"),
    _project_count.label("project_count"),
    role_of_actor(group_list.c.g_id).label("role"),
).where(live(group_list))
GET_GROUP = Query("groups.get_group", _GROUP.where(group_list.c.g_id == _g_id), Group)
GET_GROUP_INCLUDE_DELETED = with_deleted(GET_GROUP, group_list)
GROUPS = Listing(
    "groups",
    _GROUP,
    Group,
    row_id=group_list.c.g_id,
    sorts={"group_name": group_list.c.group_name, "created_at": group_list.c.created_at},
    default_sort="group_name",
    scopes={"all": None, "own": group_list.c.g_id.in_(groups_of_actor())},
    search=or_(contains_text(group_list.c.group_name, "q"), contains_text(group_list.c.description, "q")),
    count_select=select(group_list.c.g_id).where(live(group_list)),
)

_ACCESS = select(
    group_list.c.g_id,
    group_list.c.group_name,
    group_list.c.description,
    group_list.c.deletion_protected,
    group_list.c.updated_at,
    role_of_actor(group_list.c.g_id).label("actor_role"),
).where(group_list.c.g_id == _g_id, live(group_list))
FIND_ACCESS = Query("groups.find_access", _ACCESS, GroupAccess)
# One caller at a time changes a group or its members.
FIND_ACCESS_ALONE = Query(
    "groups.find_access_alone", _ACCESS.with_for_update(of=group_list, key_share=True), GroupAccess
)

INSERT_GROUP = Command(
    "groups.insert_group",
    insert(group_list).values(
        parameters_for(group_list, "g_id", "group_name", "description", "created_at", "updated_at")
    ),
)
INSERT_GROUP_UNLESS_PRESENT = insert_unless_present(
    "groups.insert_group_unless_present", group_list, "g_id", "group_name", "description", "created_at", "updated_at"
)
UPDATE_GROUP = Command(
    "groups.update_group",
    update(group_list)
    .where(group_list.c.g_id == _g_id)
    .values(new_value(group_list, "group_name", "description", "deletion_protected", "updated_at")),
)

# Of the groups of one page: one statement, however many they are.
MEMBERS_OF_GROUPS = Query(
    "groups.members_of_groups",
    select(user_group.c.g_id, user_group.c.u_id, users.c.username, users.c.full_name, user_group.c.role)
    .join(users, users.c.u_id == user_group.c.u_id)
    .where(any_of(user_group.c.g_id, "g_ids"), live(user_group), live(users))
    .order_by(user_group.c.g_id, users.c.username, users.c.u_id),
    MemberName,
)

# Of one group, or of one user: most members of all groups have the same role.
_has_role = not_by_index(user_group.c.role) == bindparam("role", type_=user_group.c.role.type)

_MEMBER = (
    select(
        user_group.c.u_id,
        user_group.c.g_id,
        users.c.username,
        users.c.full_name,
        user_group.c.role,
        user_group.c.created_at,
        user_group.c.updated_at,
    )
    .join(users, users.c.u_id == user_group.c.u_id)
    .where(user_group.c.g_id == _g_id, live(user_group), live(users))
)
FIND_MEMBER = Query("groups.find_member", _MEMBER.where(user_group.c.u_id == _u_id), Member)
FIND_MEMBER_INCLUDE_DELETED = with_deleted(FIND_MEMBER, user_group)
MEMBERS = Listing(
    "members",
    _MEMBER,
    Member,
    row_id=user_group.c.u_id,
    sorts={"username": users.c.username, "created_at": user_group.c.created_at},
    default_sort="username",
    filters={"role": _has_role},
    search=or_(contains_text(users.c.username, "q"), contains_text(users.c.full_name, "q")),
    # A membership goes with its user.
    count_select=select(user_group.c.u_id).where(user_group.c.g_id == _g_id, live(user_group)),
    searches_joined=True,
)

# Deleted rows, too: the key is (u_id, g_id), so who comes back gets the old row again.
_MEMBERSHIP = select(user_group.c.u_id, user_group.c.role, user_group.c.updated_at, user_group.c.deletion_id).where(
    user_group.c.g_id == _g_id
)
FIND_MEMBERSHIP_INCLUDE_DELETED = Query(
    "groups.find_membership_include_deleted", _MEMBERSHIP.where(user_group.c.u_id == _u_id), Membership
)
MEMBERSHIPS_INCLUDE_DELETED = Query(
    "groups.memberships_include_deleted", _MEMBERSHIP.where(any_of(user_group.c.u_id, "u_ids")), Membership
)
INSERT_MEMBER = Command(
    "groups.insert_member",
    insert(user_group).values(parameters_for(user_group, "u_id", "g_id", "role", "created_at", "updated_at")),
)
REVIVE_MEMBERS = Command(
    "groups.revive_members",
    update(user_group)
    .where(user_group.c.g_id == _g_id, any_of(user_group.c.u_id, "u_ids"), user_group.c.deletion_id != "")
    .values(deleted_at=None, deletion_id="", **new_value(user_group, "role", "created_at", "updated_at")),
)
SET_ROLE = Command(
    "groups.set_role",
    update(user_group)
    .where(user_group.c.g_id == _g_id, any_of(user_group.c.u_id, "u_ids"), live(user_group))
    .values(new_value(user_group, "role", "updated_at")),
)

_administered = groups_of_actor("admin")
USER_GROUPS = Listing(
    "user_groups",
    select(
        group_list.c.g_id,
        group_list.c.group_name,
        group_list.c.description,
        user_group.c.role,
        user_group.c.created_at,
    )
    .join(group_list, group_list.c.g_id == user_group.c.g_id)
    .where(user_group.c.u_id == _u_id, live(user_group), live(group_list)),
    UserGroup,
    row_id=group_list.c.g_id,
    sorts={"group_name": group_list.c.group_name, "created_at": user_group.c.created_at},
    default_sort="group_name",
    filters={"role": _has_role},
    scopes={"all": None, "administered": user_group.c.g_id.in_(_administered)},
    search=contains_text(group_list.c.group_name, "q"),
    # A membership goes with its group.
    count_select=select(user_group.c.g_id).where(user_group.c.u_id == _u_id, live(user_group)),
    searches_joined=True,
)
ALL_GROUPS_OF_USER = Query(
    "groups.all_groups_of_user",
    select(
        group_list.c.g_id,
        group_list.c.group_name,
        group_list.c.description,
        user_group.c.role,
        user_group.c.created_at,
    )
    .join(group_list, group_list.c.g_id == user_group.c.g_id)
    .where(user_group.c.u_id == _u_id, live(user_group), live(group_list))
    .order_by(group_list.c.group_name, group_list.c.g_id),
    UserGroup,
)
