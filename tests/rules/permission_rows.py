"""What the permission matrix calls: at least one row for each route, more where it matters what it is called on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.factories import PASSWORD
from tests.rules import permission_world as make
from tests.rules.permission_world import MANIFEST, Ids, Maker, World

Body = dict[str, Any] | Callable[[World, Ids], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One line of the matrix: a route, and what it is called on. `has_self` says that there is somebody it is about.

    `planned`: the type of what is deleted; `{plan}` in the query is then the token of its plan.
    """

    method: str
    path: str
    about: str
    target: Maker = make.nothing
    body: Body | None = None
    query: str = ""
    has_self: bool = False
    planned: str = ""

    @property
    def route(self) -> str:
        """As the API's description writes it."""
        return f"{self.method} {self.path}"

    @property
    def title(self) -> str:
        """As the matrix writes it."""
        return f"{self.route}{self.query} ({self.about})" if self.about else f"{self.route}{self.query}"


def _row(route: str, target: Maker = make.nothing, about: str = "", body: Body | None = None, **more: Any) -> Row:
    method, path = route.split(" ")
    path, _, query = path.partition("?")
    path = path if path.startswith(("/healthz", "/readyz", "/metrics")) else f"/api/v1{path}"
    return Row(method, path, about, target, body, f"?{query}" if query else "", **more)


def _of_self(route: str, target: Maker = make.nothing, about: str = "", body: Body | None = None, **more: Any) -> Row:
    return _row(route, target, about, body, has_self=True, **more)


def _new_user(world: World, ids: Ids) -> dict[str, Any]:
    return {"username": world.fresh("new-user"), "password": PASSWORD}


def _new_member(world: World, ids: Ids) -> dict[str, Any]:
    return {"username": world.fresh("nobody")}


def _roster_of_new(world: World, ids: Ids) -> dict[str, Any]:
    return {"rows": [{"line": 2, "username": world.fresh("new-student"), "role": "user"}]}


def _roster_of_known(world: World, ids: Ids) -> dict[str, Any]:
    return {"rows": [{"line": 2, "username": ids["username"], "role": "user"}]}


def _image(world: World, ids: Ids) -> dict[str, Any]:
    return {"image_name": f"{world.fresh('wanted')}:1", "project_id": world.p_id}


def _image_for_all(world: World, ids: Ids) -> dict[str, Any]:
    return {"image_name": f"{world.fresh('wanted')}:1"}


def _password(world: World, ids: Ids) -> dict[str, Any]:
    return {"old_password": PASSWORD, "new_password": "another long password"}


OPERATIONS = [
    _row("GET /healthz"),
    _row("GET /readyz"),
    _row("GET /metrics", make.nothing_read_lately),
    _row("GET /openapi.json"),
    _row("GET /docs"),
]

SESSIONS = [
    _row("POST /sessions", body=lambda world, ids: {"username": "the-outsider", "password": PASSWORD}),
    _row("GET /sessions/current"),
    _row("DELETE /sessions/current", make.own_token),
    _row("GET /me"),
    _row("GET /tokens"),
    _of_self("GET /tokens?user_id={self}", make.member, "another's"),
    _row("POST /tokens", body={"name": "script", "scopes": ["tokens:write"]}),
    _of_self("GET /tokens/{token_id}", make.token_of_self, "another's"),
    _of_self("DELETE /tokens/{token_id}", make.token_of_self, "another's"),
]

USERS = [
    _row("GET /users"),
    _row("GET /users?g_id={g_id}", make.group, "of the group"),
    _row("POST /users", body=_new_user, about="registration closed"),
    _of_self("GET /users/{u_id}", make.member, "a member"),
    _of_self("PATCH /users/{u_id}", make.member, "full_name, email", {"full_name": "New Name"}),
    _of_self("PATCH /users/{u_id}", make.member, "username", lambda w, ids: {"username": w.fresh("renamed")}),
    _of_self("PATCH /users/{u_id}", make.member, "type", {"type": "oauth2"}),
    _of_self("PATCH /users/{u_id}", make.member, "status", {"status": "delete"}),
    _of_self("PATCH /users/{u_id}", make.user_admin, "user admin: username", {"username": "no-longer-admin"}),
    _of_self("PATCH /users/{u_id}", make.user_admin, "user admin: status", {"status": "delete"}),
    _of_self("PATCH /users/{u_id}", make.member, "deletion_protected", {"deletion_protected": True}),
    _of_self("DELETE /users/{u_id}", make.member, "without a plan"),
    _of_self("DELETE /users/{u_id}?plan={plan}", make.member, planned="user"),
    _of_self("DELETE /users/{u_id}", make.user_admin, "user admin"),
    _of_self("GET /users/{u_id}/groups", make.member, "a member's"),
    _of_self("PUT /users/{u_id}/password", make.member, "a member's", _password),
]

GROUPS = [
    _row("GET /groups"),
    _row("POST /groups", body=lambda world, ids: {"group_name": world.fresh("new-group")}),
    _row("POST /groups", about="name super", body={"group_name": "Super"}),
    _row("GET /groups/{g_id}", make.group),
    _row("GET /groups/{g_id}?include=members", make.group),
    _row("GET /groups/{g_id}", make.super_group, "group super"),
    _row("PATCH /groups/{g_id}", make.fresh_group, body={"description": "new"}),
    _row("PATCH /groups/{g_id}", make.super_group, "group super: group_name", {"group_name": "renamed"}),
    _row("PATCH /groups/{g_id}", make.fresh_group, "deletion_protected", {"deletion_protected": True}),
    _row("DELETE /groups/{g_id}", make.fresh_group, "without a plan"),
    _row("DELETE /groups/{g_id}?plan={plan}", make.fresh_group, planned="group"),
    _row("DELETE /groups/{g_id}", make.super_group, "group super"),
    _row("GET /groups/{g_id}/members", make.group),
    _row("POST /groups/{g_id}/members", make.newcomer, "role user", lambda w, ids: {"u_id": ids["new"]}),
    _row(
        "POST /groups/{g_id}/members",
        make.newcomer,
        "role manager",
        lambda w, ids: {"u_id": ids["new"], "role": "manager"},
    ),
    _row(
        "POST /groups/{g_id}/members", make.newcomer, "role admin", lambda w, ids: {"u_id": ids["new"], "role": "admin"}
    ),
    _row(
        "POST /groups/{g_id}/members",
        make.newcomer_of_super,
        "group super",
        lambda w, ids: {"u_id": ids["new"], "role": "admin"},
    ),
    _of_self("GET /groups/{g_id}/members/{u_id}", make.member),
    _of_self("PATCH /groups/{g_id}/members/{u_id}", make.member, "user to manager", {"role": "manager"}),
    _of_self("PATCH /groups/{g_id}/members/{u_id}", make.member, "user to admin", {"role": "admin"}),
    _of_self("PATCH /groups/{g_id}/members/{u_id}", make.group_admin, "admin to user", {"role": "user"}),
    _of_self("PATCH /groups/{g_id}/members/{u_id}", make.user_admin, "user admin in super", {"role": "user"}),
    _of_self("DELETE /groups/{g_id}/members/{u_id}", make.member, "a user"),
    _of_self("DELETE /groups/{g_id}/members/{u_id}", make.group_admin, "an admin"),
    _of_self("DELETE /groups/{g_id}/members/{u_id}", make.user_admin, "user admin in super"),
    _row("POST /groups/{g_id}/roster", make.newcomer, "people with an account", _roster_of_known),
    _row("POST /groups/{g_id}/roster", make.group, "new accounts", _roster_of_new),
    _row("POST /groups/{g_id}/roster", make.newcomer_of_super, "group super", _roster_of_known),
]

PROJECTS = [
    _row("GET /projects"),
    _row("POST /projects", make.group, body=lambda w, ids: {"project_name": "new", "g_id": w.g_id}),
    _row(
        "POST /projects",
        make.group,
        "gpu_quota",
        lambda w, ids: {"project_name": "new", "g_id": w.g_id, "gpu_quota": 1},
    ),
    _row(
        "POST /projects",
        make.group,
        "allow_privileged",
        lambda w, ids: {"project_name": "new", "g_id": w.g_id, "allow_privileged": True},
    ),
    _row("GET /projects/{p_id}", make.project),
    _row("GET /projects/{p_id}?include=config_files", make.project),
    _row("PATCH /projects/{p_id}", make.project, "name, description", {"project_name": "renamed"}),
    _row("PATCH /projects/{p_id}", make.project, "gpu_quota", {"gpu_quota": 4}),
    _row("PATCH /projects/{p_id}", make.project, "allow_privileged", {"allow_privileged": True}),
    _row("PATCH /projects/{p_id}", make.project, "deletion_protected", {"deletion_protected": True}),
    _row("DELETE /projects/{p_id}", make.project),
]

CONFIG_FILES = [
    _row("GET /projects/{p_id}/config-files", make.project),
    _row("POST /projects/{p_id}/config-files", make.project, body={"filename": "a.yaml", "content": MANIFEST}),
    _row("GET /config-files/{cf_id}", make.config_file),
    _row("PUT /config-files/{cf_id}", make.config_file, body={"content": MANIFEST}),
    _row("PATCH /config-files/{cf_id}", make.config_file, body=lambda w, ids: {"filename": f"{w.fresh('b')}.yaml"}),
    _row("DELETE /config-files/{cf_id}?plan={plan}", make.config_file, planned="config-file"),
    _row("GET /config-files/{cf_id}/resources", make.config_file),
    _row("GET /config-files/{cf_id}/resources/{r_id}", make.config_file),
]

FORMS = [
    _row("GET /forms"),
    _row("POST /forms", about="in the project", body=lambda w, ids: {"title": "Help", "project_id": w.p_id}),
    _row("POST /forms", about="without project", body={"title": "Help", "message": "please"}),
    _of_self("GET /forms/{form_id}", make.form, "of the project"),
    _of_self("GET /forms/{form_id}", make.form_without_project, "without project"),
    _of_self("PATCH /forms/{form_id}", make.form, "of the project: status", {"status": "Processing"}),
    _of_self("PATCH /forms/{form_id}", make.form, "of the project: title, tag", {"tag": "gpu"}),
    _of_self("PATCH /forms/{form_id}", make.form_without_project, "without project: status", {"status": "Completed"}),
    _of_self("DELETE /forms/{form_id}?plan={plan}", make.form, "of the project", planned="form"),
    _of_self("DELETE /forms/{form_id}?plan={plan}", make.form_without_project, "without project", planned="form"),
    _of_self("GET /forms/{form_id}/messages", make.form, "of the project"),
    _of_self("POST /forms/{form_id}/messages", make.form, "of the project", {"content": "An answer"}),
    _of_self("POST /forms/{form_id}/messages", make.form_without_project, "without project", {"content": "An answer"}),
    _of_self("GET /forms/{form_id}/messages/{message_id}", make.form, "of the project"),
    _of_self("DELETE /forms/{form_id}/messages/{message_id}", make.form, "own"),
    _of_self("DELETE /forms/{form_id}/messages/{message_id}", make.form_with_an_answer, "another's"),
]

IMAGES = [
    _row("GET /image-requests"),
    _row("POST /image-requests", about="for the project", body=_image),
    _row("POST /image-requests", about="for all", body=_image_for_all),
    _of_self("GET /image-requests/{request_id}", make.image_request, "of the project"),
    _of_self("GET /image-requests/{request_id}", make.image_request_for_all, "for all"),
    _of_self("POST /image-requests/{request_id}/approve", make.image_request, "of the project", {}),
    _of_self("POST /image-requests/{request_id}/approve", make.image_request, "is_global", {"is_global": True}),
    _of_self("POST /image-requests/{request_id}/approve", make.image_request_for_all, "for all", {}),
    _of_self("POST /image-requests/{request_id}/reject", make.image_request, "of the project", {"note": "too old"}),
    _of_self("DELETE /image-requests/{request_id}", make.image_request, "of the project"),
    _of_self("DELETE /image-requests/{request_id}", make.decided_image_request, "decided"),
    _of_self("DELETE /image-requests/{request_id}", make.image_request_for_all, "for all"),
    _row("GET /images"),
    _row("POST /images", about="for the project", body=_image),
    _row("POST /images", about="for all", body=_image_for_all),
    _row("GET /images/{image_id}", make.project_rule, "project's rule"),
    _row("GET /images/{image_id}", make.global_rule, "rule for all"),
    _row("PATCH /images/{image_id}", make.project_rule, "project's rule: disable", {"is_enabled": False}),
    _row("PATCH /images/{image_id}", make.disabled_project_rule, "project's rule: enable", {"is_enabled": True}),
    _row("PATCH /images/{image_id}", make.global_rule, "rule for all: disable", {"is_enabled": False}),
    _row("DELETE /images/{image_id}", make.project_rule, "project's rule"),
    _row("DELETE /images/{image_id}", make.global_rule, "rule for all"),
    _row("GET /repositories"),
    _row("POST /repositories", body=lambda world, ids: {"name": world.fresh("library/new")}),
    _row("GET /repositories/{repository_id}", make.repository),
    _row("GET /repositories/{repository_id}/tags", make.repository),
    _row("POST /repositories/{repository_id}/tags", make.repository, body={"name": "2.0"}),
    _row("GET /repositories/{repository_id}/tags/{tag_id}", make.repository),
    _row("PATCH /repositories/{repository_id}/tags/{tag_id}", make.repository, body={"size": 17}),
    _row("DELETE /repositories/{repository_id}?plan={plan}", make.repository, planned="repository"),
    _row("DELETE /repositories/{repository_id}/tags/{tag_id}", make.repository),
]

WORKLOADS = [
    _row("GET /workloads"),
    _row("POST /workloads", body=lambda w, ids: {"project_id": w.p_id, "name": "training", "image": "global:3.13"}),
    _of_self("GET /workloads/{workload_id}", make.workload),
    _of_self("PATCH /workloads/{workload_id}", make.workload, "status", {"status": "Succeeded"}),
    _of_self("PATCH /workloads/{workload_id}", make.workload, "name, priority", {"priority": 5}),
    _of_self("DELETE /workloads/{workload_id}?take_along=true", make.workload),
]

DELETIONS = [
    _row("POST /deletion-plans", make.project, body=lambda w, ids: {"type": "project", "id": ids["p_id"]}),
    _of_self("POST /deletion-plans", make.member, "a user", lambda w, ids: {"type": "user", "id": ids["u_id"]}),
    _row("GET /deletions"),
    _row("GET /deletions/{deletion_id}", make.deleted_file, "of a config file"),
    _of_self("GET /deletions/{deletion_id}", make.form_deleted_by_self, "of a form, by its author"),
    _row("POST /deletions/{deletion_id}/restore", make.deleted_group, "a group", {}),
    _row("POST /deletions/{deletion_id}/restore", make.deleted_project, "a project", {}),
    _row("POST /deletions/{deletion_id}/restore", make.deleted_file, "a config file", {}),
    _row("POST /deletions/{deletion_id}/restore", make.deleted_rule, "another's rule", {}),
    _of_self("POST /deletions/{deletion_id}/restore", make.form_deleted_by_self, "a form, by its author", {}),
    _of_self("POST /deletions/{deletion_id}/restore", make.removed_member, "a removed member", {}),
    _of_self("POST /deletions/{deletion_id}/restore", make.member_who_left, "a member who left", {}),
    _row("POST /deletions/{deletion_id}/restore", make.deleted_user, "a user", {}),
    _row("POST /deletions/{deletion_id}/purge", make.deleted_file, "a config file"),
    _of_self("POST /deletions/{deletion_id}/purge", make.form_deleted_by_self, "a form, by its author"),
    _row("POST /admin/cleanup/soft-deleted", make.nothing, "what would go", {"dry_run": True}),
    _row("POST /admin/cleanup/soft-deleted", body={}),
    _row("POST /admin/cleanup/audit-logs", make.nothing, "what would go", {"dry_run": True}),
    _row("POST /admin/cleanup/audit-logs", body={}),
]

STATISTICS = [
    _row("GET /admin/statistics/statements"),
    _row("GET /admin/statistics/indexes"),
    _row("GET /admin/statistics/tables"),
    _row("GET /admin/statistics/connections"),
    _row("GET /admin/statistics/orphans"),
]

JOBS = [
    _row("GET /jobs"),
    _row("GET /jobs/{job_id}", make.dead_letter),
    _row("POST /jobs/{job_id}/retry", make.dead_letter),
    _row("POST /jobs/{job_id}/discard", make.dead_letter),
    _row("GET /runs"),
    _row("GET /schedule"),
    _row("POST /schedule/{name}/run", make.periodic_job),
]

BACKUPS = [
    _row("GET /backups"),
    _row("POST /backups", make.no_backup_asked),
]

DOCTOR = [
    _row("GET /doctor", make.examination),
    _row("POST /doctor", make.no_examination_asked),
]

AUDIT = [
    _row("GET /audit-logs"),
    _row("GET /audit-logs?g_id={g_id}", make.group, "of the group"),
]

ROWS = [
    *OPERATIONS,
    *SESSIONS,
    *USERS,
    *GROUPS,
    *PROJECTS,
    *CONFIG_FILES,
    *FORMS,
    *IMAGES,
    *WORKLOADS,
    *DELETIONS,
    *STATISTICS,
    *JOBS,
    *BACKUPS,
    *DOCTOR,
    *AUDIT,
]
