"""Named statements: what the registry refuses, and values that must come back as they went in."""
# ruff: noqa: RUF001 - letters that look alike are the point

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from sqlalchemy import Select, bindparam, insert, literal_column, select, update

from holdfast.core.errors import HoldfastError, InvalidInputError
from holdfast.db.engines.base import Database
from holdfast.db.errors import DatabaseError, ForeignKeyViolationError, NotNullViolationError, UnstorableValueError
from holdfast.db.statements import (
    Command,
    Query,
    Registry,
    any_of,
    contains_text,
    insert_unless_present,
    new_value,
    parameters_for,
    registry,
    search_pattern,
)
from holdfast.db.tables import (
    config_files,
    course_workloads,
    group_list,
    project_list,
    resources,
    tokens,
    user_group,
    users,
)
from tests.db.rows import count_rows, fetch, make_row


class _Words(msgspec.Struct, frozen=True):
    group_name: str
    description: str | None


class _Moment(msgspec.Struct, frozen=True):
    expires_at: datetime
    revoked_at: datetime | None


class _Parsed(msgspec.Struct, frozen=True):
    parsed_yaml: msgspec.Raw


class _Flagged(msgspec.Struct, frozen=True):
    allow_privileged: bool
    gpu_quota: int


class _Name(msgspec.Struct, frozen=True):
    group_name: str


_g_id = bindparam("g_id", type_=group_list.c.g_id.type)
GET_WORDS = Query(
    "tests.statements.get_words",
    select(group_list.c.group_name, group_list.c.description).where(group_list.c.g_id == _g_id),
    _Words,
)
FIND_NAME = Query(
    "tests.statements.find_name",
    select(group_list.c.group_name).where(
        group_list.c.group_name == bindparam("group_name", type_=group_list.c.group_name.type)
    ),
    _Name,
)
SEARCH_NAMES = Query(
    "tests.statements.search_names",
    select(group_list.c.group_name)
    .where(contains_text(group_list.c.group_name, "q"))
    .order_by(group_list.c.group_name),
    _Name,
)
NAMES_OF = Query(
    "tests.statements.names_of",
    select(group_list.c.group_name).where(any_of(group_list.c.g_id, "g_ids")).order_by(group_list.c.group_name),
    _Name,
)
IDS_OF_NAMES = Query(
    "tests.statements.ids_of_names",
    select(group_list.c.group_name).where(any_of(group_list.c.group_name, "names")),
    _Name,
)
PERCENT = Query(
    "tests.statements.percent",
    select(group_list.c.group_name).where(group_list.c.group_name.like(literal_column("'100%'"))),
    _Name,
)
GET_MOMENTS = Query("tests.statements.get_moments", select(tokens.c.expires_at, tokens.c.revoked_at), _Moment)
GET_PARSED = Query("tests.statements.get_parsed", select(resources.c.parsed_yaml), _Parsed)
GET_FLAGS = Query(
    "tests.statements.get_flags", select(project_list.c.allow_privileged, project_list.c.gpu_quota), _Flagged
)
RENAME = Command(
    "tests.statements.rename",
    update(group_list).where(group_list.c.g_id == _g_id).values(new_value(group_list, "group_name", "description")),
)
ADD_USER = Command("tests.add_user", insert(users).values(parameters_for(users, "u_id", "username", "password")))
ADD_GROUP = Command("tests.add_group", insert(group_list).values(parameters_for(group_list, "g_id", "group_name")))
CLAIM_MEMBER = insert_unless_present("tests.statements.claim_member", user_group, "u_id", "g_id", "role")

HOSTILE = [
    "'; DROP TABLE users; --",
    "\\'; DROP TABLE users; --",
    "\\",
    "\\\\'",
    "''",
    '"quoted"',
    "100%",
    "%s",
    "%(name)s",
    "%%s",
    "%",
    "?",
    ":name",
    "$1",
    "{}",
    "`x`",
    "/* */ -- #",
    "\x1a\n\r\t\b",
    "\u00bf\u0027 OR 1=1",
    "縗' OR 1=1 -- ",
    "\u8157\\",
    "Ωμέγα ß ﬁ İ ı",
    "👩🏽‍🔬 🏳️‍🌈",
    "e\u0301 is not \u00e9",
    "\u202e right to left",
    "\ufeffmark",
    "\U0010ffff",
    " leading and trailing ",
]


def test_two_statements_cannot_share_a_name() -> None:
    names = Registry()
    names.add(GET_WORDS)
    with pytest.raises(ValueError, match=r"tests\.statements\.get_words"):
        names.add(GET_WORDS)
    with pytest.raises(ValueError, match=r"tests\.statements\.get_words"):
        Query("tests.statements.get_words", select(group_list.c.group_name), _Name)
    assert registry.find("tests.statements.get_words") is GET_WORDS


@pytest.mark.parametrize(
    "columns",
    [
        select(group_list.c.description, group_list.c.group_name),
        select(group_list.c.group_name, group_list.c.g_id),
        select(group_list.c.group_name),
        select(group_list.c.group_name, group_list.c.description, group_list.c.g_id),
    ],
)
def test_a_struct_that_does_not_fit_the_columns_is_refused(columns: Select[Any]) -> None:
    with pytest.raises(TypeError, match="has the fields"):
        Query("tests.statements.misfit", columns, _Words)
    assert registry.find("tests.statements.misfit") is None


async def test_hostile_text_comes_back_as_it_went_in(database: Database) -> None:
    for number, text in enumerate(HOSTILE):
        await make_row(database, group_list, g_id=f"g{number}", group_name=text, description=text * 3)
    async with database.read() as tx:
        for number, text in enumerate(HOSTILE):
            assert await tx.fetch_one(GET_WORDS, g_id=f"g{number}") == _Words(text, text * 3)
            assert await tx.fetch_all(FIND_NAME, group_name=text) == [_Name(text)]
            assert await tx.fetch_all(SEARCH_NAMES, q=search_pattern(text)) != []
        assert {row.group_name for row in await tx.fetch_all(IDS_OF_NAMES, names=HOSTILE)} == set(HOSTILE)
        assert await tx.fetch_all(PERCENT) == [_Name("100%")]
    assert await count_rows(database, users) == 0


async def test_hostile_text_is_only_text_in_an_update(database: Database) -> None:
    await make_row(database, group_list, g_id="mine", group_name="first")
    await make_row(database, group_list, g_id="theirs", group_name="second")
    for text in HOSTILE:
        async with database.write() as tx:
            assert await tx.execute(RENAME, g_id="mine", new_group_name=text, new_description=None) == 1
            other = f"x' OR '1'='1{text.encode('ascii', 'ignore').decode()}"[:20]
            assert await tx.execute(RENAME, g_id=other, new_group_name="?", new_description=None) == 0
    async with database.read() as tx:
        assert await tx.fetch_one(GET_WORDS, g_id="theirs") == _Words("second", await _description(database, "theirs"))


async def _description(database: Database, g_id: str) -> str | None:
    async with database.read() as tx:
        row = await tx.fetch_one(GET_WORDS, g_id=g_id)
    assert row is not None
    return row.description


async def test_text_that_no_engine_can_hold_is_refused_and_harms_nothing(database: Database) -> None:
    for text in ("half \ud800", "\udcff\udcfe", "\udc80"):
        with pytest.raises(UnstorableValueError):
            await make_row(database, group_list, group_name=text)
        # The driver of MariaDB sends some of it as raw bytes: nothing is found then.
        with contextlib.suppress(UnstorableValueError):
            async with database.read() as tx:
                assert await tx.fetch_all(FIND_NAME, group_name=text) == []
    assert await count_rows(database, group_list) == 0


async def test_a_nul_character_is_kept_or_refused(database: Database) -> None:
    """The edges refuse it everywhere; PostgreSQL has no such character at all."""
    try:
        await make_row(database, group_list, g_id="nul", group_name="a\0b")
    except UnstorableValueError:
        assert await count_rows(database, group_list) == 0
        return
    async with database.read() as tx:
        row = await tx.fetch_one(GET_WORDS, g_id="nul")
    assert row is not None
    assert row.group_name == "a\0b"


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 2, 5, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 2, 5, 12, 0, 0, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=2))),
        datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC),
    ],
)
async def test_a_moment_keeps_its_microseconds_in_utc(database: Database, moment: datetime) -> None:
    await make_row(database, tokens, expires_at=moment, revoked_at=None)
    async with database.read() as tx:
        row = await tx.fetch_one(GET_MOMENTS)
    assert row is not None
    assert row.expires_at == moment
    assert row.expires_at.utcoffset() == timedelta(0)
    assert row.revoked_at is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "text",
        "1e400",
        0,
        -1,
        123456789012345678,
        2**63,
        12345678901234567890123456789,
        1.5,
        True,
        {"é\u2028": [None, True, {"\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"): "\\\"'%s?$1"}]},
        {"deep": [[[[[[[[[[1]]]]]]]]]]},
        {"zeros": "\u0001\t\n"},
    ],
)
async def test_json_comes_back_as_it_went_in(database: Database, value: Any) -> None:
    await make_row(database, resources, parsed_yaml=value)
    async with database.read() as tx:
        row = await tx.fetch_one(GET_PARSED)
    assert row is not None
    assert msgspec.json.decode(row.parsed_yaml) == value


async def test_flags_and_numbers_keep_their_type(database: Database) -> None:
    await make_row(database, project_list, allow_privileged=True, gpu_quota=2**31 - 1)
    async with database.read() as tx:
        row = await tx.fetch_one(GET_FLAGS)
    assert row == _Flagged(allow_privileged=True, gpu_quota=2**31 - 1)
    assert row is not None
    assert type(row.allow_privileged) is bool


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**63, 2**70])
async def test_a_number_that_is_too_large_is_refused(database: Database, number: int) -> None:
    with pytest.raises(UnstorableValueError):
        await make_row(database, course_workloads, priority=number)


async def test_a_missing_value_is_refused_by_the_column_s_name(database: Database) -> None:
    with pytest.raises(NotNullViolationError) as refused:
        await make_row(database, group_list, group_name=None)
    assert refused.value.constraint == "group_name"


async def test_two_rows_where_one_was_expected_are_an_error(database: Database) -> None:
    for _ in range(2):
        await make_row(database, group_list, group_name="twin")
    async with database.read() as tx:
        with pytest.raises(DatabaseError, match="gave 2 rows"):
            await tx.fetch_one(FIND_NAME, group_name="twin")


@pytest.mark.parametrize("size", [0, 1, 2, 999, 1001, 5000])
async def test_a_list_parameter_takes_any_number_of_values(database: Database, size: int) -> None:
    for name in ("a", "b"):
        await make_row(database, group_list, g_id=f"g-{name}", group_name=name)
    wanted = ["g-b", *(f"other-{number}" for number in range(size))][:size]
    async with database.read() as tx:
        found = await tx.fetch_all(NAMES_OF, g_ids=wanted)
    assert [row.group_name for row in found] == (["b"] if size else [])


async def test_an_id_of_another_row_s_kind_finds_nothing(database: Database) -> None:
    await make_row(database, group_list, g_id="g")
    async with database.read() as tx:
        for text in ("", "G", "g ", "x" * 300):
            assert await tx.fetch_one(GET_WORDS, g_id=text) is None
            assert await tx.fetch_all(NAMES_OF, g_ids=[text]) == []


async def test_an_id_beyond_ascii_is_refused_on_every_engine(database: Database) -> None:
    with pytest.raises(UnstorableValueError):
        await make_row(database, group_list, g_id="é")
    async with database.read() as tx:
        for text in ("é", "🙂", "g\u00a0"):
            with pytest.raises(UnstorableValueError):
                await tx.fetch_one(GET_WORDS, g_id=text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("100%", {"100% Sure"}),
        ("%", {"100% Sure"}),
        ("_", {"a_b"}),
        ("!", {"wow!"}),
        ("a_b", {"a_b"}),
        ("axb", {"AxB"}),
        ("ÜBUNG", {"Übung"}),
        ("übung", {"Übung"}),
        ("οδοσ", {"ΟΔΟΣ ΝΕΑ"}),
        ("δικτυο", {"ΔΙΚΤΥΟ"}),
        ("москва", {"МОСКВА"}),
        ("ångström", {"ÅNGSTRÖM"}),
        ("istanbul", {"İSTANBUL", "ISTANBUL"}),
        ("\\", {"back\\slash"}),
        ("K\\S", {"back\\slash"}),
        ("straße", {"STRAßE"}),
        ("学", {"文学部"}),
    ],
)
async def test_search_takes_wildcards_literally_and_knows_no_case(
    database: Database, text: str, found: set[str]
) -> None:
    names = ["100% Sure", "a_b", "AxB", "wow!", "Übung", "ΟΔΟΣ ΝΕΑ", "ΔΙΚΤΥΟ", "МОСКВА", "ÅNGSTRÖM", "İSTANBUL"]
    for name in [*names, "ISTANBUL", "back\\slash", "STRAßE", "文学部"]:
        await make_row(database, group_list, group_name=name)
    async with database.read() as tx:
        rows = await tx.fetch_all(SEARCH_NAMES, q=search_pattern(text))
    assert {row.group_name for row in rows} == found


async def test_insert_unless_present_inserts_once(database: Database) -> None:
    member = await make_row(database, user_group, role="admin")
    user = await make_row(database, users)
    async with database.write() as tx:
        assert not await tx.insert_unless_present(CLAIM_MEMBER, u_id=member["u_id"], g_id=member["g_id"], role="user")
        assert await tx.insert_unless_present(CLAIM_MEMBER, u_id=user["u_id"], g_id=member["g_id"], role="user")
        assert not await tx.insert_unless_present(CLAIM_MEMBER, u_id=user["u_id"], g_id=member["g_id"], role="admin")
    roles = await fetch(database, "SELECT u_id, role FROM user_group")
    assert set(roles) == {(member["u_id"], "admin"), (user["u_id"], "user")}


async def test_insert_unless_present_does_not_swallow_other_errors(database: Database) -> None:
    user = await make_row(database, users)

    async def insert(**values: Any) -> None:
        async with database.write() as tx:
            await tx.insert_unless_present(CLAIM_MEMBER, **values)

    with pytest.raises(ForeignKeyViolationError):
        await insert(u_id=user["u_id"], g_id="nowhere", role="user")
    with pytest.raises(HoldfastError, match=r"ck_user_group_role|check"):
        await insert(u_id=user["u_id"], g_id="nowhere", role="king")


async def test_of_many_that_insert_at_once_one_does(database: Database) -> None:
    user = (await make_row(database, users))["u_id"]
    group = (await make_row(database, group_list))["g_id"]

    async def insert() -> bool:
        async with database.write() as tx:
            return await tx.insert_unless_present(CLAIM_MEMBER, u_id=user, g_id=group, role="user")

    assert sorted(await asyncio.gather(*(insert() for _ in range(8)))) == [False] * 7 + [True]


async def test_inserts_put_off_are_there_for_the_next_statement_and_after_the_commit(database: Database) -> None:
    user, group = "later-user", "later-group"
    async with database.write() as tx:
        tx.insert_later(ADD_USER, u_id=user, username="$1 it's later", password="$2")
        tx.insert_later(ADD_GROUP, g_id=group, group_name="later")
        tx.insert_later(CLAIM_MEMBER, u_id=user, g_id=group, role="manager")
        assert await tx.fetch_text("SELECT username, password FROM users") == [("$1 it's later", "$2")]
        tx.insert_later(ADD_GROUP, g_id="another", group_name="another")
    assert await fetch(database, "SELECT u_id, g_id, role FROM user_group") == [(user, group, "manager")]
    assert await count_rows(database, group_list) == 2


async def test_inserts_put_off_are_not_kept_where_one_fails_or_the_block_does(database: Database) -> None:
    async def insert(g_id: str, *, u_id: str | None = None, error: HoldfastError | None = None) -> None:
        async with database.write() as tx:
            tx.insert_later(ADD_GROUP, g_id=g_id, group_name=g_id)
            if u_id is not None:
                tx.insert_later(CLAIM_MEMBER, u_id=u_id, g_id=g_id, role="user")
            if error is not None:
                raise error

    async def insert_and_ignore_the_error() -> None:
        async with database.write() as tx:
            tx.insert_later(ADD_GROUP, g_id="second", group_name="second")
            tx.insert_later(CLAIM_MEMBER, u_id="nobody", g_id="second", role="user")
            with contextlib.suppress(ForeignKeyViolationError):
                await tx.flush()

    with pytest.raises(ForeignKeyViolationError):
        await insert("first", u_id="nobody")
    with pytest.raises(DatabaseError, match="nothing of it is kept"):
        await insert_and_ignore_the_error()
    with pytest.raises(InvalidInputError):
        await insert("third", error=InvalidInputError("changed our mind"))
    with pytest.raises(UnstorableValueError):
        await insert("schön")
    assert await count_rows(database, group_list) == 0


async def test_inserts_put_off_are_one_statement_on_the_servers(database: Database) -> None:
    async with database.write() as tx:
        for name in ("one", "two", "three"):
            tx.insert_later(ADD_GROUP, g_id=name, group_name=name)
        await tx.flush()
        assert tx.statements_run == (3 if tx.dialect_name == "sqlite" else 1)


async def test_inserts_put_off_are_one_statement_after_those_of_a_deletion_too(database: Database) -> None:
    async with database.write() as tx:
        await tx.allow_long_statements()
        for name in ("one", "two"):
            tx.insert_later(ADD_GROUP, g_id=name, group_name=name)
        await tx.flush()
        assert tx.statements_run == (2 if tx.dialect_name == "sqlite" else 1)
    assert await count_rows(database, group_list) == 2


async def test_a_megabyte_of_text_comes_back(database: Database) -> None:
    content = "é'\\%\n" * 200_000
    row = await make_row(database, config_files, content=content)
    found = await fetch(database, f"SELECT content FROM config_files WHERE cf_id = '{row['cf_id']}'")
    assert found == [(content,)]


async def test_a_parameter_that_is_not_given_is_a_mistake_not_null(database: Database) -> None:
    async with database.read() as tx:
        with pytest.raises(KeyError):
            await tx.fetch_one(GET_WORDS)


async def test_the_statements_of_a_transaction_are_counted(database: Database) -> None:
    async with database.write() as tx:
        await tx.fetch_all(GET_WORDS, g_id="x")
        await tx.execute(RENAME, g_id="x", new_group_name="n", new_description=None)
        await tx.execute_many(RENAME, [])
        await tx.execute_many(RENAME, [{"g_id": "x", "new_group_name": "n", "new_description": None}] * 9)
        assert tx.statements_run == 3
