"""At which revision of the schema rows are written to a bundle, and when they must not be."""

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.purge_lease import PurgeWaitsError
from holdfast.db.migrations.files import known_revisions


async def revision_to_bundle(tx: Transaction) -> str:
    """The revision of the database. PurgeWaitsError where only a newer version knows all columns of its rows.

    While an upgrade is rolled out, this version would leave the new ones out of the bundle, and they would be lost.
    """
    ((found,),) = await tx.fetch_text("SELECT version_num FROM alembic_version")
    revision = str(found)
    if revision not in known_revisions():
        raise PurgeWaitsError(
            f"the database is at revision {revision} of a newer Holdfast: a worker of that version writes the bundle"
        )
    return revision
