"""The statements of the orphan reports: decided image requests that no rule of the allow list goes back to."""

from sqlalchemy import exists, select, text

from holdfast.db.listing import Listing
from holdfast.db.statements import live
from holdfast.db.tables import image_allow_list, image_requests
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
# A rule in the trash explains its request, too.
_has_rule = exists().where(image_allow_list.c.request_id == image_requests.c.id)
APPROVED_ORPHANS = Listing(
    "approved_orphans",
    select(image_requests.c.id, image_requests.c.user_id, image_requests.c.project_id).where(
        image_requests.c.status == "approved", live(image_requests), ~_has_rule
    ),
    OrphanedRequest,
    row_id=image_requests.c.id,
    sorts={"id": image_requests.c.id},
    default_sort="id",
)
