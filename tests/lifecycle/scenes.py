"""The cascade world in a database and in the model, for acts whose process dies."""

import shutil
from datetime import datetime, timedelta

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle_file import open_bundle
from holdfast.db.tables import deletions
from holdfast.worker.registry import bundle_folder
from tests.db.cascade_world import CascadeWorld
from tests.db.consistency import find_inconsistencies
from tests.db.rows import fetch
from tests.factories import insert_row
from tests.instance import Instance
from tests.lifecycle.model import PRIMARY_KEYS, ROOT_TYPES, Deletion, Model, RowId, Values
from tests.lifecycle.world import World, count_audit_rows, dump_deletions, dump_rows

NESTED = "an-earlier-deletion"
ROOTS = {"left user": "user", "left group": "group"}


class Scene:
    """Both sides of the cascade world, in the database and in the model, and the root that the acts are about."""

    def __init__(self, instance: Instance, root: str) -> None:
        self.database = instance.database
        self.world = World(instance.database, instance.settings)
        self.bundles = bundle_folder(instance.settings)
        self.root_type = ROOTS[root]
        self.cascade = CascadeWorld()
        table = ROOT_TYPES[self.root_type]
        self.root: RowId = (table, tuple(self.cascade.rows[root][name] for name in PRIMARY_KEYS[table]))
        self.model = Model()
        # Per user, before a purge takes them.
        self.audit_rows: dict[str, int] = {}

    def use(self, database: Database) -> None:
        """Go on with another connection to the same database."""
        self.database = self.world.database = database

    async def fill(self) -> None:
        """Make the rows, one of them deleted before."""
        await self.world.start()
        await self.cascade.fill(self.database)
        counts = {"resources": 1}
        await insert_row(
            self.database,
            deletions,
            id=NESTED,
            root_type="config-file-update",
            root_id=self.cascade.rows["left file"]["cf_id"],
            actor_id=self.world.root.user_id,
            actor_name="admin",
            planned_counts=counts,
            actual_counts=counts,
        )
        self.model.rows = await dump_rows(self.database)
        file = ("config_files", (self.cascade.rows["left file"]["cf_id"],))
        self.model.deletions[NESTED] = Deletion(NESTED, "config-file-update", file, counts, utc_now())

    async def delete(self) -> Deletion:
        """Delete the root, to the end."""
        plan = await self.world.plan(self.root_type, self.root)
        deleted = await self.world.delete(self.root_type, self.root, plan.token)
        return await self.follow_delete(deleted.deletion_id)

    async def follow_delete(self, deletion_id: str) -> Deletion:
        """The deletion in the model, with the moment at which tokens were revoked."""
        deletion = self.model.delete(deletion_id, self.root_type, self.root, utc_now())
        self.audit_rows = await count_audit_rows(self.database)
        found = await dump_rows(self.database)
        for row in self.model.rows_of(deletion_id):
            if row[0] == "tokens":
                self.model.rows[row]["revoked_at"] = found[row]["revoked_at"]
        return deletion

    async def purge(self, deletion: Deletion) -> None:
        """Purge to the end, after every lease has run out; nothing is done where a process did before it died."""
        self.world.clock = _later
        await self.world.purge(deletion.id)
        self.world.clock = utc_now
        self.model.purge(deletion, self.audit_rows)

    async def require_model(self) -> None:
        """Rows and deletions are as the model has them."""
        assert _versionless(await dump_rows(self.database)) == _versionless(self.model.rows)
        assert await dump_deletions(self.database) == {
            each.id: (each.root_type, each.state, each.purged_with) for each in self.model.deletions.values()
        }
        await self.require_consistency()

    async def require_consistency(self) -> None:
        """No orphan, no live child of a deleted parent, and no bundle that is not whole."""
        assert await find_inconsistencies(self.database) == []
        for path in self.bundles.rglob("*.zip"):
            assert open_bundle(path).manifest.kind == "deletion"

    def deletion(self) -> Deletion:
        """The deletion of the root."""
        (found,) = (each for each in self.model.deletions.values() if each.id != NESTED)
        return found

    def live_rows(self) -> set[RowId]:
        """The rows that the model shows to people."""
        return {row for row, values in self.model.rows.items() if values["deletion_id"] == ""}

    async def found_live(self) -> set[RowId]:
        """The rows that the database shows to people."""
        return {row for row, values in (await dump_rows(self.database)).items() if values["deletion_id"] == ""}

    async def audited(self, action: str) -> list[str]:
        """The descriptions of an action's audit rows."""
        rows = await fetch(self.database, f"SELECT description FROM audit_logs WHERE action = '{action}' ORDER BY id")
        return [str(row[0]) for row in rows]

    def clear_bundles(self) -> None:
        shutil.rmtree(self.bundles, ignore_errors=True)


def _later() -> datetime:
    return utc_now() + timedelta(minutes=10)


def _versionless(rows: dict[RowId, Values]) -> dict[RowId, Values]:
    """Without the versions, which the emptying and filling of pointers raises."""
    return {
        row: {name: value for name, value in values.items() if name != "updated_at"} for row, values in rows.items()
    }
