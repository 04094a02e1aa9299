"""The rules of the product, asked of what is there: quotas, administrators, rules of images, unique names, checks."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import CheckConstraint, Select, Table, UniqueConstraint, and_, exists, func, literal_column, select

from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.retries import with_retries
from holdfast.db.statements import Count, Query, live
from holdfast.db.tables import (
    container_tags,
    course_workloads,
    group_list,
    image_allow_list,
    image_requests,
    metadata,
    project_list,
    user_group,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.db.tables.workloads import STATUSES_HOLDING_GPUS
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.features.images.orphan_queries import lacks_rule
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.rows import FaultyRows
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject


class _RowId(msgspec.Struct, frozen=True):
    id: str


def _over_quota() -> FaultyRows:
    gpus = func.sum(course_workloads.c.resource_gpu).label("gpus")
    used = (
        select(course_workloads.c.project_id, gpus)
        .where(course_workloads.c.status.in_(STATUSES_HOLDING_GPUS), live(course_workloads))
        .group_by(course_workloads.c.project_id)
        .subquery("used")
    )

    def narrow(rows: Select[Any]) -> Select[Any]:
        joined = rows.join(used, used.c.project_id == project_list.c.p_id)
        return joined.where(used.c.gpus > project_list.c.gpu_quota, live(project_list))

    return FaultyRows("over_quota", "project_list", project_list, narrow, note=used.c.gpus)


def _without_admin() -> FaultyRows:
    has_admin = exists().where(
        user_group.c.g_id == group_list.c.g_id,
        user_group.c.role == "admin",
        live(user_group),
        users.c.u_id == user_group.c.u_id,
        live(users),
    )
    has_members = exists().where(user_group.c.g_id == group_list.c.g_id, live(user_group))

    def narrow(rows: Select[Any]) -> Select[Any]:
        return rows.where(live(group_list), group_list.c.g_id != SUPER_GROUP_ID, has_members, ~has_admin)

    return FaultyRows("without_admin", "group_list", group_list, narrow)


def _of_another_repository() -> FaultyRows:
    def narrow(rows: Select[Any]) -> Select[Any]:
        joined = rows.join(container_tags, container_tags.c.id == image_allow_list.c.tag_id)
        return joined.where(live(image_allow_list), container_tags.c.repository_id != image_allow_list.c.repository_id)

    return FaultyRows("of_another_repository", "image_allow_list", image_allow_list, narrow)


def _approved_without_rule() -> FaultyRows:
    def narrow(rows: Select[Any]) -> Select[Any]:
        return rows.where(image_requests.c.status == "approved", live(image_requests), lacks_rule())

    return FaultyRows("approved_without_rule", "image_requests", image_requests, narrow)


def _doubled(unique: UniqueConstraint) -> FaultyRows:
    table = unique.table
    is_of_live_rows = "deletion_id" in unique.columns
    columns = [column for column in unique.columns if column.name != "deletion_id"]
    values = select(*columns).group_by(*columns).having(func.count() > 1)
    if is_of_live_rows:
        values = values.where(live(table))
    doubled = values.subquery("doubled")

    def narrow(rows: Select[Any]) -> Select[Any]:
        joined = rows.join(doubled, and_(*(column == doubled.c[column.name] for column in columns)))
        return joined.where(live(table)) if is_of_live_rows else joined

    return FaultyRows("doubled", str(unique.name), table, narrow)


def _breaking(table: Table, dialect_name: str | None) -> FaultyRows | None:
    """Rows that break a check of the table: of those for every engine, or for one."""
    checks = [each for each in _checks(table) if each.info.get("dialect") == dialect_name]
    if not checks:
        return None
    # As text: a check that cannot be answered, because a value is missing, holds.
    conditions = " AND ".join(f"({each.sqltext})" for each in checks)
    kind = "breaking_checks" if dialect_name is None else f"breaking_bounds_of_{dialect_name}"
    return FaultyRows(kind, str(table.name), table, lambda rows: rows.where(literal_column(f"NOT ({conditions})")))


def _checks(table: Table) -> list[CheckConstraint]:
    found = [each for each in table.constraints if isinstance(each, CheckConstraint)]
    return sorted(found, key=lambda each: str(each.name))


OVER_QUOTA = _over_quota()
WITHOUT_ADMIN = _without_admin()
OF_ANOTHER_REPOSITORY = _of_another_repository()
APPROVED_WITHOUT_RULE = _approved_without_rule()
UNIQUES = sorted(
    (each for table in GRAPH.tables for each in table.constraints if isinstance(each, UniqueConstraint)),
    key=lambda each: str(each.name),
)
DOUBLED = {str(each.name): _doubled(each) for each in UNIQUES}
BREAKING = {table.name: _breaking(table, None) for table in metadata.sorted_tables}
BREAKING_ON_SQLITE = {table.name: _breaking(table, "sqlite") for table in metadata.sorted_tables}
_active_super_admins = (
    select(users.c.u_id.label("id"))
    .join(user_group, user_group.c.u_id == users.c.u_id)
    .where(
        user_group.c.g_id == SUPER_GROUP_ID,
        user_group.c.role == "admin",
        live(user_group),
        live(users),
        users.c.status != "delete",
    )
)
COUNT_SUPER_ADMINS = Query(
    "doctor.count_super_admins",
    select(func.count().label("value")).select_from(_active_super_admins.subquery("super_admins")),
    Count,
)
SUPER_GROUP = Query(
    "doctor.super_group",
    select(group_list.c.g_id.label("id")).where(group_list.c.g_id == SUPER_GROUP_ID, live(group_list)),
    _RowId,
)
DELETED_SUPER_GROUP = Query(
    "doctor.deleted_super_group_include_deleted",
    select(group_list.c.deletion_id.label("id")).where(
        group_list.c.g_id == SUPER_GROUP_ID, group_list.c.deletion_id != ""
    ),
    _RowId,
)
HAS_USERS = Query("doctor.has_users_include_deleted", select(users.c.u_id.label("id")).limit(1), _RowId)


async def find_over_quota(subject: Subject) -> AsyncIterator[Fault]:
    """Projects whose workloads hold more GPUs than their quota, which may be set below what is in use."""
    message = (
        "{count} projects hold more GPUs than their quota, as one may where the quota was lowered: they get no more"
    )
    async for fault in OVER_QUOTA.fault(subject.database, Severity.NOTICE, message):
        yield fault


async def find_groups_without_admin(subject: Subject) -> AsyncIterator[Fault]:
    """Groups with members of whom none is an admin."""
    message = "{count} groups have members and no admin: only super administrators can change them"
    async for fault in WITHOUT_ADMIN.fault(subject.database, Severity.WARNING, message):
        yield fault


async def find_missing_administrators(subject: Subject) -> AsyncIterator[Fault]:
    """Group super, user admin and a super administrator who can sign in."""
    async with subject.database.read() as tx:
        if not await tx.fetch_all(HAS_USERS):
            # Nobody ever started a server on it; the first start makes them.
            return
        group = await tx.fetch_all(SUPER_GROUP)
        deleted = await tx.fetch_all(DELETED_SUPER_GROUP)
        admin = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
        admins = await tx.fetch_count(COUNT_SUPER_ADMINS)
    if deleted:
        yield Fault(
            severity=Severity.ERROR,
            message=f"group super is deleted: restore deletion {deleted[0].id}",
            table="group_list",
            rows=[SUPER_GROUP_ID],
        )
    elif not group or admin is None or not admins:
        lacking = [
            name
            for name, is_there in (
                ("group super", bool(group)),
                ("user admin", admin is not None),
                ("an active super administrator", bool(admins)),
            )
            if not is_there
        ]
        yield Fault(
            severity=Severity.ERROR,
            message=f"there is no {' and no '.join(lacking).replace('no an ', 'no ')}: nobody administers this"
            " instance, and what the service does by itself has no actor",
            table="users",
            rows=lacking,
            count=len(lacking),
            is_curable=True,
        )


async def find_rules_of_other_repositories(subject: Subject) -> AsyncIterator[Fault]:
    """Rules of the allow list whose tag is of another repository than the rule."""
    message = "{rows} of the allow list name a tag of another repository: what they allow is not what they show"
    async for fault in OF_ANOTHER_REPOSITORY.fault(subject.database, Severity.ERROR, message):
        yield fault


async def find_approved_without_rule(subject: Subject) -> AsyncIterator[Fault]:
    """Approved requests that no rule goes back to (S-10). A rule that was purged on purpose leaves its request so."""
    message = (
        "{count} approved image requests have no rule, so what was approved is not allowed: the rule was purged, or"
        " lost before an import. Make it by hand if the image is still wanted"
    )
    async for fault in APPROVED_WITHOUT_RULE.fault(subject.database, Severity.NOTICE, message):
        yield fault


async def find_doubled(subject: Subject) -> AsyncIterator[Fault]:
    """Rows that share what must be unique, as an import without the keys may leave them."""
    for unique in UNIQUES:
        names = ", ".join(column.name for column in unique.columns if column.name != "deletion_id")
        message = f"{{rows}} of {unique.table.name} share their {names}, which must be unique: rename or delete some"
        async for fault in DOUBLED[str(unique.name)].fault(subject.database, Severity.ERROR, message):
            yield fault


async def find_broken_checks(subject: Subject) -> AsyncIterator[Fault]:
    """Rows that a check of their table would refuse, as an import without the checks may leave them."""
    for table in metadata.sorted_tables:
        found: list[tuple[FaultyRows | None, str | None]] = [(BREAKING[table.name], None)]
        if subject.database.dialect_name == "sqlite":
            found.append((BREAKING_ON_SQLITE[table.name], "sqlite"))
        for rows, dialect_name in found:
            if rows is None:
                continue
            names = [str(each.name) for each in _checks(table) if each.info.get("dialect") == dialect_name]
            message = f"{{rows}} of {table.name} break a check of it ({', '.join(names)})"
            async for fault in rows.fault(subject.database, Severity.ERROR, message):
                yield fault


class MakeAdministrators:
    """Group super, user admin and their role are made again, as at the first start; admin may sign in again."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for fault in find_missing_administrators(subject):
            if fault.is_curable:
                yield _made(fault.rows, "would be made, as at the first start")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        async for fault in find_missing_administrators(subject):
            if not fault.is_curable:
                continue
            made = await ensure_first_start(subject.database, subject.settings.admin_password, subject.clock)
            await with_retries(partial(_let_admin_sign_in, subject))
            left = {
                each for again in [again async for again in find_missing_administrators(subject)] for each in again.rows
            }
            lacking = [each for each in fault.rows if each not in left]
            if not lacking:
                continue
            told = "are there again"
            if made is not None and made.generated_password is not None:
                told += f"; the password of {made.username} is {made.generated_password}, shown this once"
            yield _made(lacking, told)


async def _let_admin_sign_in(subject: Subject) -> None:
    """Where no super administrator can, because admin's status is `delete`."""
    async with subject.database.write() as tx:
        admin = await tx.fetch_one(account_queries.FIND_CREDENTIALS_NAMED, username=ADMIN_USERNAME)
        if admin is None or admin.status != "delete" or await tx.fetch_count(COUNT_SUPER_ADMINS):
            return
        await tx.execute(
            account_queries.SET_STATUS, u_id=admin.u_id, new_status="offline", new_updated_at=subject.clock()
        )
        await record(tx, subject, _made([ADMIN_USERNAME], "may sign in again"), old_status="delete", status="offline")


def _made(lacking: list[str], done: str) -> Change:
    return Change(check="administrators", table="users", rows=lacking, done=f"{', '.join(lacking)} {done}")
