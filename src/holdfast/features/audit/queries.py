"""The statements of the audit log."""

from sqlalchemy import insert

from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import audit_logs

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
            "old_data",
            "new_data",
            "ip_address",
            "user_agent",
            "description",
            "created_at",
        )
    ),
)
