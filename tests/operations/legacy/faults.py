"""Everything that may be wrong in an older schema, planted under names, and what must become of each row."""

from collections.abc import Mapping
from typing import Any

from tests.operations.legacy.rows import (
    SETTINGS,
    WEB,
    Reason,
    Row,
    allowed_image,
    at,
    audit,
    config_file,
    document,
    flat_request,
    form,
    group,
    membership,
    message,
    project,
    repository,
    request,
    resource,
    rule,
    status,
    tag,
    times,
    user,
    workload,
)

YEAR_ONE = at(0).replace(year=1, month=1, day=1, hour=0)
NOBODY = 999
# Nine quintillion: beyond what a float keeps, and with any prefix too long for a key.
WIDE = 9_007_199_254_740_993_123
WIDEST_THAT_FITS = 999_999_999_999_999


def _changed(noun: str, name: str, reason: Reason, values: Mapping[str, Any], *needs: str, **about: Any) -> Row:
    return Row(noun=noun, name=name, values=values, reasons=frozenset({reason}), needs=frozenset(needs), **about)


def _left_out(noun: str, name: str, reason: Reason, values: Mapping[str, Any], *needs: str) -> Row:
    return _changed(noun, name, reason, values, *needs, arrives=False)


def _kept(noun: str, name: str, values: Mapping[str, Any], *needs: str, **about: Any) -> Row:
    return Row(noun=noun, name=name, values=values, needs=frozenset(needs), **about)


def _orphan(noun: str, name: str, values: Mapping[str, Any], *needs: str) -> Row:
    return _left_out(noun, name, Reason.ORPHAN, values, *needs)


_LOST_FILE = config_file(160, "lost.yaml", 160, document("Pod", "lost"))
_HOMELESS_FILE = config_file(161, "homeless.yaml", NOBODY, document("Pod", "homeless"))
_NO_FILE = {"cf_id": NOBODY, "project_id": NOBODY, "filename": "nowhere.yaml"}
_ORPHANS = (
    _orphan("memberships", "of nobody", membership(160, NOBODY, 2), "loose memberships"),
    _orphan("memberships", "in no group", membership(161, 2, NOBODY), "loose memberships"),
    _orphan("projects", "of no group", project(160, "lost", NOBODY), "loose projects"),
    # These two have parents, which are orphans themselves.
    _orphan("config_files", "in an orphan", _LOST_FILE, "loose projects", "loose config_files"),
    _orphan(
        "resources", "in an orphan", resource(160, _LOST_FILE, "Pod", "lost"), "loose projects", "loose config_files"
    ),
    _orphan("config_files", "of no project", _HOMELESS_FILE, "loose config_files"),
    _orphan("resources", "of no project", resource(161, _HOMELESS_FILE, "Pod", "homeless"), "loose config_files"),
    _orphan("resources", "of no file", resource(162, _NO_FILE, "Pod", "nowhere"), "loose resources"),
    _orphan("forms", "of nobody", form(160, NOBODY, 1), "loose forms"),
    _orphan("forms", "of no project", form(161, 4, NOBODY), "loose forms"),
    _orphan("messages", "on an orphan", message(162, 161, 4), "loose forms"),
    _orphan("messages", "of nobody", message(160, 1, NOBODY), "loose messages"),
    _orphan("messages", "on no form", message(161, NOBODY, 4), "loose forms"),
    _orphan("tags", "of no repository", tag(160, NOBODY, "v1"), "loose tags"),
    _orphan("requests", "of nobody", request(160, NOBODY, 1, "nginx"), "loose requests"),
    _orphan("requests", "for no project", request(161, 4, NOBODY, "nginx"), "loose requests"),
    _changed(
        "requests",
        "reviewed by nobody",
        Reason.UNLINKED,
        request(162, 4, 1, "nginx", status="rejected", reviewer_id=NOBODY, reviewed_at=at(170)),
        "loose requests",
        becomes={"reviewer_id": None, "status": "rejected"},
    ),
    _orphan("flat_requests", "flat of nobody", flat_request(163, NOBODY, "nginx", "1.27"), "loose requests"),
    _orphan("rules", "for no project", rule(160, 1, 1, project_id=NOBODY)),
    _orphan("rules", "of nobody", rule(161, 1, 1, project_id=1, created_by=NOBODY)),
    _changed(
        "rules",
        "from no request",
        Reason.UNLINKED,
        rule(162, 1, 1, project_id=2, request_id=NOBODY),
        becomes={"request_id": None, "project_id": "proj_2"},
    ),
    _orphan("rules", "of no repository", rule(163, NOBODY, None), "loose rules"),
    _orphan("rules", "of no tag", rule(164, 1, NOBODY), "loose rules"),
    _orphan("statuses", "of no tag", status(160, NOBODY)),
    _orphan("allowed_images", "flat for no project", allowed_image(160, "nginx", "1.27", NOBODY)),
    _orphan("allowed_images", "flat of nobody", allowed_image(161, "nginx", "1.27", 1, created_by=NOBODY)),
    _orphan("workloads", "of nobody", workload(160, NOBODY, 1), "loose workloads"),
    _orphan("workloads", "for no project", workload(161, 4, NOBODY), "loose workloads"),
    _orphan("audit", "of nobody", audit(160, NOBODY, "project", "1")),
    # The older program wrote 0 where it did not know who was signed in.
    _orphan("audit", "of user 0", audit(161, 0, "project", "2")),
)

_TWIN_FILES = tuple(
    config_file(number, "twin.yaml", 1, document("Pod", f"twin-{number}"), create_at=at(day))
    for number, day in ((120, 50), (121, 60), (122, 60))
)
_DOUBLE_FILE = config_file(125, "double.yaml", 1, document("Service", "double"), document("Service", "double"))
_DELETED = times(155, deleted_at=at(200))
_CLASHES = (
    # Of two files made at one moment the one with the higher number is the newer.
    _changed("config_files", "older twin", Reason.RENAMED, _TWIN_FILES[0]),
    _changed("config_files", "old twin", Reason.RENAMED, _TWIN_FILES[1]),
    _kept("config_files", "newest twin", _TWIN_FILES[2], becomes={"filename": "twin.yaml"}),
    *(
        _kept(
            "resources",
            f"in twin {file['cf_id']}",
            resource(file["cf_id"], file, "Pod", f"twin-{file['cf_id']}"),
            becomes={"type": "pod", "name": f"pod/twin-{file['cf_id']}"},
        )
        for file in _TWIN_FILES
    ),
    _kept("config_files", "with two documents of one name", _DOUBLE_FILE),
    _changed("resources", "older double", Reason.RENAMED, resource(125, _DOUBLE_FILE, "Service", "double")),
    _kept(
        "resources",
        "newest double",
        resource(126, _DOUBLE_FILE, "Service", "double"),
        becomes={"name": "service/double"},
    ),
    _changed("workloads", "older pod", Reason.RENAMED, workload(140, 4, 1, k8s_pod_name="same-pod")),
    _kept(
        "workloads", "newest pod", workload(141, 4, 1, k8s_pod_name="same-pod"), becomes={"k8s_pod_name": "same-pod"}
    ),
    _changed("users", "older namesake", Reason.RENAMED, user(170, "namesake"), "same usernames"),
    _kept("users", "newest namesake", user(171, "namesake"), "same usernames", becomes={"username": "namesake"}),
    _kept(
        "repositories",
        "newest twin repository",
        repository(152, "docker.io", "lab/twin"),
        becomes={"full_name": "docker.io/lab/twin"},
    ),
    _changed("repositories", "older twin repository", Reason.RENAMED, repository(150, "docker.io", "lab/twin")),
    _changed(
        "repositories",
        "deleted twin repository",
        Reason.SOFT_DELETED,
        repository(155, "docker.io", "lab/twin", **_DELETED),
    ),
    _changed(
        "repositories",
        "twice deleted twin repository",
        Reason.SOFT_DELETED,
        repository(156, "docker.io", "lab/twin", **_DELETED),
    ),
    _kept("tags", "newest twin tag", tag(152, 152, "v1"), becomes={"name": "v1", "repository_id": "repo_152"}),
    _changed("tags", "older twin tag", Reason.RENAMED, tag(151, 152, "v1")),
    _changed("tags", "deleted twin tag", Reason.SOFT_DELETED, tag(153, 152, "v1", **_DELETED)),
    _kept("tags", "in a renamed repository", tag(150, 150, "v1"), becomes={"name": "v1", "repository_id": "repo_150"}),
    _changed("tags", "live in a deleted repository", Reason.DELETED_WITH_PARENT, tag(155, 155, "v1")),
    _changed("rules", "live in a deleted repository", Reason.DELETED_WITH_PARENT, rule(156, 155, None)),
    _changed("statuses", "live of a deleted tag", Reason.DELETED_WITH_PARENT, status(153, 153)),
    _left_out("memberships", "older of two", Reason.DUPLICATE, membership(180, 6, 2), "free keys"),
    _kept("memberships", "newer of two", membership(181, 6, 2, "manager"), "free keys", becomes={"role": "manager"}),
    _left_out("statuses", "older of two", Reason.DUPLICATE, status(180, 2, is_pulled=False), "free keys"),
    _kept("statuses", "newer of two", status(181, 2), "free keys", becomes={"is_pulled": True}),
)

_DELETED_FORM = form(155, 4, 1, **_DELETED)
_SOFT_DELETED = (
    _changed("forms", "deleted form", Reason.SOFT_DELETED, _DELETED_FORM),
    _changed("messages", "live on a deleted form", Reason.DELETED_WITH_PARENT, message(155, 155, 4)),
    _changed("requests", "deleted request", Reason.SOFT_DELETED, request(155, 4, 1, "nginx", **_DELETED)),
    _kept(
        "rules",
        "from a deleted request",
        rule(157, 1, 1, project_id=1, request_id=155),
        becomes={"request_id": "ireq_155"},
    ),
    _changed("rules", "deleted rule", Reason.SOFT_DELETED, rule(155, 1, 1, project_id=1, **_DELETED)),
    _changed("allowed_images", "flat deleted", Reason.SOFT_DELETED, allowed_image(155, "nginx", "1.27", 1, **_DELETED)),
)

_WIDE_FILE = {**config_file(190, "wide.yaml", 5 * 10**18, document("Pod", "wide")), "cf_id": WIDE}
_WIDE_AUDIT = audit(190, WIDE, "user_group", f"u_id={WIDE},g_id=2")
_WIDE = (
    _changed("users", "wide user", Reason.HASHED_ID, {**user(190, "wide"), "u_id": WIDE}, "wide ids"),
    _kept("users", "widest user that fits", {**user(191, "fits"), "u_id": WIDEST_THAT_FITS}, "wide ids"),
    _kept("memberships", "wide in physics", membership(190, WIDE, 2), "wide ids"),
    _changed("projects", "wide project", Reason.HASHED_ID, {**project(190, "wide", 2), "p_id": 5 * 10**18}, "wide ids"),
    _changed("config_files", "wide file", Reason.HASHED_ID, _WIDE_FILE, "wide ids"),
    _kept("forms", "by a wide user", form(190, WIDE, 1), "wide ids"),
    _kept("resources", "in a wide file", resource(190, _WIDE_FILE, "Pod", "wide"), "wide ids"),
    _changed("workloads", "wide workload", Reason.HASHED_ID, {**workload(190, WIDE, 1), "id": WIDE}, "wide ids"),
    _changed("audit", "by a wide user", Reason.REFERENCES_RESOLVED, _WIDE_AUDIT, "wide ids", mentions=("group_2",)),
)

_ANCIENT_FILE = config_file(110, "ancient.yaml", 3, document("Pod", "ancient"), create_at=YEAR_ONE)
_TIMES = (
    _changed(
        "users",
        "made in year 1",
        Reason.YEAR_ONE,
        user(110, "ancient", create_at=YEAR_ONE),
        becomes={"created_at": at(111), "updated_at": at(111)},
    ),
    _changed(
        "groups", "wholly of year 1", Reason.YEAR_ONE, group(110, "ancients", create_at=YEAR_ONE, update_at=YEAR_ONE)
    ),
    _changed(
        "memberships",
        "of year 1",
        Reason.YEAR_ONE,
        membership(110, 110, 110, "manager", create_at=YEAR_ONE, update_at=at(120)),
        becomes={"created_at": at(120), "role": "manager"},
    ),
    # These two have no other time to fall back on.
    _changed("config_files", "of year 1", Reason.YEAR_ONE, _ANCIENT_FILE),
    _changed("audit", "without time", Reason.NO_TIME, audit(110, 2, "project", "1", created_at=None), "no times"),
    _changed(
        "users", "without times", Reason.NO_TIME, user(111, "timeless", create_at=None, update_at=None), "no times"
    ),
    _changed(
        "users",
        "of year 0",
        Reason.YEAR_ONE,
        user(112, "zero", create_at="0000-00-00 00:00:00"),
        "zero dates",
        becomes={"created_at": at(113)},
    ),
)

_EMPTY_FILE = config_file(200, "empty.yaml", 2, content=None)
_BLANK_FILE = config_file(201, "blank.yaml", 2, content="")
_LONG = "x" * 400
_VALUES = (
    _left_out("resources", "secret", Reason.UNKNOWN_KIND, resource(130, WEB, "Secret", "key")),
    _changed("config_files", "without content", Reason.CONTENT_REBUILT, _EMPTY_FILE),
    _kept("resources", "first of no content", resource(200, _EMPTY_FILE, "Pod", "first")),
    _kept("resources", "second of no content", resource(201, _EMPTY_FILE, "Service", "second")),
    _changed("config_files", "blank", Reason.CONTENT_REBUILT, _BLANK_FILE),
    _kept("resources", "of blank content", resource(202, _BLANK_FILE, "ConfigMap", "blank")),
    _changed(
        "groups",
        "second super",
        Reason.SECOND_SUPER,
        group(180, "super", description="made by a second start"),
        lacks=frozenset({"no admin"}),
    ),
    # The older views took its admin for a super administrator, which must not come true.
    _kept("memberships", "admin of the second super", membership(182, 4, 180, "admin"), lacks=frozenset({"no admin"})),
    _changed(
        "audit",
        "long resource",
        Reason.TRUNCATED,
        audit(200, 2, "image", _LONG),
        lacks=frozenset({"numbers in audit"}),
    ),
    _changed("forms", "long title", Reason.TRUNCATED, form(200, 4, 1, title=_LONG), becomes={"title": _LONG[:255]}),
    _changed("requests", "long tag", Reason.TRUNCATED, request(200, 4, 1, "nginx", input_tag=_LONG[:200])),
    _changed("forms", "no title", Reason.FILLED, form(201, 4, None, title=None), "null texts"),
    _changed(
        "projects",
        "negative quota",
        Reason.CLAMPED,
        project(200, "owing", 2, gpu_quota=-1),
        "gpu quota",
        becomes={"gpu_quota": 0},
    ),
    _changed(
        "workloads",
        "lower-case status",
        Reason.CASE_FOLDED,
        workload(200, 4, 1, status="running"),
        becomes={"status": "Running"},
    ),
    _changed(
        "workloads",
        "evicted",
        Reason.UNKNOWN_VALUE,
        workload(201, 4, 1, status="Evicted"),
        becomes={"status": "Unknown"},
    ),
    _changed(
        "users",
        "shouted values",
        Reason.CASE_FOLDED,
        user(200, "shouting", type="OAuth2", status="Offline"),
        "free values",
        becomes={"type": "oauth2", "status": "offline"},
    ),
    _changed(
        "memberships",
        "shouted role",
        Reason.CASE_FOLDED,
        membership(200, 200, 2, "Manager"),
        "free values",
        becomes={"role": "manager"},
    ),
    _changed(
        "resources",
        "double in another case",
        Reason.RENAMED,
        resource(124, _DOUBLE_FILE, "service", "double"),
        "free values",
        becomes={"type": "service"},
    ),
)

_RELIC_FILE = {**SETTINGS}
_MIXED = (
    *(
        _left_out("old_projects", f"copy of {number}", Reason.MERGED, project(number, name, g_id))
        for number, name, g_id in ((1, "lattice", 2), (2, "arm", 3), (3, "archive", 2))
    ),
    _changed("old_projects", "left behind", Reason.OLDER_TABLE, project(50, "left behind", 3)),
    # Two projects with one number, as each table counts for itself.
    _kept("projects", "number 60 of the newer table", project(60, "newer sixty", 2), "enum kinds"),
    _changed("old_projects", "number 60 of the older table", Reason.KEY_CLASH, project(60, "older sixty", 3)),
    _changed(
        "old_resources", "number 1 of the older table", Reason.KEY_CLASH, resource(1, _RELIC_FILE, "ConfigMap", "relic")
    ),
    _changed("old_resources", "left behind", Reason.OLDER_TABLE, resource(900, _RELIC_FILE, "Pod", "relic")),
)
FAULTY_ROWS = (*_ORPHANS, *_CLASHES, *_SOFT_DELETED, *_WIDE, *_TIMES, *_VALUES, *_MIXED)
