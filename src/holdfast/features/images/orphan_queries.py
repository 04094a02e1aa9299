"""The statements of the orphan reports: decided image requests that no rule of the allow list goes back to."""

from sqlalchemy import ColumnElement, and_, exists, func, literal_column, or_, select, text

from holdfast.db.listing import Listing
from holdfast.db.statements import live
from holdfast.db.tables import container_repositories, container_tags, image_allow_list, image_requests
from holdfast.features.images.types import OrphanedRequest

# Word for word (seed 5.2): requests that were rejected are among its rows, and those that were deleted.
SEED_ORPHAN_QUERY = """\
SELECT ir.id, ir.user_id, ir.project_id
FROM image_requests ir
LEFT JOIN image_allow_list ial ON ial.request_id = ir.id
WHERE ial.id IS NULL AND ir.reviewed_at IS NOT NULL"""

_seed = (
    text(SEED_ORPHAN_QUERY)
    .columns(image_requests.c.id, image_requests.c.user_id, image_requests.c.project_id)
    .subquery("orphans")
)
REVIEWED_ORPHANS = Listing(
    "reviewed_orphans",
    select(_seed.c.id, _seed.c.user_id, _seed.c.project_id),
    OrphanedRequest,
    row_id=_seed.c.id,
    sorts={"id": _seed.c.id},
    default_sort="id",
)


def lacks_rule() -> ColumnElement[bool]:
    """Whether nothing on the allow list is what the request asked for. A rule in the trash explains its request, too.

    Where two requests for one thing were approved there is one rule, which names the later one.
    """
    is_named = exists().where(image_allow_list.c.request_id == image_requests.c.id)
    registry = func.coalesce(image_requests.c.input_registry, literal_column("'docker.io'"))
    is_covered = (
        exists()
        .where(
            container_repositories.c.full_name == registry + literal_column("'/'") + image_requests.c.input_image_name,
            container_repositories.c.id == image_allow_list.c.repository_id,
            or_(image_allow_list.c.project_id.is_(None), image_allow_list.c.project_id == image_requests.c.project_id),
            or_(
                image_allow_list.c.tag_id.is_(None),
                exists()
                .where(
                    container_tags.c.id == image_allow_list.c.tag_id,
                    container_tags.c.name == image_requests.c.input_tag,
                )
                .correlate(image_allow_list, image_requests),
            ),
        )
        .correlate(image_requests)
    )
    return and_(~is_named, ~is_covered)


APPROVED_ORPHANS = Listing(
    "approved_orphans",
    select(image_requests.c.id, image_requests.c.user_id, image_requests.c.project_id).where(
        image_requests.c.status == "approved", live(image_requests), lacks_rule()
    ),
    OrphanedRequest,
    row_id=image_requests.c.id,
    sorts={"id": image_requests.c.id},
    default_sort="id",
)
