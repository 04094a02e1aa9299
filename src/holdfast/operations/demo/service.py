"""Filling an empty instance with the faculty."""

import random
from collections.abc import Callable
from datetime import timedelta

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError, ForbiddenError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion, policy_of
from holdfast.features.accounts import passwords
from holdfast.features.groups.first_start import ensure_first_start
from holdfast.operations.demo import queries
from holdfast.operations.demo.faculty import SIZES, Builder, Faculty
from holdfast.operations.demo.month import Month
from holdfast.operations.demo.timeline import DemoClock, Timeline
from holdfast.settings import Settings

_DAYS = 31
_SEED = 20_261_001
# The administrator, their group, and what signing in leaves behind.
_OF_THE_FIRST_START = {"users", "group_list", "user_group", "tokens"}


class NotEmptyError(ConflictError):
    """The instance holds rows of its own."""

    code = "not_empty"


class DemoForbiddenError(ForbiddenError):
    """A demo does not belong into production."""

    code = "demo_forbidden"


class SignIn(msgspec.Struct, frozen=True):
    """Somebody to sign in as, and what they are."""

    username: str
    role: str


class DemoResult(msgspec.Struct, frozen=True):
    """What was made: rows by table, some people to sign in as, and their one password.

    `admin_password` is that of user `admin` where this call made the account and generated it.
    """

    counts: dict[str, int]
    sign_ins: list[SignIn]
    password: str
    admin_password: str | None


async def require_empty(database: Database) -> None:
    """Refuse an instance that holds anything but the administrator of the first start."""
    async with database.read() as tx:
        names = await _tables_with_rows(tx)
    if names:
        raise NotEmptyError(
            f"this instance is not empty, it has rows in {', '.join(names)}; the demo fills only a new one:"
            " set HOLDFAST_DATA_DIR or HOLDFAST_DATABASE_URL to an empty place"
        )


async def fill_with_demo(
    database: Database,
    settings: Settings,
    *,
    size: str,
    progress: Callable[[float], None] = lambda share: None,
    clock: Clock = utc_now,
) -> DemoResult:
    """Make the faculty and live its last month, all in one transaction: it is there whole, or not at all."""
    if settings.mode == "production":
        raise DemoForbiddenError("the demo is for trying out: everybody in it shares one password; this is production")
    await require_empty(database)
    end = clock() - timedelta(minutes=1)
    demo_clock = DemoClock((end - timedelta(days=_DAYS)).replace(hour=8, minute=0, second=0, microsecond=0))
    first_start = await ensure_first_start(database, settings.admin_password, demo_clock)
    password = passwords.new_first_password()
    hashed = await passwords.hash_password(password)
    # Not for secrets: the same faculty each time.
    chance = random.Random(_SEED)  # noqa: S311
    async with database.write() as tx:
        faculty = await Builder(tx, demo_clock, chance, hashed).build(SIZES[size])
        timeline = Timeline(demo_clock, end)
        month = Month(tx, timeline, chance, faculty)
        await month.plan(SIZES[size])
        await timeline.run(progress)
        await tx.execute(queries.KEEP_FIRST_PASSWORDS)
        counts = {name: await _count(tx, name) for name in _COUNTED}
    return DemoResult(
        counts=counts,
        sign_ins=_sign_ins(faculty),
        password=password,
        admin_password=None if first_start is None else first_start.generated_password,
    )


_COUNTED = (
    "users",
    "group_list",
    "user_group",
    "project_list",
    "config_files",
    "resources",
    "image_requests",
    "image_allow_list",
    "forms",
    "form_messages",
    "course_workloads",
    "audit_logs",
)


async def _tables_with_rows(tx: Transaction) -> list[str]:
    own = {
        "users": queries.COUNT_USERS,
        "group_list": queries.COUNT_GROUPS,
        "user_group": queries.COUNT_MEMBERS,
    }
    names = [name for name, query in own.items() if await tx.fetch_count(query)]
    for table in metadata.sorted_tables:
        is_working_state = policy_of(table).deletion is not Deletion.SOFT
        if table.name in _OF_THE_FIRST_START or is_working_state:
            continue
        if await _count(tx, table.name):
            names.append(table.name)
    return names


async def _count(tx: Transaction, table_name: str) -> int:
    # The name is one of our own tables, never a caller's.
    ((count,),) = await tx.fetch_text(f"SELECT count(*) FROM {table_name}")  # noqa: S608
    return int(count)


def _sign_ins(faculty: Faculty) -> list[SignIn]:
    first = faculty.projects[0]
    return [
        SignIn(faculty.operators[0].username, "super administrator"),
        SignIn(faculty.professors[0].username, "professor, admin of a group"),
        SignIn(first.staff[0].username, "assistant, manager of a group"),
        SignIn(first.students[0].username, "student, user of a group"),
    ]
