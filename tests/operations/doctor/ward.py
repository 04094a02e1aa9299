"""A small healthy instance, and ways to harm it that no constraint stands against."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import pymysql

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.lifecycle.trash import mark
from holdfast.db.migrations.files import known_revisions
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.tables import audit_logs, course_workloads, deletions, metadata, resources
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.doctor.examination import apply_cures, examine, plan_cures
from holdfast.operations.doctor.types import Change, Finding, Subject
from holdfast.settings import Settings
from tests.db.rows import fetch
from tests.factories import (
    insert_row,
    make_config_file,
    make_form,
    make_group,
    make_image_request,
    make_member,
    make_message,
    make_project,
    make_rule,
    make_token,
    make_user,
)
from tests.instance import Instance

PERIODIC = {"nightly.work": timedelta(days=1)}
_PLENTY = (10**12, 0, 10**12)
# The servers of tests may lose everything in a crash of the machine, and so end their writes sooner.
_OF_TEST_SERVERS = {
    ("fsync",),
    ("full_page_writes",),
    ("synchronous_commit",),
    ("innodb_doublewrite",),
    ("innodb_flush_log_at_trx_commit",),
}


class World(msgspec.Struct, frozen=True):
    """The ids of a course in which everything is right, with one form that was deleted."""

    admin: str
    teacher: str
    student: str
    group: str
    project: str
    form: str
    message: str
    config_file: str
    request: str
    rule: str
    workload: str
    deleted_form: str
    deleted_message: str
    deletion: str


class Ward:
    """An instance that is examined, as a whole each time."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.engine = instance.engine
        self.settings: Settings = msgspec.structs.replace(
            instance.settings, data_dir=folder, bundle_dir="", admin_password="correct horse battery"
        )
        self.database: Database = instance.database
        self.subject = Subject(
            database=self.database,
            settings=self.settings,
            periodic=PERIODIC,
            disk_usage=lambda _: _PLENTY,
        )
        self.world: World
        self.bundles = self.settings.resolved_bundle_dir

    async def findings(self, *names: str) -> list[Finding]:
        """What the doctor finds."""
        return without_test_servers((await examine(self.subject, names)).findings)

    async def planned(self, *names: str) -> list[Change]:
        """What cures would change."""
        return [change async for change in plan_cures(self.subject, names)]

    async def cured(self, *names: str) -> list[Change]:
        """What cures changed."""
        return [change async for change in apply_cures(self.subject, names)]

    async def harm(self, *statements: str, checks_off: Sequence[str] = ()) -> None:
        """Run statements with foreign keys and checks off. On PostgreSQL `checks_off` names the checks by table."""
        await asyncio.to_thread(_run_without_keys, self.engine, self.settings.database_url, statements, checks_off)

    async def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        found = {}
        for table in metadata.sorted_tables:
            keys = ", ".join(column.name for column in table.primary_key)
            found[table.name] = await fetch(self.database, f"SELECT * FROM {table.name} ORDER BY {keys}")
        return found

    async def one(self, sql: str) -> Any:
        """The only value of a query."""
        ((value,),) = await fetch(self.database, sql)
        return value


async def make_healthy(ward: Ward) -> None:
    """The first start, and a small course."""
    database = ward.database
    await ensure_first_start(database, ward.settings.admin_password)
    admin = await ward.one("SELECT u_id FROM users WHERE username = 'admin'")
    teacher, student = await make_user(database, "teacher"), await make_user(database, "student")
    group = await make_group(database, "physics")
    await make_member(database, teacher, group, "admin")
    await make_member(database, student, group)
    project = await make_project(database, group, gpu_quota=4)
    form = await make_form(database, student, project)
    message = await make_message(database, form, teacher)
    config_file = await make_config_file(database, project)
    await insert_row(
        database, resources, r_id=new_long_id(), cf_id=config_file, type="pod", name="pod/web", parsed_yaml={}
    )
    request = await make_image_request(database, student, project, status="approved", reviewer_id=teacher)
    rule = await make_rule(database, teacher, project, request_id=request)
    workload = new_long_id()
    await insert_row(
        database,
        course_workloads,
        id=workload,
        user_id=student,
        project_id=project,
        name="training",
        namespace="physics",
        image="nginx:1.27",
        status="Running",
        k8s_pod_name="training-1",
        resource_gpu=2,
    )
    await make_token(database, student)
    for actor in (teacher, student):
        entry = {"user_id": actor, "action": "create", "resource_type": "form", "resource_id": form}
        await insert_row(database, audit_logs, **entry)
    deleted_form = await make_form(database, student, project)
    deleted_message = await make_message(database, deleted_form, student)
    deletion = await delete(database, "form", deleted_form)
    ward.world = World(
        admin=admin,
        teacher=teacher,
        student=student,
        group=group,
        project=project,
        form=form,
        message=message,
        config_file=config_file,
        request=request,
        rule=rule,
        workload=workload,
        deleted_form=deleted_form,
        deleted_message=deleted_message,
        deletion=deletion,
    )


async def delete(database: Database, root_type: str, root_id: str, **values: Any) -> str:
    """A deletion of today; its id."""
    deletion_id, now = new_long_id(), utc_now()
    async with database.write() as tx:
        counts = await mark(tx, root_of(root_type, root_id), deletion_id, now)
    row = {
        "id": deletion_id,
        "root_type": root_type,
        "root_id": root_id,
        "actor_id": "somebody",
        "actor_name": "somebody",
        "planned_counts": counts,
        "actual_counts": counts,
        "created_at": now,
        "updated_at": now,
    }
    await insert_row(database, deletions, **row | values)
    return deletion_id


def without_test_servers(findings: list[Finding]) -> list[Finding]:
    """The findings that are not those of the servers which tests run on."""
    return [each for each in findings if each.check != "database_settings" or tuple(each.rows) not in _OF_TEST_SERVERS]


def sha256_of(path: Path) -> str:
    """The hash of a file, as its row keeps it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def newest_revision() -> str:
    """The revision that a database of this version has."""
    return known_revisions()[-1]


def _run_without_keys(engine: str, url: str, statements: Sequence[str], checks_off: Sequence[str]) -> None:
    if engine == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
        try:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()
    elif engine == "postgresql":
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("SET session_replication_role = replica")
            for check in checks_off:
                table, _, name = check.partition(".")
                server.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
            for statement in statements:
                server.execute(statement.encode())
    else:
        parts = urlsplit(url)
        host, user = parts.hostname or "", parts.username or ""
        opened = pymysql.connect(
            host=host, port=parts.port or 0, user=user, database=parts.path[1:], autocommit=True, charset="utf8mb4"
        )
        with opened, opened.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0, check_constraint_checks = 0, time_zone = '+00:00'")
            for statement in statements:
                cursor.execute(statement)
