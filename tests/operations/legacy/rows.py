"""Rows of an older schema, and those in which nothing is wrong.

Every row has a name by which a test asks for it. Times are UTC without a zone, as the hand-written schemas kept them.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import yaml

from tests.operations.legacy.flavours import WELL_KNOWN_ADMIN_HASH

START = datetime(2025, 10, 1, 8)  # noqa: DTZ001 # The hand-written schemas kept no zone.
# As the older program hashed it.
OLD_PASSWORD = "the word of older times"
OLD_HASH = "$2a$10$xniYcnFfEbx2QrgW.e6T.eICNAgIORfdOffctbz4fe2aKxvwAcfI6"


class Reason(StrEnum):
    """Why a row becomes another one, or is left out."""

    ORPHAN = "orphan"
    RENAMED = "renamed"
    DUPLICATE = "duplicate"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_VALUE = "unknown_value"
    CASE_FOLDED = "case_folded"
    YEAR_ONE = "year_one"
    NO_TIME = "no_time"
    HASHED_ID = "hashed_id"
    KEY_CLASH = "key_clash"
    OLDER_TABLE = "older_table"
    MERGED = "merged"
    TRUNCATED = "truncated"
    FILLED = "filled"
    CLAMPED = "clamped"
    CONTENT_REBUILT = "content_rebuilt"
    DOCUMENT_REBUILT = "document_rebuilt"
    MADE_FROM_ROWS = "made_from_rows"
    PASSWORD_RESET = "password_reset"
    SECOND_SUPER = "second_super"
    SOFT_DELETED = "soft_deleted"
    DELETED_WITH_PARENT = "deleted_with_parent"
    UNLINKED = "unlinked"
    GLOBAL_RULE = "global_rule"
    STRUCTURED = "structured"
    REFERENCES_RESOLVED = "references_resolved"
    NO_TARGET = "no_target"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row under its noun, with the columns of February 2026.

    It is there in the flavours that have its noun, let all that it `needs` and nothing that it `lacks`. `becomes`
    holds columns of Holdfast's row whose values are sure, `mentions` ids that its text must name.
    """

    noun: str
    name: str
    values: Mapping[str, Any]
    reasons: frozenset[Reason] = frozenset()
    arrives: bool = True
    needs: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    becomes: Mapping[str, Any] = {}
    mentions: tuple[str, ...] = ()


def at(days: float) -> datetime:
    """So many days after the first row."""
    return START + timedelta(days=days)


def group(number: int, name: str, **values: Any) -> dict[str, Any]:
    times = {"create_at": at(number), "update_at": at(number + 1)}
    return {"g_id": number, "group_name": name, "description": None, **times, **values}


def user(number: int, username: str, **values: Any) -> dict[str, Any]:
    return {
        "u_id": number,
        "username": username,
        "password": OLD_HASH,
        "email": f"{username}@lab.example",
        "full_name": username.title(),
        "type": "origin",
        "status": "offline",
        "create_at": at(number),
        "update_at": at(number + 1),
        **values,
    }


def membership(number: int, u_id: int, g_id: int, role: str = "user", **values: Any) -> dict[str, Any]:
    times = {"create_at": at(number), "update_at": at(number + 1)}
    return {"id": number, "u_id": u_id, "g_id": g_id, "role": role, **times, **values}


def project(number: int, name: str, g_id: int, **values: Any) -> dict[str, Any]:
    return {
        "p_id": number,
        "project_name": name,
        "description": f"The project {name}",
        "g_id": g_id,
        "gpu_quota": 2,
        "gpu_access": "shared",
        "mps_limit": 100,
        "mps_memory": 0,
        "create_at": at(number),
        "update_at": at(number + 1),
        **values,
    }


def document(kind: str, name: str) -> dict[str, Any]:
    """A Kubernetes object, as the older programs parsed it."""
    versions = {"Deployment": "apps/v1", "Ingress": "networking.k8s.io/v1"}
    return {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": {"name": name}}


def config_file(
    number: int, filename: str, project_id: int, *documents: dict[str, Any], **values: Any
) -> dict[str, Any]:
    return {
        "cf_id": number,
        "filename": filename,
        "content": yaml.safe_dump_all(documents, sort_keys=False),
        "minio_path": f"projects/{project_id}/{filename}",
        "project_id": project_id,
        "create_at": at(number),
        **values,
    }


def resource(number: int, file: Mapping[str, Any], kind: str, name: str, **values: Any) -> dict[str, Any]:
    """An object of a config file; `p_id` and `filename` are what it had before there were config files."""
    return {
        "r_id": number,
        "cf_id": file["cf_id"],
        "p_id": file["project_id"],
        "filename": file["filename"],
        "type": kind,
        "name": name,
        "parsed_yaml": json.dumps(document(kind, name)),
        "description": None,
        "create_at": at(number),
        **values,
    }


def times(number: int, **values: Any) -> dict[str, Any]:
    """The three times of the ORM's models."""
    return {"created_at": at(number), "updated_at": at(number + 1), "deleted_at": None, **values}


def form(number: int, user_id: int, project_id: int | None, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "user_id": user_id,
        "project_id": project_id,
        "title": f"Question {number}",
        "description": "More memory, please",
        "tag": "quota",
        "status": "Pending",
        **times(number),
        **values,
    }


def message(number: int, form_id: int, user_id: int, **values: Any) -> dict[str, Any]:
    text = f"Message {number}: 看起來不錯 \U0001f44d"
    return {"id": number, "form_id": form_id, "user_id": user_id, "content": text, "created_at": at(number), **values}


def repository(number: int, registry: str, path: str, **values: Any) -> dict[str, Any]:
    namespace, _, name = path.rpartition("/")
    named = {"registry": registry, "namespace": namespace, "name": name, "full_name": f"{registry}/{path}"}
    return {"id": number, **named, **times(number), **values}


def tag(number: int, repository_id: int, name: str, **values: Any) -> dict[str, Any]:
    contents = {"digest": f"sha256:{number:064x}", "size": 1_000_000 * number, "pushed_at": at(number)}
    return {"id": number, "repository_id": repository_id, "name": name, **contents, **times(number), **values}


def request(number: int, user_id: int, project_id: int | None, image: str, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "user_id": user_id,
        "project_id": project_id,
        "input_registry": "docker.io",
        "input_image_name": image,
        "input_tag": "1.27",
        "status": "pending",
        "reviewer_id": None,
        "reviewed_at": None,
        "reviewer_note": None,
        **times(number),
        **values,
    }


def rule(number: int, repository_id: int, tag_id: int | None, **values: Any) -> dict[str, Any]:
    about = {"project_id": None, "request_id": None, "created_by": 2, "is_enabled": True}
    return {"id": number, "repository_id": repository_id, "tag_id": tag_id, **about, **times(number), **values}


def status(number: int, tag_id: int, **values: Any) -> dict[str, Any]:
    pulled = {"is_pulled": True, "last_pulled_at": at(number), "pull_error": None}
    return {"id": number, "tag_id": tag_id, **pulled, **times(number), **values}


def flat_request(number: int, user_id: int, name: str, tag_name: str, **values: Any) -> dict[str, Any]:
    asked = {"project_id": 1, "name": name, "tag": tag_name, "status": "pending", "note": "for the course"}
    return {"id": number, "user_id": user_id, **asked, **times(number), **values}


def allowed_image(number: int, name: str, tag_name: str, project_id: int | None, **values: Any) -> dict[str, Any]:
    about = {"is_global": False, "is_pulled": False, "created_by": 2}
    return {"id": number, "name": name, "tag": tag_name, "project_id": project_id, **about, **times(number), **values}


def workload(number: int, user_id: int, project_id: int, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "user_id": user_id,
        "project_id": project_id,
        "name": f"course-{number}",
        "namespace": f"proj-{project_id}",
        "image": "nginx:1.27",
        "status": "Running",
        "k8s_pod_name": f"course-{number}-pod",
        "priority": 1000,
        "resource_cpu": "500m",
        "resource_mem": "1Gi",
        "resource_gpu": 1,
        "created_at": at(number),
        "updated_at": at(number + 1),
        "started_at": at(number + 0.5),
        **values,
    }


def audit(number: int, user_id: int, resource_type: str, resource_id: str, **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "user_id": user_id,
        "action": "create",
        "resource_type": resource_type,
        "resource_id": resource_id,
        "old_data": None,
        "new_data": json.dumps({"id": number, "name": "naïve ☃"}),
        "ip_address": "10.0.0.7",
        "user_agent": "curl/8.0",
        "description": "",
        "created_at": at(number),
        **values,
    }


WEB = config_file(1, "web.yaml", 1, document("Deployment", "web"), document("Service", "web"))
SETTINGS = config_file(2, "settings.yaml", 2, document("ConfigMap", "settings"), document("Ingress", "front"))
TRAINER = config_file(3, "訓練.yaml", 1, document("Pod", "trainer"))
OTHER_WEB = config_file(4, "web.yaml", 2, document("Service", "other"))
_TEXT_LACKS = frozenset({"numbers in audit"})


def good_resource(number: int, file: Mapping[str, Any], kind: str, name: str) -> Row:
    """A resource with what Holdfast calls it."""
    becomes = {"type": kind.lower(), "name": f"{kind.lower()}/{name}"}
    return Row(
        noun="resources",
        name=f"{kind.lower()} {name}",
        values=resource(number, file, kind, name),
        becomes=becomes,
    )


def _good(noun: str, name: str, values: Mapping[str, Any], **about: Any) -> Row:
    return Row(noun=noun, name=name, values=values, **about)


def _no_target(noun: str, name: str, values: Mapping[str, Any]) -> Row:
    return Row(noun=noun, name=name, values=values, reasons=frozenset({Reason.NO_TARGET}), arrives=False)


def _resolved(*mentions: str) -> dict[str, Any]:
    return {"reasons": frozenset({Reason.REFERENCES_RESOLVED}), "mentions": mentions}


_PEOPLE = (
    # The first administrator is a row of the hand-written scripts; elsewhere the older program made it.
    _good("groups", "super", group(1, "super"), lacks=frozenset({"no admin"}), becomes={"group_name": "super"}),
    _good("groups", "physics", group(2, "physics", description="Läßt 'quotes' and \\ in peace")),
    _good("groups", "robotics", group(3, "robotics")),
    _good("groups", "lecture", group(7, "lecture")),
    _good(
        "users",
        "admin",
        user(1, "admin", password=WELL_KNOWN_ADMIN_HASH, email="", full_name="Administrator"),
        lacks=frozenset({"no admin"}),
        reasons=frozenset({Reason.PASSWORD_RESET}),
        becomes={"username": "admin"},
    ),
    _good("users", "mei", user(2, "mei", full_name="林美")),
    _good("users", "noah", user(3, "noah", email=None, full_name=None)),
    _good("users", "olga", user(4, "olga", status="online")),
    _good("users", "gone", user(5, "gone", status="delete"), becomes={"status": "delete"}),
    _good("users", "guest", user(6, "guest", type="oauth2"), becomes={"type": "oauth2"}),
    _good("memberships", "admin in super", membership(1, 1, 1, "admin"), lacks=frozenset({"no admin"})),
    _good("memberships", "mei in physics", membership(2, 2, 2, "admin")),
    _good("memberships", "noah in physics", membership(3, 3, 2, "manager")),
    _good("memberships", "olga in physics", membership(4, 4, 2)),
    _good("memberships", "noah in robotics", membership(5, 3, 3, "admin")),
    _good("memberships", "gone in robotics", membership(6, 5, 3)),
    _good("memberships", "noah in lecture", membership(7, 3, 7)),
)
_PROJECTS = (
    _good("projects", "lattice", project(1, "lattice", 2, gpu_quota=4)),
    _good("projects", "arm", project(2, "arm", 3, gpu_quota=0, gpu_access="none")),
    _good("projects", "archive", project(3, "archive", 2, description=None)),
    _good("config_files", "web.yaml", WEB, becomes={"filename": "web.yaml"}),
    _good("config_files", "settings.yaml", SETTINGS),
    _good("config_files", "trainer.yaml", TRAINER),
    _good("config_files", "the other web.yaml", OTHER_WEB, becomes={"filename": "web.yaml"}),
    good_resource(1, WEB, "Deployment", "web"),
    good_resource(2, WEB, "Service", "web"),
    good_resource(3, SETTINGS, "ConfigMap", "settings"),
    good_resource(4, SETTINGS, "Ingress", "front"),
    good_resource(5, TRAINER, "Pod", "trainer"),
    good_resource(6, OTHER_WEB, "Service", "other"),
)
_FORMS = (
    _good("forms", "quota", form(1, 4, 1)),
    _good("forms", "no project", form(2, 3, None, status="Completed", tag=None)),
    _good("messages", "asked", message(1, 1, 4)),
    _good("messages", "answered", message(2, 1, 2)),
    _good("workloads", "running", workload(1, 4, 1)),
    _good("workloads", "waiting", workload(2, 3, 2, status="Pending", resource_gpu=None, started_at=None)),
)
_IMAGES = (
    _good("repositories", "nginx", repository(1, "docker.io", "library/nginx")),
    _good("repositories", "trainer", repository(2, "ghcr.io", "lab/trainer")),
    _good("tags", "nginx 1.27", tag(1, 1, "1.27")),
    _good("tags", "nginx latest", tag(2, 1, "latest", digest=None, size=None, pushed_at=None)),
    _good("tags", "trainer v2", tag(3, 2, "v2")),
    _good(
        "requests",
        "nginx for lattice",
        request(1, 4, 1, "library/nginx", status="approved", reviewer_id=2, reviewed_at=at(2), reviewer_note="fine"),
    ),
    _good("requests", "pending", request(2, 3, None, "lab/trainer", input_registry="ghcr.io", input_tag="v2")),
    _good("rules", "nginx in lattice", rule(1, 1, 1, project_id=1, request_id=1)),
    _good("rules", "every trainer", rule(2, 2, None), becomes={"project_id": None, "tag_id": None}),
    _good("statuses", "nginx pulled", status(1, 1)),
    _good(
        "statuses", "trainer failed", status(2, 3, is_pulled=False, last_pulled_at=None, pull_error="manifest unknown")
    ),
)
_GLOBAL = frozenset({Reason.GLOBAL_RULE})
_FLAT_IMAGES = (
    _good(
        "flat_requests",
        "flat nginx",
        flat_request(101, 4, "nginx", "1.27"),
        becomes={"input_tag": "1.27"},
    ),
    _good(
        "flat_requests",
        "flat with port",
        flat_request(102, 3, "registry.lab:5000/team/app", "edge", project_id=None, status="approved"),
        becomes={"input_tag": "edge", "project_id": None},
    ),
    _good(
        "allowed_images",
        "flat nginx of lattice",
        allowed_image(1, "nginx", "1.27", 1, is_pulled=True),
        becomes={"project_id": "proj_1"},
    ),
    _good(
        "allowed_images",
        "the same nginx written out",
        allowed_image(2, "docker.io/library/nginx", "1.27", 2),
        becomes={"project_id": "proj_2"},
    ),
    _good(
        "allowed_images",
        "global trainer",
        allowed_image(3, "ghcr.io/lab/trainer", "v2", None, is_global=True, is_pulled=True),
        reasons=_GLOBAL,
        becomes={"project_id": None},
    ),
    _good(
        "allowed_images",
        "python without project",
        allowed_image(4, "python", "3.12", None),
        reasons=_GLOBAL,
        becomes={"project_id": None},
    ),
    _good(
        "allowed_images",
        "global redis with a project",
        allowed_image(5, "redis", "7", 1, is_global=True),
        reasons=_GLOBAL,
        becomes={"project_id": None},
    ),
)
_AUDIT = (
    _good("audit", "by number", audit(1, 2, "project", "1")),
    _good("audit", "p_id", audit(2, 2, "project", "p_id=1"), lacks=_TEXT_LACKS, **_resolved("proj_1")),
    _good(
        "audit",
        "u_id,g_id",
        audit(3, 3, "user_group", "u_id=3,g_id=7"),
        lacks=_TEXT_LACKS,
        **_resolved("user_3", "group_7"),
    ),
    _good(
        "audit", "cf_id", audit(4, 2, "config_file", "cf_id=1"), lacks=_TEXT_LACKS | {"no files"}, **_resolved("cf_1")
    ),
    _good(
        "audit",
        "in the description",
        audit(5, 3, "user_group", "3", description="added u_id=3,g_id=7"),
        **_resolved("user_3", "group_7"),
    ),
    # What a text names may be long gone; then it stays as it is.
    _good(
        "audit",
        "of a row that is gone",
        audit(6, 2, "user_group", "u_id=424242,g_id=7"),
        lacks=_TEXT_LACKS,
        mentions=("u_id=424242",),
    ),
)
_WITHOUT_TARGET = (
    _no_target(
        "jobs",
        "job",
        {
            "id": 1,
            "user_id": 4,
            "project_id": 1,
            "name": "sweep",
            "namespace": "proj-1",
            "image": "ghcr.io/lab/trainer:v2",
            "status": "Pending",
            "job_type": "mpi",
            "priority": "low",
            "k8s_job_name": "sweep-1",
            "command": "python sweep.py",
            "gpu_count": 2,
            "mp_iprocesses": 4,
            "created_at": at(1),
            "updated_at": at(2),
        },
    ),
    _no_target("job_logs", "job log", {"id": 1, "job_id": 1, "content": "epoch 1"}),
    _no_target(
        "job_checkpoints",
        "checkpoint",
        {"id": 1, "job_id": 1, "checkpoint_num": 1, "path": "/data/1", "created_at": at(1)},
    ),
    _no_target(
        "gpu_requests",
        "more GPUs",
        {
            "id": 1,
            "project_id": 1,
            "requester_id": 4,
            "type": "quota",
            "requested_quota": 8,
            "requested_access_type": "",
            "reason": "a deadline",
            "status": "pending",
            **times(1),
        },
    ),
    _no_target(
        "group_pvcs",
        "group volume",
        {
            "id": "group-2-a1b2c3",
            "name": "shared",
            "group_id": 2,
            "namespace": "group-2",
            "pvc_name": "group-2-shared",
            "size": "100Gi",
            "capacity": 100,
            "created_by": 2,
            **times(1),
        },
    ),
    _no_target(
        "storage_permissions",
        "permission",
        {"id": 1, "group_id": 2, "pvc_id": "group-2-a1b2c3", "user_id": 4, "permission": "read", "granted_by": 2},
    ),
    _no_target(
        "storage_policies",
        "policy",
        {"id": 1, "group_id": 2, "pvc_id": "group-2-a1b2c3", "default_permission": "read", "created_by": 2, **times(1)},
    ),
    _no_target(
        "pvc_bindings",
        "binding",
        {"id": 1, "project_id": 1, "group_pvc_id": "group-2-a1b2c3", "pvc_name": "bound", "namespace": "proj-1"},
    ),
    _no_target(
        "pvcs", "volume", {"id": 1, "name": "home", "namespace": "user-mei", "size": "10Gi", "project_id": None}
    ),
    _no_target("storage_hubs", "hub", {"id": 1, "name": "hub", "namespace": "group-2", "pvc_name": "group-2-shared"}),
)
GOOD_ROWS = (*_PEOPLE, *_PROJECTS, *_FORMS, *_IMAGES, *_FLAT_IMAGES, *_AUDIT, *_WITHOUT_TARGET)
