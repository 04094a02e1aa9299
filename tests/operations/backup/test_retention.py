"""Which backups stay: by table, and for any history whatever."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.clock import utc_now
from holdfast.db.lifecycle.bundle_file import manifest_text
from holdfast.operations.backup.reading import record_verification
from holdfast.operations.backup.retention import Aged, Keep, kept_backups, prune
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import FORMAT, VERSION, Manifest, Part, StoredFile, Verification, new_backup_id
from holdfast.settings import Settings

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def every(hours: int, count: int, verified: set[int] = frozenset()) -> list[Aged]:  # type: ignore[assignment]
    """Backups so many hours apart; the number of each is its id."""
    return [
        Aged(f"{number:04d}", _START + timedelta(hours=hours * number), number in verified) for number in range(count)
    ]


def keep(newest: int = 1, daily: int = 0, weekly: int = 0, monthly: int = 0) -> Keep:
    return Keep(newest=newest, daily=daily, weekly=weekly, monthly=monthly)


@pytest.mark.parametrize(
    ("backups", "asked", "stays"),
    [
        ([], keep(), []),
        (every(24, 5), keep(), [4]),
        (every(24, 5, {1, 2}), keep(), [2, 4]),
        (every(24, 5), keep(newest=3), [2, 3, 4]),
        (every(24, 5), keep(newest=9), [0, 1, 2, 3, 4]),
        # From noon every six hours: the last of a day is that of 18 o'clock.
        (every(6, 10), keep(daily=2), [5, 9]),
        (every(6, 10), keep(newest=2, daily=3), [1, 5, 8, 9]),
        # 1 January 2026 is a Thursday: the weeks end on the 4th, 11th, 18th.
        (every(24, 20), keep(weekly=3), [10, 17, 19]),
        (every(24, 70), keep(monthly=3), [30, 58, 69]),
        (every(24, 70), keep(daily=2, weekly=2, monthly=2), [58, 66, 68, 69]),
    ],
)
def test_what_stays_by_count(backups: list[Aged], asked: Keep, stays: list[int]) -> None:
    assert sorted(map(int, kept_backups(backups, asked))) == stays


def test_failed_backups_take_no_place_of_good_ones() -> None:
    good = every(24, 3, {0, 1, 2})
    failed = [Aged(f"{number:04d}", _START + timedelta(days=number), verified=False, failed=True) for number in (3, 4)]
    assert sorted(map(int, kept_backups([*good, *failed], keep(newest=2)))) == [1, 2, 4]
    assert sorted(map(int, kept_backups([*good, *failed], keep(daily=3)))) == [0, 1, 2, 4]


_counts = st.integers(0, 6)
_histories = st.lists(st.tuples(st.integers(0, 24 * 400), st.booleans()), max_size=40).map(
    lambda rows: [
        Aged(f"{number:04d}", _START + timedelta(hours=hours), verified)
        for number, (hours, verified) in enumerate(rows)
    ]
)


@given(_histories, st.builds(Keep, newest=_counts, daily=_counts, weekly=_counts, monthly=_counts))
def test_the_newest_and_the_newest_verified_stay_whatever_is_asked(backups: list[Aged], asked: Keep) -> None:
    kept = kept_backups(backups, asked)
    ordered = sorted(backups, key=lambda each: (each.made_at, each.id), reverse=True)
    for wanted in (ordered[:1], [each for each in ordered if each.verified][:1]):
        assert {each.id for each in wanted} <= kept.keys()
    assert {each.id for each in ordered[: asked.newest]} <= kept.keys()
    limit = max(asked.newest, 1) + 1 + asked.daily + asked.weekly + asked.monthly
    assert len(kept) <= min(limit, len(backups))
    days = sorted({each.made_at.date() for each in backups}, reverse=True)[: asked.daily]
    for day in days:
        assert any(each.made_at.date() == day and each.id in kept for each in backups)
    # Pruning again removes nothing more.
    left = [each for each in backups if each.id in kept]
    assert kept_backups(left, asked).keys() == kept.keys()


def put(store: Store, made_at: datetime, *, passed: bool | None = None, instance: str | None = None) -> str:
    backup_id = new_backup_id(lambda: made_at)
    with store.upload(backup_id) as upload:
        sink = upload.begin_part("database.sqlite.zst.0001")
        sink.write(memoryview(b"x"))
        sink.close()
        upload.finish(manifest_text(_manifest(backup_id, made_at, instance)))
    if passed is not None:
        record_verification(
            store,
            Verification(backup_id=backup_id, verified_at=utc_now(), host="here", passed=passed, contents=True),
        )
    return backup_id


def _manifest(backup_id: str, made_at: datetime, instance: str | None) -> Manifest:
    # Encrypted, so that without its key the stored bytes are all that can be checked.
    part = Part(name="database.sqlite.zst.0001", size=1, sha256=hashlib.sha256(b"x").hexdigest())
    file = StoredFile(
        kind="database", name="d", path="d", size=1, sha256="", compressed=True, encrypted=True, parts=[part]
    )
    return Manifest(
        format=FORMAT,
        version=VERSION,
        id=backup_id,
        instance=instance or msgspec.UNSET,
        previous=None,
        made_at=made_at,
        finished_at=made_at,
        host="here",
        holdfast="0",
        dialect="sqlite",
        server_version="3",
        tool="SQLite",
        namespace="",
        schema_revision="0001",
        checksums_revision="",
        sentinel=None,
        tables={},
        bundle_dir="/",
        bundles_missing=[],
        recipients=[],
        files=[file],
    )


async def test_prune_removes_what_the_settings_do_not_keep(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, backup_keep_newest=2, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0
    )
    store = open_store(settings)
    verified = put(store, _START, passed=True)
    failed = put(store, _START + timedelta(hours=1), passed=False)
    old = put(store, _START + timedelta(hours=2))
    newest = [put(store, _START + timedelta(hours=hours)) for hours in (3, 4)]
    unreadable = put(store, _START + timedelta(hours=5))
    store.write_small(unreadable, "manifest.json", b"{}")
    planned = await prune(settings, instance="mine", dry_run=True)
    assert planned.removed == [failed, old]
    assert len(store.ids()) == 6
    done = await prune(settings, instance="mine")
    assert done.removed == planned.removed
    assert store.ids() == sorted([verified, *newest, unreadable], reverse=True)
    assert done.kept[verified] == ["newest verified"]
    assert (await prune(settings, instance="mine")).removed == []


async def test_prune_checks_again_the_backup_that_it_relies_on(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, backup_keep_newest=1, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0
    )
    store = open_store(settings)
    rotten_too, good, rotten, newest = (
        put(store, _START + timedelta(hours=hours), passed=True if hours < 3 else None) for hours in range(4)
    )
    for backup_id in (rotten, rotten_too):
        (tmp_path / "backups" / backup_id / "database.sqlite.zst.0001").write_bytes(b"y")
    done = await prune(settings, instance="mine")
    assert done.kept == {newest: ["newest"], good: ["newest verified"]}
    (tmp_path / "backups" / good / "database.sqlite.zst.0001").write_bytes(b"y")
    done = await prune(settings, instance="mine")
    assert done.removed == []
    assert store.ids() == [newest, good]


async def test_the_backup_made_just_now_stays_whatever_the_clocks_say(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, backup_keep_newest=2, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0
    )
    store = open_store(settings)
    made = put(store, _START, passed=True)
    ahead = [put(store, _START + timedelta(days=days), passed=True) for days in (400, 401, 402)]
    done = await prune(settings, instance="mine", trusted=made)
    assert done.removed == ahead[:1]
    assert done.kept[made] == ["made just now"]


async def test_backups_of_other_instances_neither_count_nor_go(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, backup_keep_newest=1, backup_keep_daily=0, backup_keep_weekly=0, backup_keep_monthly=0
    )
    store = open_store(settings)
    hours = (_START + timedelta(hours=number) for number in range(100))
    unnamed = [put(store, next(hours)) for _ in range(2)]
    mine = [put(store, next(hours), instance="mine", passed=True) for _ in range(2)]
    theirs = [put(store, next(hours), instance="theirs", passed=True) for _ in range(3)]
    damaged = put(store, next(hours), instance="theirs")
    text = store.read_small(damaged, "manifest.json") or b""
    store.write_small(damaged, "manifest.json", text.replace(b"sqlite", b"oracle"))
    # Who is no instance at all removes only what is nobody's.
    planned = await prune(settings, instance=None, dry_run=True)
    assert planned.removed == unnamed[:1]
    done = await prune(settings, instance="mine")
    assert done.removed == sorted([*unnamed, mine[0]])
    others = {each: ["of another instance (theirs)"] for each in [*theirs, damaged]}
    assert done.kept == {mine[1]: ["newest", "newest verified"]} | others
    assert (await prune(settings, instance="mine")).removed == []
    done = await prune(settings, instance="theirs")
    assert done.removed == theirs[:2]
    assert done.kept[damaged] == ["its manifest cannot be used: look at it, then remove it by hand"]
    assert store.ids() == sorted([mine[1], theirs[2], damaged], reverse=True)
