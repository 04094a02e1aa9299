"""A database as the lifecycle tests see it: its rows and deletions, and the acts of the product on them."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Table

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.recover import Recovery
from holdfast.db.retries import with_retries
from holdfast.db.tables import metadata
from holdfast.features.accounts import service as accounts
from holdfast.features.config_files import service as config_files
from holdfast.features.deletions import service as deletions
from holdfast.features.deletions.jobs import purge_deletion
from holdfast.features.deletions.recovery import recover
from holdfast.features.deletions.retention import CleanupReport, run_cleanup
from holdfast.features.deletions.types import Deleted, DeletionPlan, Restored
from holdfast.features.forms import service as forms
from holdfast.features.groups import members
from holdfast.features.groups import service as groups
from holdfast.features.images import requests
from holdfast.features.images import service as images
from holdfast.features.images.references import parse_reference
from holdfast.features.projects import service as projects
from holdfast.features.workloads import service as workloads
from holdfast.settings import Settings
from holdfast.worker.registry import bundle_folder
from tests.factories import PASSWORD_HASH, make_super_admin, make_token
from tests.lifecycle.model import PRIMARY_KEYS, RowId, Values

Result = TypeVar("Result")

_TABLES = [metadata.tables[name] for name in PRIMARY_KEYS]
# What the acts themselves say the time of; the rest must come back as it was.
_TIMES_OF_ACTS = {"deleted_at"}


async def dump_rows(database: Database) -> dict[RowId, Values]:
    """Every row that a deletion can mark, deleted or not."""
    rows: dict[RowId, Values] = {}
    async with database.read() as tx:
        for table in _TABLES:
            names = [column.name for column in table.columns if column.name not in _TIMES_OF_ACTS]
            for found in await tx.fetch_text(f"SELECT {', '.join(names)} FROM {table.name}"):
                values = dict(zip(names, found, strict=True))
                rows[_row_id(table, values)] = values
    return rows


async def dump_deletions(database: Database) -> dict[str, tuple[str, str, str | None]]:
    """For each deletion its root's type, its state, and what it was purged with."""
    async with database.read() as tx:
        found = await tx.fetch_text("SELECT id, root_type, state, purged_with FROM deletions")
    return {str(row[0]): (row[1], row[2], row[3]) for row in found}


async def dump_counts(database: Database, deletion_id: str) -> dict[str, int]:
    """What the deletion's row says was really done, in rows per table."""
    async with database.read() as tx:
        ((counts,),) = await tx.fetch_text(f"SELECT actual_counts FROM deletions WHERE id = '{deletion_id}'")
    return msgspec.json.decode(counts, type=dict[str, int])


async def list_bundled(database: Database) -> set[str]:
    """The deletions whose bundle is written and verified."""
    async with database.read() as tx:
        found = await tx.fetch_text("SELECT id FROM deletions WHERE bundle_verified_at IS NOT NULL")
    return {str(deletion_id) for (deletion_id,) in found}


async def count_audit_rows(database: Database) -> dict[str, int]:
    """How many audit rows each user has."""
    async with database.read() as tx:
        found = await tx.fetch_text("SELECT user_id, count(*) FROM audit_logs GROUP BY user_id")
    return {str(u_id): int(count) for u_id, count in found}


def _row_id(table: Table, values: Values) -> RowId:
    return table.name, tuple(str(values[name]) for name in PRIMARY_KEYS[table.name])


class World:
    """Acts on a database. Whoever acts has every right: rights are tested elsewhere."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.root = Actor("", "")
        self.clock: Clock = utc_now

    async def start(self) -> None:
        """Make the super administrator in whose name the deletions are."""
        u_id = await make_super_admin(self.database, "admin")
        self.root = Actor(u_id, "admin", is_super_admin=True)

    async def act(self, work: Callable[..., Awaitable[Result]], *args: Any, **options: Any) -> Result:
        """Run a service function in a transaction of its own, again where it lost against another one."""

        async def attempt() -> Result:
            async with self.database.write() as tx:
                return await work(tx, *args, **options)

        return await with_retries(attempt)

    async def make_user(self, username: str) -> None:
        """A user with a session and an API token."""
        user = await self.act(
            accounts.create_user,
            self.root,
            username=username,
            hashed_password=PASSWORD_HASH,
            must_change_password=False,
        )
        await make_token(self.database, user.u_id)

    async def make_group(self, group_name: str) -> None:
        await self.act(groups.create_group, self.root, group_name=group_name)

    async def make_project(self, g_id: str) -> None:
        await self.act(projects.create_project, self.root, g_id=g_id, project_name="course", gpu_quota=2)

    async def join(self, u_id: str, g_id: str, role: str) -> None:
        await self.act(members.add_member, self.root, g_id, u_id=u_id, role=role)

    async def make_config_file(self, p_id: str, filename: str, names: list[str]) -> None:
        checked = await config_files.check_content(_manifests(names), allow_privileged=False)
        await self.act(config_files.create_config_file, self.root, p_id, filename=filename, checked=checked)

    async def replace_config_file(self, cf_id: str, names: list[str]) -> None:
        checked = await config_files.check_content(_manifests(names), allow_privileged=False)
        await self.act(config_files.replace_config_file, self.root, cf_id, checked=checked)

    async def open_form(self, u_id: str, p_id: str | None, message: str | None) -> None:
        await self.act(forms.open_form, self.actor(u_id), title="A question", project_id=p_id, message=message)

    async def add_message(self, u_id: str, form_id: str) -> None:
        await self.act(forms.add_message, self.actor(u_id), form_id, "More of it")

    async def file_request(self, u_id: str, p_id: str | None, image_name: str) -> None:
        await self.act(requests.file_request, self.actor(u_id), image_name=image_name, project_id=p_id)

    async def approve(self, u_id: str, request_id: str) -> None:
        await self.act(requests.approve_request, self.actor(u_id), request_id)

    async def add_rule(self, u_id: str, p_id: str | None, image_name: str) -> None:
        await self.act(images.add_rule, self.actor(u_id), parse_reference(image_name), project_id=p_id)

    async def run_workload(self, u_id: str, p_id: str, gpus: int, pod_name: str | None) -> None:
        asked = workloads.NewWorkload(
            project_id=p_id, name="training", image="nginx:1.27", resource_gpu=gpus, k8s_pod_name=pod_name
        )
        await self.act(workloads.create_workload, self.actor(u_id), asked)

    async def change_group(self, g_id: str, group_name: str) -> None:
        await self.act(groups.change_group, self.root, g_id, {"group_name": group_name})

    async def change_user(self, u_id: str, username: str) -> None:
        await self.act(accounts.change_user, self.root, u_id, {"username": username})

    async def protect(self, row: RowId, is_protected: bool) -> None:
        change = {
            "users": accounts.change_user,
            "group_list": groups.change_group,
            "project_list": projects.change_project,
        }[row[0]]
        await self.act(change, self.root, row[1][0], {"deletion_protected": is_protected})

    async def plan(self, root_type: str, root: RowId) -> DeletionPlan:
        return await self.act(
            deletions.plan_deletion, self.root, root_type, id_text(root), plan_key=self.settings.cursor_key
        )

    async def delete(
        self, root_type: str, root: RowId, token: str | None, *, take_along: bool = True, heir: str | None = None
    ) -> Deleted:
        return await self.act(
            deletions.delete,
            self.root,
            root_type,
            id_text(root),
            deletions.Wish(plan_token=token, take_along=take_along, hand_over_to=heir),
            plan_key=self.settings.cursor_key,
            kept_days=30,
        )

    async def restore(self, deletion_id: str, *, rename: bool = False) -> Restored:
        return await self.act(deletions.restore, self.root, deletion_id, rename=rename)

    async def purge(self, deletion_id: str) -> int:
        arguments = {"deletion_id": deletion_id, "actor_id": self.root.user_id, "actor_name": self.root.username}
        return await purge_deletion(self.database, bundle_folder(self.settings), arguments, self.clock)

    async def clean_up(self, before: datetime) -> CleanupReport:
        """Purge the deletions that were made before a moment, as retention does thirty days after it."""
        arguments = {"category": "soft-deleted", "days": 30}
        later = before + timedelta(days=30)
        return await run_cleanup(self.database, bundle_folder(self.settings), arguments, lambda: later)

    async def recover(self, deletion_id: str) -> Recovery:
        row = await self.act(deletions.get_deletion, self.root, deletion_id)
        return await recover(self.database, Path(row.bundle_path or "no bundle"), clock=self.clock)

    async def write_bundles(self) -> None:
        """Write the bundles of all deletions and remove nothing, as before the database's own procedure."""
        arguments = {"category": "soft-deleted", "days": 0, "prepare_only": True}
        await run_cleanup(self.database, bundle_folder(self.settings), arguments, self.clock)

    async def do(self, act: str, arguments: list[str]) -> None:
        """An act by its name, with the ids that it takes."""
        if act == "delete":
            root_type, table, *key = arguments
            plan = await self.plan(root_type, (table, tuple(key)))
            await self.delete(root_type, (table, tuple(key)), plan.token)
        else:
            await getattr(self, act)(*arguments)

    def actor(self, u_id: str) -> Actor:
        """A user who acts with every right."""
        return Actor(u_id, u_id, is_super_admin=True)


def id_text(root: RowId) -> str:
    """The id of a root as people write it: a member's is `g_id/u_id`."""
    return "/".join(reversed(root[1]))


def _manifests(names: list[str]) -> str:
    return "\n---\n".join(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  name: {name}" for name in names
    )
