"""Statements of the drill: what the newest entry is, on the real database and the restored one, and how to look in."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Table, bindparam, func, select, update

from holdfast.db.statements import Command, Count, Query, live, parameters_for
from holdfast.db.tables import audit_logs, project_list, runs, users
from holdfast.db.types import Timestamp
from holdfast.features.accounts.rules import ADMIN_USERNAME

# As drills stand in the audit log.
RESOURCE_TYPE = "drill"


class FoundRun(msgspec.Struct, frozen=True):
    """A run that was written down."""

    name: str
    detail: msgspec.Raw | None


class Newest(msgspec.Struct, frozen=True):
    """When the newest entry of the audit log was made."""

    value: datetime | None


def _count_live(table: Table) -> Query[Count]:
    counted = select(func.count().label("value")).select_from(table).where(live(table))
    return Query(f"drill.count_live({table.name})", counted, Count)


NEWEST_ENTRY = Query(
    "drill.newest_entry",
    select(func.max(audit_logs.c.created_at, type_=Timestamp()).label("value")),
    Newest,
)
FIND_RUN = Query(
    "drill.find_run",
    select(runs.c.name, runs.c.detail).where(runs.c.id == bindparam("run_id", type_=runs.c.id.type)),
    FoundRun,
)
ENTRIES_SINCE = Query(
    "drill.entries_since",
    # Those that drills leave themselves are no loss.
    select(func.count().label("value")).where(
        audit_logs.c.created_at > bindparam("moment", type_=Timestamp()), audit_logs.c.resource_type != RESOURCE_TYPE
    ),
    Count,
)
# What a list must tell as its total, by its path.
LISTED: dict[str, Query[Count]] = {"users": _count_live(users), "projects": _count_live(project_list)}
_is_admin: Any = users.c.username == ADMIN_USERNAME
LET_ADMIN_IN = Command(
    "drill.let_admin_in",
    update(users).where(_is_admin, live(users)).values(parameters_for(users, "must_change_password")),
)
