"""The statements of repositories, their tags, and what the cluster has pulled of them."""

from sqlalchemy import and_, bindparam, select, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Query,
    contains_text,
    insert_unless_present,
    live,
    locked_as_parent,
    new_value,
)
from holdfast.db.tables import cluster_image_status, container_repositories, container_tags
from holdfast.features.images.types import Repository, RowId, Tag, TagAccess

_repository_id = bindparam("repository_id", type_=container_repositories.c.id.type)
_tag_id = bindparam("tag_id", type_=container_tags.c.id.type)

_REPOSITORY = select(
    container_repositories.c.id,
    container_repositories.c.registry,
    container_repositories.c.namespace,
    container_repositories.c.name,
    container_repositories.c.full_name,
    container_repositories.c.created_at,
    container_repositories.c.updated_at,
).where(live(container_repositories))
_ONE_REPOSITORY = _REPOSITORY.where(container_repositories.c.id == _repository_id)
FIND_REPOSITORY = Query("repositories.find_repository", _ONE_REPOSITORY, Repository)
FIND_REPOSITORY_INCLUDE_DELETED = with_deleted(FIND_REPOSITORY, container_repositories)
FIND_REPOSITORY_AS_PARENT = Query(
    "repositories.find_repository_as_parent", locked_as_parent(_ONE_REPOSITORY), Repository
)
REPOSITORIES = Listing(
    "repositories",
    _REPOSITORY,
    Repository,
    row_id=container_repositories.c.id,
    sorts={"created_at": container_repositories.c.created_at, "full_name": container_repositories.c.full_name},
    default_sort="-created_at",
    search=contains_text(container_repositories.c.full_name, "q"),
)
FIND_REPOSITORY_NAMED = Query(
    "repositories.find_repository_named",
    locked_as_parent(
        select(container_repositories.c.id).where(
            container_repositories.c.full_name == bindparam("full_name", type_=container_repositories.c.full_name.type),
            live(container_repositories),
        )
    ),
    RowId,
)
INSERT_REPOSITORY = insert_unless_present(
    "repositories.insert_repository",
    container_repositories,
    "id",
    "registry",
    "namespace",
    "name",
    "full_name",
    "created_at",
    "updated_at",
)

_TAG = (
    select(
        container_tags.c.id,
        container_tags.c.repository_id,
        container_tags.c.name,
        container_tags.c.digest,
        container_tags.c.size,
        container_tags.c.pushed_at,
        cluster_image_status.c.is_pulled,
        cluster_image_status.c.last_pulled_at,
        cluster_image_status.c.pull_error,
        container_tags.c.created_at,
        container_tags.c.updated_at,
    )
    .select_from(container_tags)
    .outerjoin(
        cluster_image_status, and_(cluster_image_status.c.tag_id == container_tags.c.id, live(cluster_image_status))
    )
    .where(container_tags.c.repository_id == _repository_id, live(container_tags))
)
GET_TAG = Query("repositories.get_tag", _TAG.where(container_tags.c.id == _tag_id), Tag)
GET_TAG_INCLUDE_DELETED = with_deleted(GET_TAG, container_tags)
TAGS = Listing(
    "tags",
    _TAG,
    Tag,
    row_id=container_tags.c.id,
    sorts={"created_at": container_tags.c.created_at, "name": container_tags.c.name},
    default_sort="-created_at",
    search=contains_text(container_tags.c.name, "q"),
    count_select=select(container_tags.c.id).where(
        container_tags.c.repository_id == _repository_id, live(container_tags)
    ),
)
FIND_TAG_NAMED = Query(
    "repositories.find_tag_named",
    locked_as_parent(
        select(container_tags.c.id).where(
            container_tags.c.repository_id == _repository_id,
            container_tags.c.name == bindparam("name", type_=container_tags.c.name.type),
            live(container_tags),
        )
    ),
    RowId,
)
FIND_TAG_ALONE = Query(
    "repositories.find_tag_alone",
    select(
        container_tags.c.id,
        container_tags.c.name,
        container_tags.c.digest,
        container_tags.c.size,
        container_tags.c.pushed_at,
        container_tags.c.updated_at,
        container_repositories.c.full_name,
    )
    .join(container_repositories, container_repositories.c.id == container_tags.c.repository_id)
    .where(
        container_tags.c.id == _tag_id,
        container_tags.c.repository_id == _repository_id,
        live(container_tags),
        live(container_repositories),
    )
    .with_for_update(of=container_tags),
    TagAccess,
)
INSERT_TAG = insert_unless_present(
    "repositories.insert_tag",
    container_tags,
    "id",
    "repository_id",
    "name",
    "digest",
    "size",
    "pushed_at",
    "created_at",
    "updated_at",
)
UPDATE_TAG = Command(
    "repositories.update_tag",
    update(container_tags)
    .where(container_tags.c.id == _tag_id)
    .values(new_value(container_tags, "digest", "size", "pushed_at", "updated_at")),
)

MARK_PULLED = Command(
    "repositories.mark_pulled",
    update(cluster_image_status)
    .where(cluster_image_status.c.tag_id == _tag_id, live(cluster_image_status))
    .values(new_value(cluster_image_status, "is_pulled", "last_pulled_at", "pull_error", "updated_at")),
)
INSERT_PULLED = insert_unless_present(
    "repositories.insert_pulled",
    cluster_image_status,
    "id",
    "tag_id",
    "is_pulled",
    "last_pulled_at",
    "created_at",
    "updated_at",
)
