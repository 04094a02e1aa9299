"""The statements that only the demo needs."""

from sqlalchemy import false, func, select, true, update

from holdfast.db.statements import Command, Count, Query
from holdfast.db.tables import group_list, user_group, users
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts.rules import ADMIN_USERNAME

# Deleted rows count too: an instance that held something is not empty.
COUNT_USERS = Query(
    "demo.count_users_include_deleted",
    select(func.count().label("value")).select_from(users).where(users.c.username != ADMIN_USERNAME),
    Count,
)
COUNT_GROUPS = Query(
    "demo.count_groups_include_deleted",
    select(func.count().label("value")).select_from(group_list).where(group_list.c.g_id != SUPER_GROUP_ID),
    Count,
)
COUNT_MEMBERS = Query(
    "demo.count_members_include_deleted",
    select(func.count().label("value")).select_from(user_group).where(user_group.c.g_id != SUPER_GROUP_ID),
    Count,
)
# Who tries the demo shall not have to choose a password first.
KEEP_FIRST_PASSWORDS = Command(
    "demo.keep_first_passwords",
    update(users)
    .where(users.c.username != ADMIN_USERNAME, users.c.must_change_password == true())
    .values(must_change_password=false()),
)
