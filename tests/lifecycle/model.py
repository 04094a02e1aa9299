"""The rules of deletion in plain Python, written from the specification and not from the product.

A row is known by its table and primary key. What hangs on what is `ALL_KEYS`, the list of foreign keys that is kept
by hand beside the tests of the keys.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holdfast.db.tables.groups import SUPER_GROUP_ID
from tests.db.test_foreign_keys import ALL_KEYS

RowId = tuple[str, tuple[str, ...]]
Values = dict[str, Any]

# Primary keys in the order in which schema.toml names their columns.
PRIMARY_KEYS = {
    "users": ("u_id",),
    "group_list": ("g_id",),
    "user_group": ("u_id", "g_id"),
    "project_list": ("p_id",),
    "config_files": ("cf_id",),
    "resources": ("r_id",),
    "forms": ("id",),
    "form_messages": ("id",),
    "container_repositories": ("id",),
    "container_tags": ("id",),
    "image_requests": ("id",),
    "image_allow_list": ("id",),
    "cluster_image_status": ("id",),
    "course_workloads": ("id",),
    "tokens": ("id",),
}
ROOT_TYPES = {
    "user": "users",
    "group": "group_list",
    "member": "user_group",
    "project": "project_list",
    "config-file": "config_files",
    "form": "forms",
    "form-message": "form_messages",
    "repository": "container_repositories",
    "tag": "container_tags",
    "image-request": "image_requests",
    "image": "image_allow_list",
    "workload": "course_workloads",
}
# Unique among live rows (schema.toml).
LIVE_UNIQUE = {
    "users": ("username",),
    "config_files": ("project_id", "filename"),
    "resources": ("cf_id", "name"),
    "container_repositories": ("full_name",),
    "container_tags": ("repository_id", "name"),
    "cluster_image_status": ("tag_id",),
    "course_workloads": ("k8s_pod_name",),
}
GPU_HOLDING = ("Pending", "Running")
OPEN_FORMS = ("Pending", "Processing")
# What a restore may give another name.
RENAMED = ("users", "config_files")
NO_NEW_NAMES: Mapping[RowId, str] = {}


@dataclass(frozen=True)
class ForeignKey:
    """`child.column` names the primary key of `parent`."""

    child: str
    column: str
    parent: str
    cascades: bool

    @property
    def name(self) -> str:
        return f"{self.child}.{self.column}"


def _foreign_keys() -> Iterator[ForeignKey]:
    for name, (target, rule) in ALL_KEYS.items():
        child, column = name.split(".")
        if child in PRIMARY_KEYS:
            yield ForeignKey(child, column, target.split(".")[0], rule == "CASCADE")


FOREIGN_KEYS = tuple(_foreign_keys())


@dataclass(frozen=True)
class Numbers:
    """What a plan says."""

    counts: dict[str, int]
    already_deleted: dict[str, int]
    set_null: dict[str, int]


@dataclass
class Bundle:
    """What the purges of a deletion took."""

    rows: dict[RowId, Values] = field(default_factory=dict)
    pointers: list[tuple[RowId, str, str]] = field(default_factory=list)
    # Audit rows per user that went.
    audit_rows: dict[str, int] = field(default_factory=dict)


@dataclass
class Deletion:
    """One deletion. `counts` is its manifest."""

    id: str
    root_type: str
    root: RowId
    counts: dict[str, int]
    made_at: datetime
    state: str = "deleted"
    bundle: Bundle | None = None
    purged_with: str | None = None


@dataclass
class Model:
    """All rows and deletions."""

    rows: dict[RowId, Values] = field(default_factory=dict)
    deletions: dict[str, Deletion] = field(default_factory=dict)

    def live(self, *tables: str) -> list[RowId]:
        """The live rows of some tables, oldest first."""
        return [row for row, values in self.rows.items() if row[0] in tables and values["deletion_id"] == ""]

    def closure(self, roots: Iterable[RowId], *, through_deleted: bool) -> set[RowId]:
        """The rows that hang by CASCADE on the roots, and the roots."""
        reached = set(roots)
        growing = True
        while growing:
            found = {
                row
                for row, values in self.rows.items()
                if row not in reached
                and (through_deleted or values["deletion_id"] == "")
                and any(parent in reached for parent in self.cascading_parents(row))
            }
            reached |= found
            growing = bool(found)
        return reached

    def cascading_parents(self, row: RowId) -> list[RowId]:
        """The rows with which a row goes."""
        return [parent for key, parent in self._named_by(row) if key.cascades]

    def numbers(self, root: RowId) -> Numbers:
        """The plan of a root's deletion."""
        whole = self.closure([root], through_deleted=True)
        pointers = self.pointers_into(whole)
        return Numbers(
            counts=_count(self.closure([root], through_deleted=False)),
            already_deleted=_count(row for row in whole if self.rows[row]["deletion_id"]),
            set_null=dict(Counter(f"{row[0]}.{column}" for row, column, _ in pointers)),
        )

    def decisions(self, root: RowId) -> set[str]:
        """What the caller must decide about before a root goes."""
        going = self.closure([root], through_deleted=False)
        found = set()
        if any(row[0] == "course_workloads" and self.rows[row]["status"] in GPU_HOLDING for row in going):
            found.add("running-workloads")
        if root[0] == "users" and any(
            self.rows[row]["created_by"] == root[1][0] and self.rows[row]["is_enabled"]
            for row in self.live("image_allow_list")
        ):
            found.add("enabled-rules")
        if root[0] in {"users", "user_group"} and any(self._is_last_admin(row) for row in going):
            found.add("last-admin")
        return found

    def protected(self, root: RowId) -> set[RowId]:
        """The rows that would go with a root and may not."""
        going = self.closure([root], through_deleted=False)
        return {row for row in going if self.rows[row].get("deletion_protected")}

    def hand_over(self, giver: str, heir: str) -> set[RowId]:
        """Give a user's enabled rules, open forms and admin seats to another; the rows that are new or other."""
        changed = set()
        for row in self.live("image_allow_list", "forms"):
            values = self.rows[row]
            column = "user_id" if row[0] == "forms" else "created_by"
            if values[column] == giver and (
                values["status"] in OPEN_FORMS if row[0] == "forms" else values["is_enabled"]
            ):
                values[column] = heir
                changed.add(row)
        for seat in self.live("user_group"):
            u_id, g_id = seat[1]
            if u_id == giver and self.rows[seat]["role"] == "admin" and g_id != SUPER_GROUP_ID:
                changed |= self._seat(heir, g_id)
        return changed

    def _seat(self, heir: str, g_id: str) -> set[RowId]:
        """Make somebody an admin of a group; whether it needed a row, another role, or the end of a removal."""
        row = ("user_group", (heir, g_id))
        values = self.rows.setdefault(row, {"u_id": heir, "g_id": g_id, "deletion_id": "", "role": ""})
        if values["deletion_id"] == "" and values["role"] == "admin":
            return set()
        if values["deletion_id"]:
            self.deletions[values["deletion_id"]].state = "restored"
        values.update(role="admin", deletion_id="")
        return {row}

    def _is_last_admin(self, seat: RowId) -> bool:
        if seat[0] != "user_group":
            return False
        group = self.rows[seat]["g_id"]
        admins = {
            row
            for row in self.live("user_group")
            if self.rows[row]["g_id"] == group and self.rows[row]["role"] == "admin"
        }
        return group != SUPER_GROUP_ID and admins == {seat}

    def pointers_into(self, going: set[RowId]) -> list[tuple[RowId, str, str]]:
        """The pointers of rows that stay to rows that go: row, column, value."""
        return [
            (row, key.column, parent[1][0])
            for row in self.rows
            if row not in going
            for key, parent in self._named_by(row)
            if not key.cascades and parent in going
        ]

    def delete(self, deletion_id: str, root_type: str, root: RowId, now: datetime) -> Deletion:
        """Mark a root and all live rows beneath it."""
        going = self.closure([root], through_deleted=False)
        for row in going:
            self.rows[row]["deletion_id"] = deletion_id
        deletion = Deletion(deletion_id, root_type, root, _count(going), now)
        self.deletions[deletion_id] = deletion
        return deletion

    def rows_of(self, deletion_id: str) -> set[RowId]:
        """The rows that bear a deletion."""
        return {row for row, values in self.rows.items() if values["deletion_id"] == deletion_id}

    def new_names(self, deletion: Deletion) -> dict[RowId, str]:
        """The free names of what would come back to a taken one: `web-restored.yaml`."""
        mine = self.rows_of(deletion.id)
        others = {
            row for row in self.rows if row[0] in RENAMED and (row in mine or self.rows[row]["deletion_id"] == "")
        }
        in_use = {self._name_of(row) for row in others}
        live_names = {self._name_of(row) for row in others - mine}
        found = {}
        for row in mine & others:
            *scope, name = self._name_of(row)
            if (*scope, name) in live_names:
                stem, dot, ending = name.rpartition(".") if row[0] == "config_files" else (name, "", "")
                numbered = (
                    f"{stem}-restored{number}{dot}{ending}" for number in ("", *(f"-{n}" for n in range(2, 21)))
                )
                found[row] = next(new for new in numbered if (*scope, new) not in in_use)
        return found

    def _name_of(self, row: RowId) -> tuple[str, ...]:
        return (row[0], *(self.rows[row][column] for column in LIVE_UNIQUE[row[0]]))

    def obstacles_to_restore(self, deletion: Deletion, new_names: dict[RowId, str]) -> set[str]:
        """Why a deletion cannot be restored, some of its rows under other names; nothing where it can."""
        if deletion.state != "deleted":
            return {"state"}
        if deletion.root_type == "config-file-update":
            return {"update"}
        rows = self.rows_of(deletion.id)
        found = {"name"} & self._taken_names({row: self.rows[row] for row in rows if row not in new_names})
        if _count(rows) != deletion.counts:
            found.add("counts")
        if any(
            self.rows[parent]["deletion_id"] not in {"", deletion.id}
            for row in rows
            for parent in self.cascading_parents(row)
        ):
            found.add("parent")
        if self._over_quota(rows):
            found.add("quota")
        return found

    def restore(self, deletion: Deletion, new_names: Mapping[RowId, str] = NO_NEW_NAMES) -> None:
        """Make the rows of a deletion live again."""
        for row in self.rows_of(deletion.id):
            self.rows[row]["deletion_id"] = ""
        for row, name in new_names.items():
            self.rows[row][LIVE_UNIQUE[row[0]][-1]] = name
        deletion.state = "restored"

    def purge(self, deletion: Deletion, audit_rows: dict[str, int]) -> dict[str, int]:
        """Remove the rows of a deletion and all beneath them, and empty the pointers of those that stay.

        How many rows went, per table. A second purge adds to what the first one kept.
        """
        going = self.closure(self.rows_of(deletion.id), through_deleted=True)
        pointers = self.pointers_into(going)
        for row, column, _ in pointers:
            self.rows[row][column] = None
        touched = {self.rows[row]["deletion_id"] for row in going} - {deletion.id}
        taken = {row: self.rows.pop(row) for row in list(self.rows) if row in going}
        for other in touched:
            if not self.rows_of(other):
                self.deletions[other].state = "purged"
                self.deletions[other].purged_with = deletion.id
        deletion.state = "purged"
        deletion.bundle = deletion.bundle or Bundle()
        deletion.bundle.rows |= taken
        deletion.bundle.pointers += pointers
        lost = {user: audit_rows[user] for table, (user, *_) in taken if table == "users" and user in audit_rows}
        deletion.bundle.audit_rows |= lost
        counts = _count(taken)
        return counts | ({"audit_logs": sum(lost.values())} if lost else {})

    def obstacles_to_recovery(self, deletion: Deletion) -> set[str]:
        """Why a bundle cannot be brought back."""
        assert deletion.bundle is not None
        if deletion.root_type == "config-file-update":
            return {"update"}
        coming = deletion.bundle.rows
        missing = {row: values for row, values in coming.items() if row not in self.rows}
        live = {row: values for row, values in missing.items() if self._comes_back_live(deletion, values)}
        found = {"name"} & self._taken_names(live)
        if any(self.rows[row] != self._with_known_pointers(coming, row) for row in coming.keys() - missing.keys()):
            found.add("differs")
        for row, values in missing.items():
            outside = {parent for key, parent in _named(row, values) if key.cascades} - coming.keys()
            gone = {parent for parent in outside if parent not in self.rows}
            if gone or (row in live and any(self.rows[parent]["deletion_id"] for parent in outside)):
                found.add("parent")
        return found

    def recover(self, deletion: Deletion) -> dict[str, int]:
        """Bring the rows of a bundle back, and make its own live; how many became live, per table.

        Rows of other deletions come back as deleted as they were, or live where that deletion was undone meanwhile.
        """
        assert deletion.bundle is not None
        coming = deletion.bundle.rows
        known = {row: self._with_known_pointers(coming, row) for row in coming if row not in self.rows}
        self.rows |= known
        for row, column, value in deletion.bundle.pointers:
            if row in self.rows and self.rows[row][column] is None:
                self.rows[row][column] = value
        alive = [row for row, values in self.rows.items() if row in coming and self._comes_back_live(deletion, values)]
        for row in alive:
            self.rows[row]["deletion_id"] = ""
        for other in {values["deletion_id"] for values in coming.values()} - {deletion.id}:
            if self.deletions[other].state == "purged":
                self.deletions[other].state = "deleted"
                self.deletions[other].purged_with = None
        deletion.state = "restored"
        deletion.purged_with = None
        return _count(alive)

    def _comes_back_live(self, deletion: Deletion, values: Values) -> bool:
        borne = values["deletion_id"]
        return borne != "" and (borne == deletion.id or self.deletions[borne].state == "restored")

    def _with_known_pointers(self, coming: dict[RowId, Values], row: RowId) -> Values:
        """A row of a bundle, its pointers emptied where their target is gone."""
        values = dict(coming[row])
        for key, target in _named(row, values):
            if not key.cascades and target not in self.rows and target not in coming:
                values[key.column] = None
        return values

    def _named_by(self, row: RowId) -> list[tuple[ForeignKey, RowId]]:
        return _named(row, self.rows[row])

    def _taken_names(self, coming: dict[RowId, Values]) -> set[str]:
        taken = {
            (table, *(self.rows[row][column] for column in LIVE_UNIQUE[table]))
            for row in self.live(*LIVE_UNIQUE)
            for table in (row[0],)
        }
        wanted = [
            (row[0], *(values[column] for column in LIVE_UNIQUE[row[0]]))
            for row, values in coming.items()
            if row[0] in LIVE_UNIQUE
        ]
        return {"name"} if taken & set(wanted) else set()

    def _over_quota(self, coming: set[RowId]) -> bool:
        projects = {self.rows[row]["project_id"] for row in coming if row[0] == "course_workloads"}
        for project in projects:
            # One that comes back itself does so as it was, though a recovery may have put more into it than it may use.
            if self.rows["project_list", (project,)]["deletion_id"]:
                continue
            asked = _gpus(self.rows[row] for row in coming if self.rows[row].get("project_id") == project)
            held = _gpus(
                self.rows[row] for row in self.live("course_workloads") if self.rows[row]["project_id"] == project
            )
            if asked and asked + held > self.rows["project_list", (project,)]["gpu_quota"]:
                return True
        return False


def _named(row: RowId, values: Values) -> list[tuple[ForeignKey, RowId]]:
    return [
        (key, (key.parent, (values[key.column],)))
        for key in FOREIGN_KEYS
        if key.child == row[0] and values[key.column] is not None
    ]


def _count(rows: Iterable[RowId]) -> dict[str, int]:
    return dict(Counter(table for table, _ in rows))


def _gpus(workloads: Iterable[Values]) -> int:
    return sum(values.get("resource_gpu") or 0 for values in workloads if values.get("status") in GPU_HOLDING)
