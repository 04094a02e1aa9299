"""The statements on the deletions of members who join again."""

from sqlalchemy import bindparam, select, update

from holdfast.db.statements import Command, any_of, count_of
from holdfast.db.tables import deletions

_OF_MEMBERS = (any_of(deletions.c.id, "deletion_ids"), deletions.c.root_type == "member")

END_DELETIONS = Command(
    "groups.end_deletions",
    update(deletions)
    .where(*_OF_MEMBERS, deletions.c.state.in_(("deleted", "failed")))
    .values(state="restored", updated_at=bindparam("now", type_=deletions.c.updated_at.type)),
)
COUNT_PURGES = count_of(
    "groups.count_purges", select(deletions.c.id).where(*_OF_MEMBERS, deletions.c.state == "purging")
)
