"""Decided image requests without a rule: the seed's report, and a stricter one (super administrators)."""

from holdfast.core.actor import Actor
from holdfast.core.pages import Page, PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.features.images import orphan_queries as queries
from holdfast.features.images.errors import OrphansForbiddenError
from holdfast.features.images.types import OrphanedRequest


async def list_orphans(
    tx: Transaction, actor: Actor, page: PageRequest, *, strict: bool, cursor_key: bytes
) -> Page[OrphanedRequest]:
    """What the seed's query finds (5.2); where `strict` what should never be: approved, not deleted, without rule."""
    if not actor.is_super_admin:
        raise OrphansForbiddenError("only super administrators see the statistics of the database")
    listing = queries.APPROVED_ORPHANS if strict else queries.REVIEWED_ORPHANS
    return await listing.fetch_page(tx, page, cursor_key=cursor_key)
