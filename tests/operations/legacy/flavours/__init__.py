"""Each older schema: the scripts that make it, where its rows are kept, and what it lets happen.

A row is written down once, under a noun and with the column names of February 2026; a flavour says what the table and
the columns are called there. A column that a flavour does not have is left away.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

# The older programs gave their first administrator this hash in every installation.
WELL_KNOWN_ADMIN_HASH = "$2a$10$nsXJXOUAbVyLbvtPizj0RectJWdInu17C2NpWEVKNvwzKQcg8bchu"
_FOLDER = Path(__file__).parent


class Flavour(msgspec.Struct, frozen=True, kw_only=True):
    """One older schema.

    `lets` names what can be found there: `loose <noun>` where nothing declared holds the noun's references, and other
    words where a fault needs them. `columns` holds other names for columns by noun, `keys` other primary keys.
    """

    name: str
    engine: str = "postgresql"
    scripts: tuple[str, ...]
    tables: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    lets: frozenset[str] = frozenset()

    @property
    def script(self) -> str:
        """The statements that make the schema, with `@admin_hash@` for the first administrator's password."""
        return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in self.scripts)

    def column(self, noun: str, column: str) -> str:
        """What the flavour calls a column."""
        return self.columns.get(noun, {}).get(column, column)

    def key_columns(self, noun: str) -> tuple[str, ...]:
        """The primary key of a noun's table."""
        return tuple(self.column(noun, column) for column in self.key(noun))

    def key(self, noun: str) -> tuple[str, ...]:
        """The same, as the rows of this package call it."""
        return self.keys.get(noun) or KEYS.get(noun, ("id",))


KEYS = {
    "groups": ("g_id",),
    "users": ("u_id",),
    "memberships": ("u_id", "g_id"),
    "projects": ("p_id",),
    "old_projects": ("p_id",),
    "config_files": ("cf_id",),
    "resources": ("r_id",),
    "old_resources": ("r_id",),
}
# Which noun a column names a row of. What names a missing row is an orphan, but for the two that are unlinked.
REFERENCES = {
    "memberships": {"u_id": "users", "g_id": "groups"},
    "projects": {"g_id": "groups"},
    "old_projects": {"g_id": "groups"},
    "config_files": {"project_id": "projects"},
    "resources": {"cf_id": "config_files"},
    "old_resources": {"cf_id": "config_files"},
    "forms": {"user_id": "users", "project_id": "projects"},
    "messages": {"form_id": "forms", "user_id": "users"},
    "tags": {"repository_id": "repositories"},
    "requests": {"user_id": "users", "project_id": "projects", "reviewer_id": "users"},
    "flat_requests": {"user_id": "users", "project_id": "projects"},
    "rules": {
        "project_id": "projects",
        "tag_id": "tags",
        "repository_id": "repositories",
        "request_id": "requests",
        "created_by": "users",
    },
    "allowed_images": {"project_id": "projects", "created_by": "users"},
    "statuses": {"tag_id": "tags"},
    "workloads": {"user_id": "users", "project_id": "projects"},
    "audit": {"user_id": "users"},
}
UNLINKED_COLUMNS = {("requests", "reviewer_id"), ("rules", "request_id")}

_PEOPLE = {"groups": "group_list", "users": "users", "memberships": "user_group", "audit": "audit_logs"}
_FORMS = {"forms": "forms", "messages": "form_messages", "workloads": "course_workloads"}
_IMAGES = {
    "repositories": "container_repositories",
    "tags": "container_tags",
    "requests": "image_requests",
    "rules": "image_allow_lists",
    "statuses": "cluster_image_statuses",
}
_STORAGE = {
    "group_pvcs": "group_pvcs",
    "storage_permissions": "group_storage_permissions",
    "storage_policies": "group_storage_access_policies",
    "pvc_bindings": "project_pvc_bindings",
    "pvcs": "persistent_volume_claims",
    "storage_hubs": "storage_hubs",
}
_BATCH = {"jobs": "jobs", "job_logs": "job_logs", "job_checkpoints": "job_checkpoints", "gpu_requests": "gpu_requests"}
_NEWER_PROJECTS = {"projects": "project_list", "config_files": "config_files", "resources": "resource_list"}
_OLDER_PROJECTS = {"projects": "projects", "config_files": "config_files", "resources": "resources"}

_HAND_WRITTEN = frozenset({"enum kinds", "loose audit"})
_ORM = frozenset(
    {"enum kinds", "wide ids", "no times", "gpu quota"}
    | {f"loose {noun}" for noun in ("audit", "memberships", "projects", "config_files", "resources")}
)
_ORM_FORMS = frozenset({"loose messages", "loose workloads", "loose requests", "soft deletion", "null texts"})

_JANUARY_TABLES = {
    **_PEOPLE,
    **_NEWER_PROJECTS,
    **_FORMS,
    **_STORAGE,
    **_BATCH,
    "flat_requests": "image_requests",
    "allowed_images": "allowed_images",
}
_JANUARY_SCRIPTS = ("january_2026.sql", "allowed_images.sql", "forms.sql", "workloads.sql", "storage.sql")
_SEED7_TABLES = {
    **_PEOPLE,
    **_FORMS,
    **_IMAGES,
    "projects": "project_list",
    "config_files": "config_files",
    "resources": "resources",
    "rules": "image_allow_list",
    "statuses": "cluster_image_status",
}
_SEED7_TIMES = {"create_at": "created_at", "update_at": "updated_at"}
_SEED7_COLUMNS = {
    "groups": {**_SEED7_TIMES, "g_id": "id"},
    "users": {**_SEED7_TIMES, "u_id": "id"},
    "memberships": {**_SEED7_TIMES, "u_id": "user_id"},
    "projects": {**_SEED7_TIMES, "p_id": "id"},
    "config_files": {**_SEED7_TIMES, "cf_id": "id"},
    "resources": {**_SEED7_TIMES, "r_id": "id"},
}
_SEED7 = (
    (_ORM_FORMS - {"null texts"})
    | (_ORM - {"enum kinds", "wide ids", "no times"})
    | {"free values", "free keys", "loose forms", "loose tags", "loose rules"}
)

_ALL = (
    Flavour(
        name="july_2025_first",
        scripts=("july_2025_first.sql",),
        tables={**_PEOPLE, "projects": "project", "resources": "resource"},
        lets=_HAND_WRITTEN | {"lower-case kinds", "same usernames", "numbers in audit", "no admin", "no files"},
    ),
    Flavour(
        name="july_2025",
        scripts=("july_2025.sql",),
        tables={**_PEOPLE, "projects": "projects", "config_files": "config_file", "resources": "resource"},
        lets=_HAND_WRITTEN | {"lower-case kinds", "same usernames", "numbers in audit", "minio", "first admin"},
    ),
    Flavour(
        name="september_2025",
        scripts=("september_2025.sql",),
        tables={**_PEOPLE, **_OLDER_PROJECTS, "jobs": "jobs"},
        lets=_HAND_WRITTEN | {"first admin"},
    ),
    Flavour(
        name="december_2025",
        scripts=("december_2025.sql",),
        tables={**_PEOPLE, **_OLDER_PROJECTS, "jobs": "jobs"},
        lets=_ORM,
    ),
    Flavour(name="january_2026", scripts=_JANUARY_SCRIPTS, tables=_JANUARY_TABLES, lets=_ORM | _ORM_FORMS),
    Flavour(
        name="january_2026_role_level",
        scripts=(*_JANUARY_SCRIPTS, "role_level.sql"),
        tables=_JANUARY_TABLES,
        columns={"memberships": {"role": "role_level"}},
        lets=_ORM | _ORM_FORMS,
    ),
    Flavour(
        name="february_2026",
        scripts=("february_2026.sql", "forms.sql", "images.sql", "workloads.sql", "storage.sql"),
        tables={**_PEOPLE, **_NEWER_PROJECTS, **_FORMS, **_IMAGES, **_STORAGE},
        lets=_ORM | _ORM_FORMS,
    ),
    Flavour(
        name="mixed",
        scripts=(
            *("september_2025.sql", "mixed.sql", "allowed_images.sql", "forms.sql", "images.sql"),
            *("mixed_requests.sql", "workloads.sql", "storage.sql"),
        ),
        tables={
            **_PEOPLE,
            **_NEWER_PROJECTS,
            **_FORMS,
            **_IMAGES,
            **_STORAGE,
            **_BATCH,
            "old_projects": "projects",
            "old_resources": "resources",
            "flat_requests": "image_requests",
            "allowed_images": "allowed_images",
        },
        lets=_HAND_WRITTEN | _ORM_FORMS | {"first admin", "loose projects", "loose resources", "gpu quota"},
    ),
    Flavour(
        name="seed7_mariadb",
        engine="mariadb",
        scripts=("seed7_mariadb.sql",),
        tables=_SEED7_TABLES,
        columns=_SEED7_COLUMNS,
        keys={"memberships": ("id",)},
        lets=_SEED7 | {"zero dates"},
    ),
    Flavour(
        name="seed7_postgresql",
        scripts=("seed7_postgresql.sql",),
        tables=_SEED7_TABLES,
        columns=_SEED7_COLUMNS,
        keys={"memberships": ("id",)},
        lets=_SEED7,
    ),
    Flavour(
        name="seed7_sqlite",
        engine="sqlite",
        scripts=("seed7_sqlite.sql",),
        tables=_SEED7_TABLES,
        columns=_SEED7_COLUMNS,
        keys={"memberships": ("id",)},
        lets=_SEED7 | {"zero dates"},
    ),
)
FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in _ALL}
