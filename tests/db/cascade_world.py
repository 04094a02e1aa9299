"""Two sides with everything that can hang on a user, a group or an image, and rows of each side within the other.

What goes with each root is written down here from the seed (1.2 to 1.5, 2.1, 2.2), not derived from the tables, so
that the tables are held against it, whatever way the root leaves.
"""

from typing import Any

from sqlalchemy import Table

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.tables import metadata
from tests.db.rows import fetch, parent_of, plain_row
from tests.factories import insert_rows

Values = dict[str, Any]

# Rows that a side has of its own: label, table, and the labels of the parents by column.
_OWN: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("user", "users", {}),
    ("group", "group_list", {}),
    ("repository", "container_repositories", {}),
    ("tag", "container_tags", {"repository_id": "repository"}),
    ("status", "cluster_image_status", {"tag_id": "tag"}),
    ("project", "project_list", {"g_id": "group"}),
    ("member", "user_group", {"u_id": "user", "g_id": "group"}),
    ("file", "config_files", {"project_id": "project"}),
    ("resource", "resources", {"cf_id": "file"}),
    ("form", "forms", {"user_id": "user", "project_id": "project"}),
    ("message", "form_messages", {"form_id": "form", "user_id": "user"}),
    ("request", "image_requests", {"user_id": "user", "project_id": "project", "reviewer_id": "other user"}),
    (
        "rule",
        "image_allow_list",
        {
            "project_id": "project",
            "repository_id": "repository",
            "tag_id": "tag",
            "request_id": "request",
            "created_by": "user",
        },
    ),
    ("workload", "course_workloads", {"user_id": "user", "project_id": "project"}),
    ("audit", "audit_logs", {"user_id": "user"}),
    ("token", "tokens", {"user_id": "user"}),
    ("idempotency key", "idempotency_keys", {"user_id": "user"}),
)
# Rows that the user of a side has within the project or on the form of the other side.
_GUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("guest message", "form_messages", {"form_id": "other form", "user_id": "user"}),
    ("guest form", "forms", {"user_id": "user", "project_id": "other project"}),
    ("guest form's message", "form_messages", {"form_id": "guest form", "user_id": "user"}),
    ("guest request", "image_requests", {"user_id": "user", "project_id": "other project"}),
    (
        "guest rule",
        "image_allow_list",
        {
            "project_id": "other project",
            "repository_id": "repository",
            "request_id": "guest request",
            "created_by": "user",
        },
    ),
    ("guest workload", "course_workloads", {"user_id": "user", "project_id": "other project"}),
)
# Rows that belong to no project.
_GLOBAL: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("global form", "forms", {"user_id": "left user"}),
    ("global request", "image_requests", {"user_id": "left user", "reviewer_id": "right user"}),
    (
        "global rule",
        "image_allow_list",
        {"repository_id": "right repository", "request_id": "left request", "created_by": "right user"},
    ),
)

_OF_A_PROJECT = {
    "left project",
    "left file",
    "left resource",
    "left deleted resource",
    "left form",
    "left message",
    "left request",
    "left rule",
    "left workload",
    "right guest message",
    "right guest form",
    "right guest form's message",
    "right guest request",
    "right guest rule",
    "right guest workload",
}
# What goes with each root (seed 2.1; the tokens and idempotency keys are ours).
GOES: dict[str, set[str]] = {
    "left user": {f"left {what}" for what in ("user", "member", "form", "message", "request", "rule", "workload")}
    | {f"left {label}" for label, _, _ in _GUESTS}
    | {"left audit", "left token", "left idempotency key", "global form", "global request", "right guest message"},
    "left group": {"left group", "left member"} | _OF_A_PROJECT,
    "left project": _OF_A_PROJECT,
    "left file": {"left file", "left resource", "left deleted resource"},
    "left form": {"left form", "left message", "right guest message"},
    "left request": {"left request"},
    "right repository": {"right repository", "right tag", "right status"}
    | {"right rule", "right guest rule", "global rule"},
    "right tag": {"right tag", "right status", "right rule"},
    "left member": {"left member"},
    "left message": {"left message"},
    "left rule": {"left rule"},
    "left workload": {"left workload"},
}
# Which pointers of rows that stay are emptied (seed 2.2).
EMPTIED: dict[str, set[tuple[str, str]]] = {
    "left user": {("right request", "reviewer_id"), ("global rule", "request_id")},
    "left group": {("global rule", "request_id")},
    "left project": {("global rule", "request_id")},
    "left request": {("left rule", "request_id"), ("global rule", "request_id")},
}


class CascadeWorld:
    """The rows by label, `left member` or `global rule`."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.rows: dict[str, Values] = {}
        for described in (_OWN, _GUESTS):
            for label, table_name, parents in described:
                for own, other in (("left", "right"), ("right", "left")):
                    named = {column: _side(parent, own, other) for column, parent in parents.items()}
                    self._describe(f"{own} {label}", table_name, named)
        for label, table_name, parents in _GLOBAL:
            self._describe(label, table_name, parents)
        gone = {"deletion_id": "an-earlier-deletion", "deleted_at": utc_now()}
        self._describe("left deleted resource", "resources", {"cf_id": "left file"}, **gone)

    async def fill(self, database: Database) -> None:
        """Insert the rows."""
        for table in metadata.sorted_tables:
            alike: dict[tuple[str, ...], list[Values]] = {}
            for label, row in self.rows.items():
                if self.tables[label] is table:
                    alike.setdefault(tuple(row), []).append(row)
            for rows in alike.values():
                await insert_rows(database, table, rows)

    def key(self, label: str) -> tuple[str, ...]:
        """The primary key of a row."""
        return tuple(str(self.rows[label][column.name]) for column in self.tables[label].primary_key.columns)

    def condition(self, label: str) -> str:
        """The SQL condition that finds one row."""
        row = self.rows[label]
        return " AND ".join(
            f"{column.name} = '{row[column.name]}'" for column in self.tables[label].primary_key.columns
        )

    async def found(self, database: Database) -> dict[str, Values]:
        """The rows that are there, as they are now."""
        rows = {}
        for label, table in self.tables.items():
            names = [column.name for column in table.columns]
            for values in await fetch(
                database, f"SELECT {', '.join(names)} FROM {table.name} WHERE {self.condition(label)}"
            ):
                rows[label] = dict(zip(names, values, strict=True))
        return rows

    def _describe(self, label: str, table_name: str, parents: dict[str, str], **values: Any) -> None:
        table = metadata.tables[table_name]
        keys = {
            column: self.rows[label_of_parent][parent_of(table.columns[column]).name]
            for column, label_of_parent in parents.items()
        }
        if table_name == "audit_logs":
            # Beyond what the engine numbers by itself.
            keys["id"] = 10**9 + len(self.rows)
        self.tables[label] = table
        self.rows[label] = plain_row(table, **keys, **values)


def _side(parent: str, own: str, other: str) -> str:
    return parent.replace("other", other) if parent.startswith("other") else f"{own} {parent}"
