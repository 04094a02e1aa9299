"""The statements of image requests and of the allow list."""

from sqlalchemy import and_, bindparam, func, insert, or_, select, union, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import Command, Query, contains_text, count_of, live, new_value, parameters_for
from holdfast.db.tables import (
    cluster_image_status,
    container_repositories,
    container_tags,
    group_list,
    image_allow_list,
    image_requests,
    project_list,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.groups.queries import groups_of_actor, role_of_actor, staff_seats_of_actor
from holdfast.features.images.types import (
    AllowedImage,
    AllowedImageAccess,
    EqualRule,
    ImageRequest,
    ImageRequestAccess,
    RowId,
)

_actor_id = bindparam("actor_id", type_=users.c.u_id.type)
_request_id = bindparam("request_id", type_=image_requests.c.id.type)
_image_id = bindparam("image_id", type_=image_allow_list.c.id.type)
_project_id = bindparam("project_id", type_=project_list.c.p_id.type)
_repository_id = bindparam("repository_id", type_=container_repositories.c.id.type)
_tag_id = bindparam("tag_id", type_=container_tags.c.id.type)

# Rules that hold for all have no project row to lock: whoever writes one locks this row instead.
LOCK_RULES_FOR_ALL = Query(
    "images.lock_rules_for_all",
    select(group_list.c.g_id.label("id")).where(group_list.c.g_id == SUPER_GROUP_ID).with_for_update(key_share=True),
    RowId,
)

_reviewers = users.alias("reviewers")
_rule_of_request = (
    select(func.min(image_allow_list.c.id))
    .where(image_allow_list.c.request_id == image_requests.c.id, live(image_allow_list))
    .scalar_subquery()
)
# A pointer to a deleted reviewer is kept, for a restore, and not shown.
_REQUEST = (
    select(
        image_requests.c.id,
        image_requests.c.user_id,
        users.c.username,
        users.c.full_name,
        image_requests.c.project_id,
        project_list.c.project_name,
        image_requests.c.input_registry,
        image_requests.c.input_image_name,
        image_requests.c.input_tag,
        image_requests.c.status,
        _reviewers.c.u_id.label("reviewer_id"),
        _reviewers.c.username.label("reviewer_name"),
        image_requests.c.reviewed_at,
        image_requests.c.reviewer_note,
        _rule_of_request.label("image_id"),
        image_requests.c.created_at,
        image_requests.c.updated_at,
    )
    .select_from(image_requests)
    .join(users, users.c.u_id == image_requests.c.user_id)
    .outerjoin(project_list, project_list.c.p_id == image_requests.c.project_id)
    .outerjoin(_reviewers, and_(_reviewers.c.u_id == image_requests.c.reviewer_id, live(_reviewers)))
    .where(live(image_requests))
)
GET_REQUEST = Query("image_requests.get_request", _REQUEST.where(image_requests.c.id == _request_id), ImageRequest)
GET_REQUEST_INCLUDE_DELETED = with_deleted(GET_REQUEST, image_requests)

# Each half finds its rows by an index; with OR between the conditions every engine would read all to count them.
_seats = staff_seats_of_actor()
_own, _staffed = image_requests.alias("own_requests"), image_requests.alias("staffed_requests")
_visible_requests = union(
    select(_own.c.id).where(_own.c.user_id == _actor_id, live(_own)),
    select(_staffed.c.id)
    .join(project_list, project_list.c.p_id == _staffed.c.project_id)
    .join(_seats, _seats.c.g_id == project_list.c.g_id)
    .where(live(project_list), live(_staffed)),
).subquery("visible_requests")
REQUESTS = Listing(
    "image_requests",
    _REQUEST,
    ImageRequest,
    row_id=image_requests.c.id,
    sorts={"created_at": image_requests.c.created_at},
    default_sort="-created_at",
    filters={
        "status": image_requests.c.status == bindparam("status", type_=image_requests.c.status.type),
        "project_id": image_requests.c.project_id == _project_id,
        "user_id": image_requests.c.user_id == bindparam("user_id", type_=image_requests.c.user_id.type),
    },
    scopes={
        "all": None,
        "visible": image_requests.c.id == _visible_requests.c.id,
    },
    search=contains_text(image_requests.c.input_image_name, "q"),
    count_select=select(image_requests.c.id).where(live(image_requests)),
)

_REQUEST_ACCESS = select(
    image_requests.c.id,
    image_requests.c.user_id,
    image_requests.c.project_id,
    image_requests.c.input_registry,
    image_requests.c.input_image_name,
    image_requests.c.input_tag,
    image_requests.c.status,
    image_requests.c.updated_at,
    select(project_list.c.g_id)
    .where(project_list.c.p_id == image_requests.c.project_id)
    .scalar_subquery()
    .label("g_id"),
    select(role_of_actor(project_list.c.g_id))
    .where(project_list.c.p_id == image_requests.c.project_id)
    .scalar_subquery()
    .label("actor_role"),
).where(image_requests.c.id == _request_id, live(image_requests))
FIND_REQUEST_ACCESS = Query("image_requests.find_access", _REQUEST_ACCESS, ImageRequestAccess)
FIND_REQUEST_ACCESS_ALONE = Query(
    "image_requests.find_access_alone", _REQUEST_ACCESS.with_for_update(of=image_requests), ImageRequestAccess
)

FIND_PENDING_REQUEST = Query(
    "image_requests.find_pending",
    select(image_requests.c.id)
    .where(
        image_requests.c.status == "pending",
        image_requests.c.project_id.is_not_distinct_from(_project_id),
        *(
            image_requests.c[column] == bindparam(column, type_=image_requests.c[column].type)
            for column in ("input_registry", "input_image_name", "input_tag")
        ),
        live(image_requests),
    )
    .limit(1),
    RowId,
)
INSERT_REQUEST = Command(
    "image_requests.insert_request",
    insert(image_requests).values(
        parameters_for(
            image_requests,
            "id",
            "user_id",
            "project_id",
            "input_registry",
            "input_image_name",
            "input_tag",
            "status",
            "created_at",
            "updated_at",
        )
    ),
)
DECIDE_REQUEST = Command(
    "image_requests.decide_request",
    update(image_requests)
    .where(image_requests.c.id == _request_id)
    .values(new_value(image_requests, "status", "reviewer_id", "reviewed_at", "reviewer_note", "updated_at")),
)

# A rule whose repository or tag is deleted does not count, and is not shown.
_rules = image_allow_list.join(
    container_repositories, container_repositories.c.id == image_allow_list.c.repository_id
).outerjoin(container_tags, container_tags.c.id == image_allow_list.c.tag_id)
_rule_counts = and_(
    live(image_allow_list),
    live(container_repositories),
    or_(image_allow_list.c.tag_id.is_(None), live(container_tags)),
)
_RULE_IDS = select(image_allow_list.c.id).select_from(_rules).where(_rule_counts)
_creators = users.alias("creators")
_RULE = (
    select(
        image_allow_list.c.id,
        image_allow_list.c.project_id,
        project_list.c.project_name,
        image_allow_list.c.repository_id,
        container_repositories.c.registry,
        container_repositories.c.namespace,
        container_repositories.c.name,
        container_repositories.c.full_name,
        image_allow_list.c.tag_id,
        container_tags.c.name.label("tag"),
        container_tags.c.digest,
        image_allow_list.c.is_enabled,
        cluster_image_status.c.is_pulled,
        cluster_image_status.c.last_pulled_at,
        image_requests.c.id.label("request_id"),
        image_requests.c.reviewer_note.label("request_note"),
        image_allow_list.c.created_by,
        _creators.c.username.label("created_by_name"),
        image_allow_list.c.created_at,
        image_allow_list.c.updated_at,
    )
    .select_from(
        _rules.join(_creators, _creators.c.u_id == image_allow_list.c.created_by)
        .outerjoin(project_list, project_list.c.p_id == image_allow_list.c.project_id)
        .outerjoin(
            cluster_image_status,
            and_(cluster_image_status.c.tag_id == image_allow_list.c.tag_id, live(cluster_image_status)),
        )
        .outerjoin(image_requests, and_(image_requests.c.id == image_allow_list.c.request_id, live(image_requests)))
    )
    .where(_rule_counts)
    # MariaDB would begin with all repositories, because they are fewer, and sort every rule for one page.
    .prefix_with("STRAIGHT_JOIN", dialect="mariadb")
)
GET_IMAGE = Query("images.get_image", _RULE.where(image_allow_list.c.id == _image_id), AllowedImage)
GET_IMAGE_INCLUDE_DELETED = with_deleted(GET_IMAGE, image_allow_list)

_own_projects = select(project_list.c.p_id).where(project_list.c.g_id.in_(groups_of_actor()), live(project_list))
IMAGES = Listing(
    "images",
    _RULE,
    AllowedImage,
    row_id=image_allow_list.c.id,
    sorts={"created_at": image_allow_list.c.created_at},
    default_sort="-created_at",
    filters={
        "project_id": or_(image_allow_list.c.project_id.is_(None), image_allow_list.c.project_id == _project_id),
        "is_enabled": image_allow_list.c.is_enabled
        == bindparam("is_enabled", type_=image_allow_list.c.is_enabled.type),
    },
    scopes={
        "all": None,
        "visible": or_(image_allow_list.c.project_id.is_(None), image_allow_list.c.project_id.in_(_own_projects)),
    },
    search=contains_text(container_repositories.c.full_name, "q"),
    count_select=_RULE_IDS,
)

_RULE_ACCESS = (
    select(
        image_allow_list.c.id,
        image_allow_list.c.project_id,
        image_allow_list.c.is_enabled,
        image_allow_list.c.updated_at,
        container_repositories.c.full_name,
        select(project_list.c.g_id)
        .where(project_list.c.p_id == image_allow_list.c.project_id)
        .scalar_subquery()
        .label("g_id"),
        select(role_of_actor(project_list.c.g_id))
        .where(project_list.c.p_id == image_allow_list.c.project_id)
        .scalar_subquery()
        .label("actor_role"),
    )
    .select_from(_rules)
    .where(image_allow_list.c.id == _image_id, _rule_counts)
)
FIND_IMAGE_ACCESS = Query("images.find_access", _RULE_ACCESS, AllowedImageAccess)
FIND_IMAGE_ACCESS_ALONE = Query(
    "images.find_access_alone", _RULE_ACCESS.with_for_update(of=image_allow_list), AllowedImageAccess
)

# Each caller gives either the tag or the digest; the other is NULL and equal to nothing.
COUNT_RULES_THAT_ALLOW = count_of(
    "images.count_rules_that_allow",
    _RULE_IDS.where(
        image_allow_list.c.is_enabled,
        container_repositories.c.full_name == bindparam("full_name", type_=container_repositories.c.full_name.type),
        or_(image_allow_list.c.project_id.is_(None), image_allow_list.c.project_id == _project_id),
        or_(
            image_allow_list.c.tag_id.is_(None),
            container_tags.c.name == bindparam("tag", type_=container_tags.c.name.type),
            container_tags.c.digest == bindparam("digest", type_=container_tags.c.digest.type),
        ),
    ),
)

FIND_EQUAL_RULE_ALONE = Query(
    "images.find_equal_rule_alone",
    select(
        image_allow_list.c.id,
        image_allow_list.c.request_id,
        image_allow_list.c.is_enabled,
        image_allow_list.c.updated_at,
    )
    .where(
        image_allow_list.c.repository_id == _repository_id,
        image_allow_list.c.tag_id.is_not_distinct_from(_tag_id),
        image_allow_list.c.project_id.is_not_distinct_from(_project_id),
        live(image_allow_list),
    )
    .order_by(image_allow_list.c.is_enabled.desc(), image_allow_list.c.created_at, image_allow_list.c.id)
    .limit(1)
    .with_for_update(),
    EqualRule,
)
INSERT_RULE = Command(
    "images.insert_rule",
    insert(image_allow_list).values(
        parameters_for(
            image_allow_list,
            "id",
            "project_id",
            "tag_id",
            "repository_id",
            "request_id",
            "created_by",
            "is_enabled",
            "created_at",
            "updated_at",
        )
    ),
)
UPDATE_RULE = Command(
    "images.update_rule",
    update(image_allow_list)
    .where(image_allow_list.c.id == _image_id)
    .values(new_value(image_allow_list, "is_enabled", "updated_at")),
)
LINK_RULE = Command(
    "images.link_rule",
    update(image_allow_list)
    .where(image_allow_list.c.id == _image_id)
    .values(new_value(image_allow_list, "request_id", "is_enabled", "updated_at")),
)
