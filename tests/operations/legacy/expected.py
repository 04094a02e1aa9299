"""What must become of an older schema's rows, by the rules that hold when the operator chooses nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tests.operations.legacy.faults import FAULTY_ROWS
from tests.operations.legacy.flavours import FLAVOURS, Flavour
from tests.operations.legacy.generated import generated_counts
from tests.operations.legacy.rows import GOOD_ROWS, Reason, Row

# In the order of their references, and where two nouns go to one table, the one that keeps its keys first.
TARGETS: Mapping[str, str | None] = {
    "groups": "group_list",
    "users": "users",
    "memberships": "user_group",
    "projects": "project_list",
    "old_projects": "project_list",
    "config_files": "config_files",
    "resources": "resources",
    "old_resources": "resources",
    "forms": "forms",
    "messages": "form_messages",
    "repositories": "container_repositories",
    "tags": "container_tags",
    "requests": "image_requests",
    "flat_requests": "image_requests",
    "rules": "image_allow_list",
    "allowed_images": "image_allow_list",
    "statuses": "cluster_image_status",
    "workloads": "course_workloads",
    "audit": "audit_logs",
    "jobs": None,
    "job_logs": None,
    "job_checkpoints": None,
    "gpu_requests": None,
    "group_pvcs": None,
    "storage_permissions": None,
    "storage_policies": None,
    "pvc_bindings": None,
    "pvcs": None,
    "storage_hubs": None,
}
# The new key's column, what goes before the old number, and how wide the key may be.
_NEW_KEYS = {
    "group_list": ("g_id", "group_", 20),
    "users": ("u_id", "user_", 20),
    "project_list": ("p_id", "proj_", 20),
    "config_files": ("cf_id", "cf_", 21),
    "resources": ("r_id", "res_", 21),
    "forms": ("id", "form_", 21),
    "form_messages": ("id", "msg_", 21),
    "container_repositories": ("id", "repo_", 21),
    "container_tags": ("id", "tag_", 21),
    "image_requests": ("id", "ireq_", 21),
    "image_allow_list": ("id", "rule_", 21),
    "cluster_image_status": ("id", "cis_", 21),
    "course_workloads": ("id", "course_", 21),
}


class ExpectedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One planted row: where it is, and what must become of it.

    `target_key` is None where the row does not arrive, or arrives under a key that no rule fixes.
    """

    noun: str
    name: str
    table: str
    key: Mapping[str, Any]
    target_table: str | None
    target_key: Mapping[str, str] | None
    arrives: bool
    reasons: frozenset[Reason]
    becomes: Mapping[str, Any]
    mentions: tuple[str, ...]


class TableCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of an older table are there and arrive, and of how many something is said, by reason."""

    there: int
    arriving: int
    changed: Mapping[Reason, int]
    left_out: Mapping[Reason, int]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is in an older schema, and what must be in an empty Holdfast after its import.

    `generated` counts the rows added by `scale`, by noun; nothing is wrong with them. `made` counts the rows that
    arrive without having been one row before, by their new table.
    """

    flavour: Flavour
    rows: tuple[ExpectedRow, ...]
    generated: Mapping[str, int]
    made: Mapping[str, int]

    @property
    def source_counts(self) -> dict[str, int]:
        """The rows of each older table that has any."""
        counts = Counter(row.table for row in self.rows)
        for noun, count in self.generated.items():
            counts[self.flavour.tables[noun]] += count
        return dict(counts)

    @property
    def target_counts(self) -> dict[str, int]:
        """The rows of each of Holdfast's tables that the import must have filled."""
        counts = Counter(row.target_table for row in self.rows if row.arrives and row.target_table)
        for noun, count in self.generated.items():
            target = TARGETS[noun]
            # The older table of projects holds copies of what is in the newer one.
            if target and noun != "old_projects":
                counts[target] += count
        counts.update(self.made)
        return dict(counts)

    def count(self, table: str) -> TableCount:
        """What becomes of one older table."""
        rows = [row for row in self.rows if row.table == table]
        generated = sum(count for noun, count in self.generated.items() if self.flavour.tables[noun] == table)
        left_out = sum(not row.arrives for row in rows)
        if table == self.flavour.tables.get("old_projects"):
            left_out += generated
        return TableCount(
            there=len(rows) + generated,
            arriving=len(rows) + generated - left_out,
            changed=Counter(reason for row in rows if row.arrives for reason in row.reasons),
            left_out=Counter(reason for row in rows if not row.arrives for reason in row.reasons),
        )

    def find(self, noun: str, name: str) -> ExpectedRow:
        """The row that bears a name."""
        return next(row for row in self.rows if (row.noun, row.name) == (noun, name))

    def with_reason(self, reason: Reason) -> list[ExpectedRow]:
        """The rows that something is said of."""
        return [row for row in self.rows if reason in row.reasons]


def expected(flavour_name: str, *, scale: int = 0, with_faults: bool = True) -> Expected:
    """What `make_legacy` with the same arguments has planted."""
    flavour = FLAVOURS[flavour_name]
    rows = planted_rows(flavour, with_faults=with_faults)
    generated = generated_counts(flavour, scale)
    made = _files_of_resources(rows) + generated.get("resources", 0) if "no files" in flavour.lets else 0
    return Expected(
        flavour=flavour,
        rows=tuple(_expect_all(flavour, rows)),
        generated=generated,
        made={table: count for table, count in {**_made_of_images(rows), "config_files": made}.items() if count},
    )


def planted_rows(flavour: Flavour, *, with_faults: bool = True) -> list[Row]:
    """The rows that a flavour has, parents before children."""
    order = list(TARGETS)
    rows = (*GOOD_ROWS, *FAULTY_ROWS) if with_faults else (*GOOD_ROWS, *COPIES)
    return sorted((row for row in rows if _is_in(flavour, row)), key=lambda row: order.index(row.noun))


# A foreign key of the mixed flavour holds its good config files to the older table of projects.
COPIES = tuple(row for row in FAULTY_ROWS if Reason.MERGED in row.reasons)


def _is_in(flavour: Flavour, row: Row) -> bool:
    return row.noun in flavour.tables and row.needs <= flavour.lets and not row.lacks & flavour.lets


def _expect_all(flavour: Flavour, rows: list[Row]) -> Iterator[ExpectedRow]:
    taken: set[tuple[str, str]] = set()
    for row in rows:
        target, reasons = TARGETS[row.noun], row.reasons | _reasons_of_all(flavour, row)
        target_key = _target_key(row, target) if row.arrives and target else None
        if target and target_key and Reason.KEY_CLASH not in reasons:
            identity = (target, "/".join(target_key.values()))
            if identity in taken:
                reasons, target_key = reasons | {Reason.KEY_CLASH}, None
            taken.add(identity)
        yield ExpectedRow(
            noun=row.noun,
            name=row.name,
            table=flavour.tables[row.noun],
            key={flavour.column(row.noun, column): row.values[column] for column in flavour.key(row.noun)},
            target_table=target,
            target_key=None if Reason.KEY_CLASH in reasons else target_key,
            arrives=row.arrives,
            reasons=reasons,
            becomes=row.becomes,
            mentions=row.mentions,
        )


def _reasons_of_all(flavour: Flavour, row: Row) -> frozenset[Reason]:
    """What is said of every row of a noun, because the flavour has not kept it whole."""
    if row.noun == "config_files" and "minio" in flavour.lets:
        return frozenset({Reason.CONTENT_REBUILT})
    if row.noun in ("flat_requests", "allowed_images") and row.arrives:
        return frozenset({Reason.STRUCTURED})
    if row.noun == "resources" and "no files" in flavour.lets and row.arrives:
        return frozenset({Reason.DOCUMENT_REBUILT})
    return frozenset()


def _target_key(row: Row, target: str) -> dict[str, str] | None:
    if target == "user_group":
        user, group = new_key("users", row.values["u_id"]), new_key("group_list", row.values["g_id"])
        return {"u_id": user, "g_id": group} if user and group else None
    if target not in _NEW_KEYS:
        return None
    column = _NEW_KEYS[target][0]
    number = next(row.values[name] for name in (column, "id") if name in row.values)
    key = new_key(target, number)
    return {column: key} if key else None


def new_key_column(target: str) -> str:
    """The key of one of Holdfast's tables."""
    return _NEW_KEYS[target][0]


def new_key(target: str, number: int) -> str | None:
    """The key that the rules give, or None where it is hashed because it would be too wide."""
    _, prefix, width = _NEW_KEYS[target]
    if target == "group_list" and number == 1:
        return "super_group"
    key = f"{prefix}{number}"
    return key if len(key) <= width else None


def _files_of_resources(rows: list[Row]) -> int:
    """How many config files there must be where a resource only says the file's name."""
    return len(
        {(row.values["p_id"], row.values["filename"]) for row in rows if row.noun == "resources" and row.arrives}
    )


def _made_of_images(rows: list[Row]) -> dict[str, int]:
    """The repositories, tags and states that the flat images need beside those that are there."""
    names = {row.values["id"]: row.values["full_name"] for row in rows if row.noun == "repositories"}
    tags = {
        row.values["id"]: (names.get(row.values["repository_id"]), row.values["name"])
        for row in rows
        if row.noun == "tags"
    }
    states = {tags.get(row.values["tag_id"]) for row in rows if row.noun == "statuses"}
    flat = [row for row in rows if row.noun == "allowed_images" and row.arrives]
    images = {(_full_name(row.values["name"]), row.values["tag"]) for row in flat}
    pulled = {(_full_name(row.values["name"]), row.values["tag"]) for row in flat if row.values["is_pulled"]}
    return {
        "container_repositories": len({name for name, _ in images} - set(names.values())),
        "container_tags": len(images - set(tags.values())),
        "cluster_image_status": len(pulled - states),
    }


def _full_name(image: str) -> str:
    """The name of an image with all that may be left away."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
