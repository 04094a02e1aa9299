"""What the worker does for accounts."""

from datetime import timedelta

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.tables import sign_in_failures
from holdfast.features.accounts import jobs
from tests.factories import insert_row, make_token, make_user


async def test_tokens_that_ended_a_month_ago_go(database: Database) -> None:
    u_id = await make_user(database)
    now = utc_now()
    for days in (-31, -29, 1):
        await make_token(database, u_id, name=f"{days}", expires_at=now + timedelta(days=days))
    async with database.write() as tx:
        assert await jobs.remove_expired_tokens(tx, lambda: now) == 1
        assert await jobs.remove_expired_tokens(tx, lambda: now) == 0
        left = await tx.fetch_text("SELECT name FROM tokens ORDER BY expires_at")
    assert [name for (name,) in left] == ["-29", "1"]


async def test_counts_whose_window_is_over_go(database: Database) -> None:
    now = utc_now()
    for minutes in (10, 20):
        started_at = now - timedelta(minutes=minutes)
        await insert_row(
            database, sign_in_failures, subject=f"name:{minutes}", failures=1, window_started_at=started_at
        )
    async with database.write() as tx:
        assert await jobs.remove_old_sign_in_failures(tx, now - timedelta(minutes=15)) == 1
        assert await jobs.remove_old_sign_in_failures(tx, now - timedelta(minutes=15)) == 0
        left = await tx.fetch_text("SELECT subject FROM sign_in_failures")
    assert [subject for (subject,) in left] == ["name:10"]


async def test_users_whose_last_session_expired_go_offline(database: Database) -> None:
    now = utc_now()
    gone = await make_user(database, "gone", status="online")
    await make_token(database, gone, expires_at=now - timedelta(seconds=1))
    await make_token(database, gone, kind="api")
    there = await make_user(database, "there", status="online")
    await make_token(database, there)
    await make_user(database, "disabled", status="delete")
    async with database.write() as tx:
        assert await jobs.set_absent_users_offline(tx, lambda: now) == 1
        assert await jobs.set_absent_users_offline(tx, lambda: now) == 0
        rows = await tx.fetch_text("SELECT username, status FROM users ORDER BY username")
    assert [tuple(row) for row in rows] == [("disabled", "delete"), ("gone", "offline"), ("there", "online")]
