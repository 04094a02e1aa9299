"""What a successful call of each route leaves in the audit log (X-07), and the routes that leave nothing, with why."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recorded:
    """The entry about the thing itself; there may be more, about what came with it.

    `resource_id` is filled in from the ids that the route is called with, `{answer[…]}`, `{deletion[…]}` for the
    deletion that it is about, and `{actor}`; a * stands for any letters. `actor` is the role whose the entry is.
    """

    action: str
    resource_type: str
    resource_id: str
    actor: str = "super"


@dataclass(frozen=True)
class Unrecorded:
    """Why a route writes no entry, and the tables that it may change all the same."""

    reason: str
    tables: frozenset[str] = field(default_factory=frozenset)


_MEMBER = "{g_id}/{u_id}"
_ASKS = Unrecorded(
    "it asks the worker for a job, whose entries name each thing that goes and bear the name of whoever asked",
    frozenset({"jobs"}),
)

RECORDED: dict[str, Recorded] = {
    "POST /api/v1/sessions": Recorded("login", "user", "{answer[user][u_id]}", actor="outsider"),
    "DELETE /api/v1/sessions/current": Recorded("logout", "user", "{actor}"),
    "POST /api/v1/tokens": Recorded("create", "token", "{answer[id]}"),
    "DELETE /api/v1/tokens/{token_id}": Recorded("revoke", "token", "{token_id}"),
    "POST /api/v1/users": Recorded("create", "user", "{answer[u_id]}"),
    "PATCH /api/v1/users/{u_id}": Recorded("update", "user", "{u_id}"),
    "DELETE /api/v1/users/{u_id}": Recorded("delete", "user", "{u_id}"),
    "PUT /api/v1/users/{u_id}/password": Recorded("update", "user", "{u_id}"),
    "POST /api/v1/groups": Recorded("create", "group", "{answer[g_id]}"),
    "PATCH /api/v1/groups/{g_id}": Recorded("update", "group", "{g_id}"),
    "DELETE /api/v1/groups/{g_id}": Recorded("delete", "group", "{g_id}"),
    "POST /api/v1/groups/{g_id}/members": Recorded("create", "member", "{g_id}/{new}"),
    "PATCH /api/v1/groups/{g_id}/members/{u_id}": Recorded("update", "member", _MEMBER),
    "DELETE /api/v1/groups/{g_id}/members/{u_id}": Recorded("delete", "member", _MEMBER),
    "POST /api/v1/groups/{g_id}/roster": Recorded("create", "member", "{g_id}/{new}"),
    "POST /api/v1/projects": Recorded("create", "project", "{answer[p_id]}"),
    "PATCH /api/v1/projects/{p_id}": Recorded("update", "project", "{p_id}"),
    "DELETE /api/v1/projects/{p_id}": Recorded("delete", "project", "{p_id}"),
    "POST /api/v1/projects/{p_id}/config-files": Recorded("create", "config-file", "{answer[cf_id]}"),
    "PUT /api/v1/config-files/{cf_id}": Recorded("update", "config-file", "{cf_id}"),
    "PATCH /api/v1/config-files/{cf_id}": Recorded("update", "config-file", "{cf_id}"),
    "DELETE /api/v1/config-files/{cf_id}": Recorded("delete", "config-file", "{cf_id}"),
    "POST /api/v1/forms": Recorded("create", "form", "{answer[id]}"),
    "PATCH /api/v1/forms/{form_id}": Recorded("update", "form", "{form_id}"),
    "DELETE /api/v1/forms/{form_id}": Recorded("delete", "form", "{form_id}"),
    "POST /api/v1/forms/{form_id}/messages": Recorded("create", "form-message", "{answer[id]}"),
    "DELETE /api/v1/forms/{form_id}/messages/{message_id}": Recorded("delete", "form-message", "{message_id}"),
    "POST /api/v1/image-requests": Recorded("create", "image-request", "{answer[id]}"),
    "POST /api/v1/image-requests/{request_id}/approve": Recorded("approve", "image-request", "{request_id}"),
    "POST /api/v1/image-requests/{request_id}/reject": Recorded("reject", "image-request", "{request_id}"),
    "DELETE /api/v1/image-requests/{request_id}": Recorded("delete", "image-request", "{request_id}"),
    "POST /api/v1/images": Recorded("create", "image", "{answer[id]}"),
    "PATCH /api/v1/images/{image_id}": Recorded("update", "image", "{image_id}"),
    "DELETE /api/v1/images/{image_id}": Recorded("delete", "image", "{image_id}"),
    "POST /api/v1/repositories": Recorded("create", "repository", "{answer[id]}"),
    "DELETE /api/v1/repositories/{repository_id}": Recorded("delete", "repository", "{repository_id}"),
    "POST /api/v1/repositories/{repository_id}/tags": Recorded("create", "tag", "{answer[id]}"),
    "PATCH /api/v1/repositories/{repository_id}/tags/{tag_id}": Recorded("update", "tag", "{tag_id}"),
    "DELETE /api/v1/repositories/{repository_id}/tags/{tag_id}": Recorded("delete", "tag", "{tag_id}"),
    "POST /api/v1/workloads": Recorded("create", "workload", "{answer[id]}"),
    "PATCH /api/v1/workloads/{workload_id}": Recorded("update", "workload", "{workload_id}"),
    "DELETE /api/v1/workloads/{workload_id}": Recorded("delete", "workload", "{workload_id}"),
    "POST /api/v1/jobs/{job_id}/retry": Recorded("update", "job", "{job_id}"),
    "POST /api/v1/jobs/{job_id}/discard": Recorded("delete", "job", "{job_id}"),
    "POST /api/v1/doctor": Recorded("create", "examination", "{answer[job_id]}"),
    "POST /api/v1/backups": Recorded("create", "backup", "{answer[job_id]}"),
    "POST /api/v1/schedule/{name}/run": Recorded("update", "job", "{job_id}"),
    "POST /api/v1/deletions/{deletion_id}/restore": Recorded("restore", "{deletion[root_type]}", "{deletion[root_id]}"),
    "POST /api/v1/deletions/{deletion_id}/purge": Recorded("purge", "{deletion[root_type]}", "{deletion[root_id]}"),
}

# Where a row of the permission matrix is called on something else than the others of its route, by its title.
RECORDED_BY_TITLE: dict[str, Recorded] = {
    # Each new account has an entry of its own, whose id nobody knows before.
    "POST /api/v1/groups/{g_id}/roster (new accounts)": Recorded("create", "member", "{g_id}/*"),
}

UNRECORDED: dict[str, Unrecorded] = {
    "POST /api/v1/deletion-plans": Unrecorded("it only counts what a deletion would take; the plan is not kept"),
    "POST /api/v1/admin/cleanup/soft-deleted": _ASKS,
    "POST /api/v1/admin/cleanup/audit-logs": _ASKS,
}
