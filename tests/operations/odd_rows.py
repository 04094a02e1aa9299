"""Rows at the edges of what the tables take, for whatever must carry every row unchanged."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw
from sqlalchemy import Table

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Database
from holdfast.db.tables import (
    audit_archives,
    audit_logs,
    config_files,
    container_repositories,
    course_workloads,
    deletions,
    form_messages,
    forms,
    idempotency_keys,
    jobs,
    project_list,
    sign_in_failures,
    users,
)
from tests.db.rows import make_row
from tests.factories import PASSWORD_HASH, insert_rows

ODD_TEXTS = (
    "",
    " ",
    "  two spaces at each end  ",
    "Zoë Ångström Ñandú",
    "e\u0301 is not é",
    "שלום، नमस्ते, 你好, \U0001f9ea\U0001f469\u200d\U0001f4bb",
    "a\ttab, a\nline, a\r\nline of Windows, a\vrare one\x1f\x7f",
    "\u2028\u2029\u0085\ufeff",
    "'; DROP TABLE users; --",
    '"quoted" \\back\\slash\\n %s %(name)s ${HOME} `tick` \\N',
    "\U0010ffff\ue000\ud7ff",
)
# Keys that collations of people sort otherwise than bytes do, or take for one another.
KEYS = ("A", "B", "a", "b", "_", "-", "~", "Z", "0", "10", "9", "a-", "aa", "a0", "A0", "-0", ".", "aB", "Ab")
JSON_TEXTS = (
    "null",
    '""',
    "[]",
    "{}",
    '{"b":1,"a":2,"a":3}',
    '{ "spaced" : [ 1.10, -0.0, 1e400, 12345678901234567890123 ] }',
    '{"words":"\\u00e9 \\ud83e\\uddea é \\"quoted\\" \\\\ \\/"}',
)
MOMENTS = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, 100_000, tzinfo=UTC),
    # A microsecond before the last one, which the driver of PostgreSQL takes for infinity.
    datetime(9999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC),
)
LARGEST_INTEGER, LARGEST_NUMBER = 2**31 - 1, 2**63 - 1


async def add_odd_rows(database: Database) -> None:
    """Add them to whatever is there; the engine must give each back as it was given."""
    for number, text in enumerate(ODD_TEXTS):
        await _make(database, users, username=f"odd-{number}", full_name=text, email=None, password=PASSWORD_HASH)
        await _make(database, forms, title=text, description=text)
        await _make(database, form_messages, content=text * 1000)
    await _make(database, config_files, content="x: é\n" * 60_000)
    await _add_keys(database)
    for moment in MOMENTS:
        await _make(database, users, created_at=moment, updated_at=moment)
    for smallest_or_largest in (0, LARGEST_INTEGER):
        await _make(database, project_list, gpu_quota=smallest_or_largest)
    for text in JSON_TEXTS:
        await _make(database, jobs, arguments=Raw(text.encode()))
        await _make(database, audit_logs, old_data=Raw(text.encode()), new_data=None, description="odd")
    # Beyond what a number of JavaScript or a float keeps.
    await _make(database, audit_logs, id=2**53 + 1, description="far ahead", ip_address="::1", user_agent="")
    await _make(database, audit_archives, first_id=1, last_id=LARGEST_NUMBER, row_count=LARGEST_INTEGER)
    await _add_deleted(database)
    for table in (container_repositories, course_workloads):
        await _make(database, table)


async def _add_keys(database: Database) -> None:
    await insert_rows(
        database,
        sign_in_failures,
        [{"subject": key, "failures": LARGEST_INTEGER, "window_started_at": MOMENTS[1]} for key in KEYS],
    )
    u_id = (await make_row(database, users))["u_id"]
    await insert_rows(
        database,
        idempotency_keys,
        [
            {"user_id": u_id, "idempotency_key": key or "empty", "fingerprint": "f", "status": 201, "body": None}
            for key in dict.fromkeys((*KEYS, *ODD_TEXTS))
        ],
    )


async def _add_deleted(database: Database) -> None:
    deletion_id = new_long_id()
    await _make(
        database,
        deletions,
        id=deletion_id,
        root_type="user",
        planned_counts=Raw(b'{"users":1}'),
        purge_after=utc_now() + timedelta(days=30),
    )
    await _make(database, users, username="odd-0-deleted", deleted_at=MOMENTS[1], deletion_id=deletion_id)


async def _make(database: Database, table: Table, **values: Any) -> None:
    await make_row(database, table, **values)
