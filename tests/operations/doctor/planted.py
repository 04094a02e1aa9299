"""The faults that tests plant: how each is made, who finds it, and what is left when it is cured.

Each `plant` harms a healthy ward and gives the ids that the finding must name.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.statements import DIALECTS
from holdfast.db.tables import jobs
from tests.factories import insert_row, make_form, make_group, make_image_request, make_member, make_token
from tests.operations.doctor.ward import Ward, delete

Plant = Callable[[Ward], Awaitable[list[str]]]
NOWHERE = "nowhere"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `also` are checks that find it as well; `left` are those that find something once it is cured."""

    name: str
    check: str
    plant: Plant
    engines: tuple[str, ...] = DIALECTS
    is_curable: bool = True
    # Whether one of its severities may be error: what the product permits is a notice.
    is_error: bool = True
    also: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    # Statements that undo what the cure leaves, because other tests share the schema.
    undo: tuple[str, ...] = ()


def _sql(*statements: str, rows: Callable[[Ward], list[str]], checks_off: tuple[str, ...] = ()) -> Plant:
    async def plant(ward: Ward) -> list[str]:
        words = msgspec.structs.asdict(ward.world)
        await ward.harm(*(statement.format(**words) for statement in statements), checks_off=checks_off)
        return rows(ward)

    return plant


async def _old_jobs(ward: Ward) -> None:
    """A worker ran here a while ago, and its schedule is in order."""
    now = utc_now()
    await insert_row(
        ward.database,
        jobs,
        id="periodic",
        name="nightly.work",
        arguments={},
        run_at=now + timedelta(hours=2),
        created_at=now - timedelta(days=5),
    )


async def _job(ward: Ward, **values: object) -> list[str]:
    await _old_jobs(ward)
    job_id = new_long_id()
    row = {"id": job_id, "name": "one.off", "arguments": {}, "run_at": utc_now(), "created_at": utc_now()}
    await insert_row(ward.database, jobs, **row | values)
    return [job_id]


async def _stuck_job(ward: Ward) -> list[str]:
    ended = utc_now() - timedelta(hours=3)
    return await _job(ward, state="running", attempts=1, lease_token="gone", lease_until=ended, run_at=ended)


async def _job_without_lease(ward: Ward) -> list[str]:
    return await _job(ward, state="running", attempts=1)


async def _late_job(ward: Ward) -> list[str]:
    return await _job(ward, run_at=utc_now() - timedelta(hours=2))


async def _failed_job(ward: Ward) -> list[str]:
    return await _job(ward, state="failed", attempts=8, failure="the other end is away")


async def _missing_periodic(ward: Ward) -> list[str]:
    await _job(ward, created_at=utc_now() - timedelta(days=1))
    await ward.harm("DELETE FROM jobs WHERE id = 'periodic'")
    return ["nightly.work"]


async def _overdue_periodic(ward: Ward) -> list[str]:
    await _old_jobs(ward)
    await _set_due(ward, utc_now() - timedelta(days=3))
    return ["nightly.work"]


async def _periodic_put_off_for_years(ward: Ward) -> list[str]:
    await _old_jobs(ward)
    await _set_due(ward, utc_now() + timedelta(days=900))
    return ["nightly.work"]


async def _set_due(ward: Ward, moment: object) -> None:
    await ward.harm(f"UPDATE jobs SET run_at = '{_text(moment)}' WHERE id = 'periodic'")


async def _abandoned_purge(ward: Ward) -> list[str]:
    ended = _text(utc_now() - timedelta(hours=5))
    await ward.harm(
        f"UPDATE deletions SET state = 'purging', lease_token = 'gone', lease_until = '{ended}'"
        f" WHERE id = '{ward.world.deletion}'"
    )
    return [ward.world.deletion]


async def _purge_without_lease(ward: Ward) -> list[str]:
    await ward.harm(f"UPDATE deletions SET state = 'purging', lease_until = NULL WHERE id = '{ward.world.deletion}'")
    return [ward.world.deletion]


async def _expired_token(ward: Ward) -> list[str]:
    await _old_jobs(ward)
    token_id = new_long_id()
    await make_token(ward.database, ward.world.student, id=token_id, expires_at=utc_now() - timedelta(days=40))
    return [token_id]


async def _expired_failure(ward: Ward) -> list[str]:
    await _old_jobs(ward)
    begun = _text(utc_now() - timedelta(days=9))
    await ward.harm(
        f"INSERT INTO sign_in_failures (subject, failures, window_started_at) VALUES ('name:x', 1, '{begun}')"
    )
    return ["name:x"]


async def _old_drill(ward: Ward) -> list[str]:
    await _old_jobs(ward)
    await ward.harm(f"UPDATE jobs SET created_at = '{_text(utc_now() - timedelta(days=40))}' WHERE id = 'periodic'")
    return []


async def _orphaned_form(ward: Ward) -> list[str]:
    form = await make_form(ward.database, ward.world.student, ward.world.project)
    await ward.harm(f"UPDATE forms SET user_id = '{NOWHERE}' WHERE id = '{form}'")
    return [form]


async def _orphaned_project(ward: Ward) -> list[str]:
    """All that hangs on it goes with it: the file and its object, forms and their messages, the workload, the rule."""
    await ward.harm(f"UPDATE project_list SET g_id = '{NOWHERE}' WHERE p_id = '{ward.world.project}'")
    return [ward.world.project]


async def _orphaned_deleted_row(ward: Ward) -> list[str]:
    await ward.harm(f"UPDATE form_messages SET user_id = '{NOWHERE}' WHERE id = '{ward.world.deleted_message}'")
    return [ward.world.deleted_message]


async def _orphaned_member(ward: Ward) -> list[str]:
    await ward.harm(
        f"UPDATE user_group SET g_id = '{NOWHERE}' WHERE u_id = '{ward.world.student}' AND g_id = '{ward.world.group}'"
    )
    return [f"{ward.world.student}/{NOWHERE}"]


async def _orphaned_entry(ward: Ward) -> list[str]:
    number = await ward.one(f"SELECT min(id) FROM audit_logs WHERE user_id = '{ward.world.student}'")
    await ward.harm(f"UPDATE audit_logs SET user_id = '{NOWHERE}' WHERE id = {number}")
    return [str(number)]


async def _live_child(ward: Ward) -> list[str]:
    form = ward.world.deleted_form
    message = new_long_id()
    await ward.harm(
        "INSERT INTO form_messages (id, form_id, user_id, content, created_at)"
        f" VALUES ('{message}', '{form}', '{ward.world.student}', 'hello', '{_text(utc_now())}')"
    )
    return [message]


async def _live_subtree(ward: Ward) -> list[str]:
    """A live project in a deleted group: what hangs on the project hangs on the group as well."""
    group = await make_group(ward.database, "chemistry")
    deletion = await delete(ward.database, "group", group)
    assert deletion
    await ward.harm(f"UPDATE project_list SET g_id = '{group}' WHERE p_id = '{ward.world.project}'")
    return [ward.world.project]


async def _rule_under_deleted_tag(ward: Ward) -> list[str]:
    deletion = ward.world.deletion
    deleted = f"deletion_id = '{deletion}', deleted_at = '{_text(utc_now())}'"
    tag = f"(SELECT tag_id FROM image_allow_list WHERE id = '{ward.world.rule}')"
    await ward.harm(f"UPDATE container_tags SET {deleted} WHERE id = {tag}")
    counts = '{"container_tags": 1, "form_messages": 1, "forms": 1}'
    await ward.harm(f"UPDATE deletions SET planned_counts = '{counts}', actual_counts = '{counts}'")
    return [ward.world.rule]


async def _unknown_deletion(ward: Ward) -> list[str]:
    await ward.harm(f"DELETE FROM deletions WHERE id = '{ward.world.deletion}'")
    return [ward.world.deleted_form]


async def _deletion_with_other_counts(ward: Ward) -> list[str]:
    counts = '{"forms": 1, "form_messages": 3}'
    await ward.harm(f"UPDATE deletions SET actual_counts = '{counts}' WHERE id = '{ward.world.deletion}'")
    return [ward.world.deletion]


async def _row_gone_from_deletion(ward: Ward) -> list[str]:
    await ward.harm(f"DELETE FROM form_messages WHERE id = '{ward.world.deleted_message}'")
    return [ward.world.deletion]


async def _ungoverned_group(ward: Ward) -> list[str]:
    group = await make_group(ward.database, "biology")
    await make_member(ward.database, ward.world.student, group)
    return [group]


async def _request_without_rule(ward: Ward) -> list[str]:
    return [await make_image_request(ward.database, ward.world.student, status="approved")]


async def _tag_of_another_repository(ward: Ward) -> list[str]:
    await ward.harm(
        "INSERT INTO container_repositories (id, name, full_name) VALUES ('other', 'other', 'docker.io/library/other')",
        f"UPDATE image_allow_list SET repository_id = 'other' WHERE id = '{ward.world.rule}'",
    )
    return [ward.world.rule]


async def _row_from_the_future(ward: Ward) -> list[str]:
    later = _text(utc_now() + timedelta(days=2))
    await ward.harm(f"UPDATE forms SET created_at = '{later}' WHERE id = '{ward.world.form}'")
    return [ward.world.form]


async def _entry_from_the_future(ward: Ward) -> list[str]:
    number = await ward.one("SELECT max(id) FROM audit_logs")
    await ward.harm(f"UPDATE audit_logs SET created_at = '{_text(utc_now() + timedelta(days=2))}' WHERE id = {number}")
    return [str(number)]


async def _entries_taken_out(ward: Ward) -> list[str]:
    """An entry in the middle on SQLite, which gives no number twice and leaves none out; a thousand on the servers."""
    entry = f"('{ward.world.admin}', 'create', 'form', 'x', '{_text(utc_now())}')"
    columns = "(user_id, action, resource_type, resource_id, created_at)"
    first = await ward.one("SELECT max(id) FROM audit_logs") + 1
    for _ in range(12):
        await ward.harm(f"INSERT INTO audit_logs {columns} VALUES {', '.join([entry] * 100)}")
    last = await ward.one("SELECT max(id) FROM audit_logs")
    await ward.harm(f"DELETE FROM audit_logs WHERE id >= {first} AND id < {last}")
    return [f"{first}-{last - 1}"]


async def _newest_entries_taken_out(ward: Ward) -> list[str]:
    named = await _entries_taken_out(ward)
    first = int(named[0].partition("-")[0])
    last = await ward.one("SELECT max(id) FROM audit_logs")
    await ward.harm(f"DELETE FROM audit_logs WHERE id >= {first}")
    return [f"{first}-{last}"]


async def _sequence_behind(ward: Ward) -> list[str]:
    await ward.harm("SELECT setval(pg_get_serial_sequence('audit_logs', 'id'), 1)")
    return ["2"]


async def _deleted_half(ward: Ward) -> list[str]:
    await ward.harm(
        f"UPDATE forms SET deleted_at = '{_text(utc_now())}' WHERE id = '{ward.world.form}'",
        checks_off=("forms.ck_forms_deleted_has_deletion",),
    )
    return [ward.world.form]


def _text(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}"


async def _doubled_name(ward: Ward) -> list[str]:
    drop = "DROP INDEX" if ward.engine == "mariadb" else "DROP CONSTRAINT"
    await ward.harm(
        f"ALTER TABLE users {drop} uq_users_username_deletion_id",
        f"UPDATE users SET username = 'student' WHERE u_id = '{ward.world.teacher}'",
    )
    return sorted([ward.world.teacher, ward.world.student])


_SERVERS = ("postgresql", "mariadb")
_PG = ("postgresql",)
_FORMS_INDEX = "ix_forms_created_at_id"

FAULTS = (
    # Orphans
    Fault(name="a form of nobody", check="orphans", plant=_orphaned_form),
    Fault(
        name="a project without its group, with all that hangs on it",
        check="orphans",
        plant=_orphaned_project,
        # The approved request goes with its rule, and the deletion with the project that its form was of.
    ),
    Fault(name="a deleted message of nobody", check="orphans", plant=_orphaned_deleted_row),
    Fault(name="a member of no group", check="orphans", plant=_orphaned_member),
    Fault(name="an entry of the audit log of nobody", check="orphans", plant=_orphaned_entry),
    Fault(
        name="a reviewer who is not there",
        check="orphans",
        plant=_sql(
            f"UPDATE image_requests SET reviewer_id = '{NOWHERE}' WHERE id = '{{request}}'",
            rows=lambda ward: [ward.world.request],
        ),
    ),
    Fault(
        name="an idempotency key of nobody",
        check="orphans",
        plant=_sql(
            "INSERT INTO idempotency_keys (user_id, idempotency_key, fingerprint, status, created_at)"
            f" SELECT '{NOWHERE}', 'a key', 'x', 201, min(created_at) FROM users",
            rows=lambda ward: [f"{NOWHERE}/a key"],
        ),
    ),
    # Deletions
    Fault(name="a live message on a deleted form", check="live_under_deleted", plant=_live_child),
    Fault(
        name="a live project in a deleted group",
        check="live_under_deleted",
        plant=_live_subtree,
    ),
    Fault(name="a rule for a deleted tag", check="live_under_deleted", plant=_rule_under_deleted_tag),
    Fault(name="a deletion that is not recorded", check="unknown_deletions", plant=_unknown_deletion),
    Fault(
        name="rows left by a purge",
        check="finished_deletions",
        plant=_sql(
            "UPDATE deletions SET state = 'purged', purged_with = 'another' WHERE id = '{deletion}'",
            rows=lambda ward: [ward.world.deleted_form],
        ),
        left=frozenset({"failed_work"}),
    ),
    Fault(
        name="rows left by a restore",
        check="finished_deletions",
        plant=_sql(
            "UPDATE deletions SET state = 'restored' WHERE id = '{deletion}'",
            rows=lambda ward: [ward.world.deleted_form],
        ),
        left=frozenset({"failed_work"}),
    ),
    Fault(name="a deletion that says other numbers", check="deletion_counts", plant=_deletion_with_other_counts),
    Fault(name="a row gone from a deletion", check="deletion_counts", plant=_row_gone_from_deletion),
    # Rules
    Fault(
        name="more GPUs than the quota",
        check="gpu_quotas",
        is_error=False,
        is_curable=False,
        plant=_sql(
            "UPDATE project_list SET gpu_quota = 1 WHERE p_id = '{project}'", rows=lambda ward: [ward.world.project]
        ),
    ),
    Fault(name="a group without an admin", check="group_admins", is_curable=False, plant=_ungoverned_group),
    Fault(
        name="no super administrator",
        check="administrators",
        plant=_sql(
            "UPDATE user_group SET role = 'user' WHERE g_id = 'super_group'",
            rows=lambda ward: ["an active super administrator"],
        ),
    ),
    Fault(
        name="no super administrator who may sign in",
        check="administrators",
        plant=_sql(
            "UPDATE users SET status = 'delete' WHERE u_id = '{admin}'",
            rows=lambda ward: ["an active super administrator"],
        ),
    ),
    Fault(
        name="no user admin and no group super",
        check="administrators",
        plant=_sql(
            "DELETE FROM audit_logs WHERE user_id = '{admin}'",
            "DELETE FROM user_group WHERE g_id = 'super_group'",
            "DELETE FROM group_list WHERE g_id = 'super_group'",
            "DELETE FROM users WHERE u_id = '{admin}'",
            rows=lambda ward: ["group super", "user admin", "an active super administrator"],
        ),
    ),
    Fault(
        name="a tag of another repository",
        check="rule_repositories",
        is_curable=False,
        plant=_tag_of_another_repository,
    ),
    Fault(
        name="an approved request without a rule",
        check="approved_requests",
        is_error=False,
        is_curable=False,
        plant=_request_without_rule,
    ),
    Fault(
        name="two users of one name",
        check="unique_names",
        is_curable=False,
        engines=_SERVERS,
        also=frozenset({"schema"}),
        plant=_doubled_name,
        undo=(
            "DELETE FROM users",
            "ALTER TABLE users ADD CONSTRAINT uq_users_username_deletion_id UNIQUE (username, deletion_id)",
        ),
    ),
    Fault(
        name="a row deleted by half",
        check="broken_checks",
        is_curable=False,
        engines=("sqlite", "mariadb"),
        plant=_deleted_half,
    ),
    Fault(
        name="a status that there is not",
        check="broken_checks",
        is_curable=False,
        engines=("sqlite", "mariadb"),
        plant=_sql("UPDATE forms SET status = 'Forgotten' WHERE id = '{form}'", rows=lambda ward: [ward.world.form]),
    ),
    Fault(
        name="an id that is too long",
        check="broken_checks",
        is_curable=False,
        engines=("sqlite",),
        plant=_sql(
            "UPDATE forms SET tag = printf('%0101d', 1) WHERE id = '{form}'", rows=lambda ward: [ward.world.form]
        ),
    ),
    # Times
    Fault(name="a form from the future", check="future_times", is_curable=False, plant=_row_from_the_future),
    Fault(name="an entry from the future", check="future_times", is_curable=False, plant=_entry_from_the_future),
    Fault(
        name="a time in another form",
        check="time_forms",
        is_curable=False,
        engines=("sqlite",),
        plant=_sql(
            "UPDATE forms SET updated_at = '2026-02-05T08:00:00Z' WHERE id = '{form}'",
            rows=lambda ward: [ward.world.form],
        ),
    ),
    # The audit log
    Fault(name="entries taken out of the audit log", check="audit_gaps", is_curable=False, plant=_entries_taken_out),
    Fault(
        name="the newest entries taken out of the audit log",
        check="audit_gaps",
        is_curable=False,
        plant=_newest_entries_taken_out,
    ),
    Fault(name="an audit log that gives numbers twice", check="audit_numbers", engines=_PG, plant=_sequence_behind),
    # Jobs and what should have gone
    Fault(name="a job whose worker died", check="stuck_jobs", plant=_stuck_job),
    Fault(name="a job that runs without a lease", check="stuck_jobs", plant=_job_without_lease),
    Fault(name="a job that nobody does", check="late_jobs", is_curable=False, plant=_late_job),
    Fault(name="a job that was given up", check="failed_work", is_curable=False, plant=_failed_job),
    Fault(
        name="a deletion that could not be purged",
        check="failed_work",
        is_curable=False,
        plant=_sql(
            "UPDATE deletions SET state = 'failed', failure = 'no room' WHERE id = '{deletion}'",
            rows=lambda ward: [ward.world.deletion],
        ),
    ),
    Fault(name="a periodic job that is not there", check="schedule", is_curable=False, plant=_missing_periodic),
    Fault(name="a periodic job that does not run", check="schedule", is_curable=False, plant=_overdue_periodic),
    Fault(name="a periodic job put off for years", check="schedule", plant=_periodic_put_off_for_years),
    Fault(name="a purge whose worker died", check="abandoned_purges", plant=_abandoned_purge),
    Fault(name="a purge without a lease", check="abandoned_purges", plant=_purge_without_lease),
    Fault(name="a token that should have gone", check="expired_rows", plant=_expired_token),
    Fault(name="a failed sign-in that should have gone", check="expired_rows", plant=_expired_failure),
    Fault(name="no drill for a month", check="drill", is_curable=False, plant=_old_drill),
    # The schema and the engine
    Fault(
        name="a missing index",
        check="schema",
        engines=("sqlite", "postgresql"),
        plant=_sql(f"DROP INDEX {_FORMS_INDEX}", rows=lambda ward: [_FORMS_INDEX]),
    ),
    Fault(
        name="a missing index on MariaDB",
        check="schema",
        engines=("mariadb",),
        plant=_sql(f"DROP INDEX {_FORMS_INDEX} ON forms", rows=lambda ward: [_FORMS_INDEX]),
    ),
    Fault(
        name="a missing view",
        check="schema",
        plant=_sql("DROP VIEW user_group_views", rows=lambda ward: ["user_group_views"]),
    ),
    Fault(
        name="a missing foreign key",
        check="schema",
        engines=_PG,
        plant=_sql("ALTER TABLE forms DROP CONSTRAINT fk_forms_user_id", rows=lambda ward: ["fk_forms_user_id"]),
    ),
    Fault(
        name="a missing foreign key on MariaDB",
        check="schema",
        engines=("mariadb",),
        plant=_sql("ALTER TABLE forms DROP FOREIGN KEY fk_forms_user_id", rows=lambda ward: ["fk_forms_user_id"]),
    ),
    Fault(
        name="a missing unique key",
        check="schema",
        engines=_PG,
        plant=_sql(
            "ALTER TABLE users DROP CONSTRAINT uq_users_username_deletion_id",
            rows=lambda ward: ["uq_users_username_deletion_id"],
        ),
    ),
    Fault(
        name="a missing check",
        check="schema",
        engines=_SERVERS,
        plant=_sql("ALTER TABLE forms DROP CONSTRAINT ck_forms_status", rows=lambda ward: ["ck_forms_status"]),
    ),
    Fault(
        name="a missing procedure",
        check="schema",
        engines=_PG,
        plant=_sql("DROP PROCEDURE cleanup_audit_logs", rows=lambda ward: ["cleanup_audit_logs"]),
    ),
    Fault(
        name="a changed procedure",
        check="schema",
        engines=("mariadb",),
        plant=_sql(
            "DROP PROCEDURE cleanup_audit_logs",
            "CREATE PROCEDURE cleanup_audit_logs(days INT) DELETE FROM audit_logs",
            rows=lambda ward: ["cleanup_audit_logs"],
        ),
    ),
    Fault(
        name="a changed column",
        check="schema",
        is_curable=False,
        engines=_PG,
        plant=_sql("ALTER TABLE forms ALTER COLUMN title DROP NOT NULL", rows=lambda ward: []),
        undo=("ALTER TABLE forms ALTER COLUMN title SET NOT NULL",),
    ),
    Fault(
        name="keys switched off",
        check="keys_switched_off",
        engines=_PG,
        plant=_sql("ALTER TABLE forms DISABLE TRIGGER ALL", rows=lambda ward: ["forms"]),
    ),
    Fault(
        name="a table without a log",
        check="unlogged_tables",
        engines=_PG,
        plant=_sql("ALTER TABLE sign_in_failures SET UNLOGGED", rows=lambda ward: ["sign_in_failures"]),
    ),
    Fault(
        name="tables without a log that refer to one another",
        check="unlogged_tables",
        engines=_PG,
        # By name the child comes first, and is refused as long as its parent has no log.
        plant=_sql(
            "ALTER TABLE cluster_image_status SET UNLOGGED",
            "ALTER TABLE image_allow_list SET UNLOGGED",
            "ALTER TABLE container_tags SET UNLOGGED",
            rows=lambda ward: ["cluster_image_status", "container_tags", "image_allow_list"],
        ),
    ),
    Fault(
        name="a constraint that was never proven",
        check="unproven_constraints",
        engines=_PG,
        plant=_sql(
            "ALTER TABLE forms DROP CONSTRAINT ck_forms_status",
            "ALTER TABLE forms ADD CONSTRAINT ck_forms_status CHECK"
            " (status IN ('Pending', 'Processing', 'Completed', 'Rejected')) NOT VALID",
            rows=lambda ward: ["ck_forms_status"],
        ),
    ),
    Fault(
        name="an index left half made",
        check="invalid_indexes",
        engines=_PG,
        plant=_sql(
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{_FORMS_INDEX}'::regclass",
            rows=lambda ward: [_FORMS_INDEX],
        ),
    ),
    Fault(
        name="a table without transactions",
        check="table_engines",
        engines=("mariadb",),
        plant=_sql("ALTER TABLE sign_in_failures ENGINE = Aria", rows=lambda ward: ["sign_in_failures"]),
    ),
)
