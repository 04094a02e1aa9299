"""The rows of P5: the same faculty at several sizes, each in a database of its own on one server.

A faculty grows by a term after another, each with 10,000 users, forms, messages and audit entries, 50 groups of 200
people, 100 projects and 100 forms with 100 messages each; the larger databases hold ten and a hundred terms. So what
surrounds a person stays as large whatever the size. The engine makes the rows itself, in one statement for each table:
a million come in seconds.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from bench.orm_cascade import engine_of
from bench.stand import Stand
from holdfast.db.address import parse_address
from holdfast.db.migrate import migrate
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts.tokens import token_hash
from tests.servers import mariadb_server, postgresql_server

FORMS_OF_A_PROJECT = 100
MESSAGES_OF_A_FORM = 100
MEMBERS_OF_A_GROUP = ENTRIES_OF_A_GROUP = 200
PROJECTS_OF_A_GROUP = 2
ENTRIES_OF_A_USER = 100
# The sizes are multiples of it.
TERM = 10_000
# What is rare among the rows, and grows as they do: one in ten.
RARE_STATUS, RARE_ACTION = "Pending", "delete"
ADMIN, TEACHER = 0, 1
_OPEN_SERVER = {"postgresql": postgresql_server, "mariadb": mariadb_server}


def id_of(kind: str, number: int) -> str:
    """The id of a row, by its number."""
    return f"{kind}-{number:07}"


def token_of(user: int) -> str:
    """The session token of a user; the administrator and the teacher have one."""
    return f"hf_{user:043}"


@contextmanager
def grown_stands(engine: str, sizes: Sequence[int], folder: Path) -> Iterator[dict[int, Stand]]:
    """A database of each size on one server. Raises EngineMissingError."""
    with ExitStack() as stack:
        server = None if engine == "sqlite" else stack.enter_context(_OPEN_SERVER[engine](durable=True))
        stands = {}
        for size in sizes:
            own = folder / str(size)
            own.mkdir()
            url = f"sqlite:///{own}/bench.db" if server is None else server.create_database(f"bench_{size}")
            asyncio.run(migrate(parse_address(url)))
            _fill(engine, url, size)
            stands[size] = Stand(engine, url, [], own)
        yield stands


class _Words(ABC):
    """How an engine says what the rows are made of. `n` is the number of a row."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @abstractmethod
    def numbers(self, count: int) -> str:
        """A table with the column n, from 0."""

    @abstractmethod
    def id(self, kind: str, number: str) -> str:
        """As `id_of`."""

    @abstractmethod
    def moment(self) -> str:
        """A minute for each row, upwards."""

    def remainder(self, number: str, divisor: int) -> str:
        return f"mod({number}, {divisor})"

    def quotient(self, number: str, divisor: int) -> str:
        return f"(({number}) / {divisor})"

    def parent(self, chosen: int, of_term: int) -> str:
        """The number of one of the first `chosen` parents of the row's term, of which each term has `of_term`."""
        within = self.remainder("n", TERM)
        # 7919 is prime: the neighbours of a row have other parents.
        number = self.remainder(f"{within} * 7919", chosen)
        return f"{self.quotient(f'n - {within}', TERM // of_term)} + {number}"


class _Postgresql(_Words):
    # Without the checks of foreign keys, row by row: the rows are ours.
    before = ("SET session_replication_role = replica",)
    after = ("VACUUM ANALYZE", "CHECKPOINT")

    def numbers(self, count: int) -> str:
        return f"generate_series(0, {count - 1}) AS numbers(n)"

    def id(self, kind: str, number: str) -> str:
        return f"'{kind}-' || lpad(({number})::text, 7, '0')"

    def moment(self) -> str:
        return "timestamptz '2024-02-05 08:00:00+00' + n * interval '1 minute'"


class _Mariadb(_Words):
    before = ("SET foreign_key_checks = 0", "SET unique_checks = 0")
    after = ("ANALYZE TABLE forms, form_messages, audit_logs, users, project_list, user_group, group_list",)

    def numbers(self, count: int) -> str:
        return f"(SELECT seq AS n FROM seq_0_to_{count - 1}) AS numbers"

    def id(self, kind: str, number: str) -> str:
        return f"concat('{kind}-', lpad({number}, 7, '0'))"

    def quotient(self, number: str, divisor: int) -> str:
        return f"(({number}) DIV {divisor})"

    def moment(self) -> str:
        return "TIMESTAMP '2024-02-05 08:00:00' + INTERVAL n MINUTE"


class _Sqlite(_Words):
    before = ("PRAGMA foreign_keys = OFF", "PRAGMA synchronous = OFF")

    def numbers(self, count: int) -> str:
        counting = f"VALUES (0) UNION ALL SELECT n + 1 FROM counted WHERE n < {count - 1}"
        return f"(WITH RECURSIVE counted(n) AS ({counting}) SELECT n FROM counted) AS numbers"

    def id(self, kind: str, number: str) -> str:
        return f"printf('{kind}-%07d', {number})"

    def moment(self) -> str:
        return "strftime('%Y-%m-%d %H:%M:%S', 1707120000 + n * 60, 'unixepoch') || '.000000'"

    def remainder(self, number: str, divisor: int) -> str:
        return f"(({number}) % {divisor})"


_WORDS: dict[str, _Words] = {"postgresql": _Postgresql(), "mariadb": _Mariadb(), "sqlite": _Sqlite()}


def _fill(engine: str, url: str, size: int) -> None:
    words = _WORDS[engine]
    connected = engine_of(url)
    with connected.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in words.before:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("BEGIN")
        _insert_all(connection, words, size)
        connection.exec_driver_sql("COMMIT")
        for statement in words.after:
            connection.exec_driver_sql(statement)
    connected.dispose()


def _insert_all(connection: Connection, words: _Words, size: int) -> None:
    def insert(table: str, count: int, **columns: str) -> None:
        names, values = ", ".join(columns), ", ".join(columns.values())
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) SELECT {values} FROM {words.numbers(count)}")

    moment = words.moment()
    author = words.id("u", words.parent(TERM, TERM))
    some_group = words.id("g", words.parent(TERM // MEMBERS_OF_A_GROUP, TERM // MEMBERS_OF_A_GROUP))
    some_project = words.id("p", words.parent(TERM // FORMS_OF_A_PROJECT, TERM // FORMS_OF_A_PROJECT))
    groups, projects = size // MEMBERS_OF_A_GROUP, size // FORMS_OF_A_PROJECT
    unusable = "'!'"
    insert(
        "users",
        size,
        u_id=words.id("u", "n"),
        username=words.id("name", "n"),
        password=unusable,
        created_at=moment,
    )
    for user in (ADMIN, TEACHER):
        hashed, expiry = token_hash(token_of(user)), "'2100-01-01 00:00:00.000000'"
        connection.exec_driver_sql(
            "INSERT INTO tokens (id, user_id, kind, name, token_hash, scopes, expires_at)"
            f" VALUES ('token-{user}', '{id_of('u', user)}', 'session', 'bench', '{hashed}', '', {expiry})"
        )
    insert("group_list", groups, g_id=words.id("g", "n"), group_name=words.id("course", "n"), created_at=moment)
    connection.exec_driver_sql(
        f"INSERT INTO group_list (g_id, group_name) VALUES ('{SUPER_GROUP_ID}', '{SUPER_GROUP_NAME}')"
    )
    insert("user_group", size, u_id=words.id("u", "n"), g_id=some_group, role="'user'", created_at=moment)
    _seat(connection, ADMIN, SUPER_GROUP_ID)
    # Of the group in which the insertion above made them a plain member.
    connection.exec_driver_sql(f"UPDATE user_group SET role = 'admin' WHERE u_id = '{id_of('u', TEACHER)}'")
    insert(
        "project_list",
        projects,
        p_id=words.id("p", "n"),
        project_name=words.id("project", "n"),
        g_id=words.id("g", words.quotient("n", PROJECTS_OF_A_GROUP)),
        created_at=moment,
    )
    rare = f"{words.remainder('n', 10)} = 3"
    insert(
        "forms",
        size,
        id=words.id("f", "n"),
        user_id=author,
        project_id=some_project,
        title="'The pod stays pending although the quota shows one free GPU.'",
        description="'It has been pending since this morning.'",
        tag="'gpu'",
        status=f"CASE WHEN {rare} THEN '{RARE_STATUS}' ELSE 'Completed' END",
        created_at=moment,
    )
    insert(
        "form_messages",
        size,
        id=words.id("m", "n"),
        form_id=words.id("f", words.parent(TERM // MESSAGES_OF_A_FORM, TERM)),
        user_id=author,
        content="'We looked into it: the node was drained for maintenance and is back now.'",
        created_at=moment,
    )
    insert(
        "audit_logs",
        size,
        user_id=words.id("u", words.parent(TERM // ENTRIES_OF_A_USER, TERM)),
        actor_name="'somebody'",
        action=f"CASE WHEN {rare} THEN '{RARE_ACTION}' ELSE 'update' END",
        resource_type="'form'",
        resource_id=words.id("f", "n"),
        g_id=some_group,
        created_at=moment,
    )


def _seat(connection: Connection, user: int, g_id: str) -> None:
    connection.exec_driver_sql(
        f"INSERT INTO user_group (u_id, g_id, role) VALUES ('{id_of('u', user)}', '{g_id}', 'admin')"
    )
