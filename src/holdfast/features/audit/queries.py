"""The statements of the audit log."""

from sqlalchemy import ColumnElement, bindparam, insert, select

from holdfast.db.listing import Listing
from holdfast.db.statements import Command, count_of, live, not_by_index, parameters_for
from holdfast.db.tables import audit_logs, user_group
from holdfast.features.audit.types import AuditEntry

INSERT_ENTRY = Command(
    "audit.insert_entry",
    insert(audit_logs).values(
        parameters_for(
            audit_logs,
            "user_id",
            "actor_name",
            "action",
            "resource_type",
            "resource_id",
            "resource_label",
            "g_id",
            "old_data",
            "new_data",
            "ip_address",
            "user_agent",
            "description",
            "created_at",
        )
    ),
)

_administered_groups = select(user_group.c.g_id).where(
    user_group.c.u_id == bindparam("actor_id", type_=user_group.c.u_id.type),
    not_by_index(user_group.c.role) == "admin",
    live(user_group),
)


def _equals(column: str, parameter: str) -> ColumnElement[bool]:
    return audit_logs.c[column] == bindparam(parameter, type_=audit_logs.c[column].type)


ENTRIES = Listing(
    "audit",
    select(
        audit_logs.c.id,
        audit_logs.c.user_id,
        audit_logs.c.actor_name,
        audit_logs.c.action,
        audit_logs.c.resource_type,
        audit_logs.c.resource_id,
        audit_logs.c.resource_label,
        audit_logs.c.g_id,
        audit_logs.c.old_data,
        audit_logs.c.new_data,
        audit_logs.c.ip_address,
        audit_logs.c.user_agent,
        audit_logs.c.description,
        audit_logs.c.created_at,
    ),
    AuditEntry,
    row_id=audit_logs.c.id,
    sorts={"created_at": audit_logs.c.created_at},
    default_sort="-created_at",
    filters={
        "user_id": _equals("user_id", "user_id"),
        "actor_name": _equals("actor_name", "actor_name"),
        "action": _equals("action", "action"),
        "resource_type": _equals("resource_type", "resource_type"),
        "resource_id": _equals("resource_id", "resource_id"),
        "g_id": _equals("g_id", "g_id"),
        "since": audit_logs.c.created_at >= bindparam("since", type_=audit_logs.c.created_at.type),
        "until": audit_logs.c.created_at < bindparam("until", type_=audit_logs.c.created_at.type),
    },
    scopes={"all": None, "administered": audit_logs.c.g_id.in_(_administered_groups)},
)

IS_GROUP_ADMIN = count_of("audit.is_group_admin", _administered_groups)
