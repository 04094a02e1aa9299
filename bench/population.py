"""The rows that the benchmark works on: a seeded, skewed faculty, the same in every run and on every engine."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Protocol

import msgspec
from sqlalchemy import Table, insert

from holdfast.db.engines.base import Database
from holdfast.db.statements import Command, parameters_for
from holdfast.db.tables import form_messages, forms, group_list, project_list, tokens, user_group, users
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.accounts.tokens import token_hash

_SEED = 20260205
_START = datetime(2026, 2, 5, 8, tzinfo=UTC)
_ROWS_AT_ONCE = 2000
_FIRST_NAMES = ("Ada", "Alan", "Barbara", "Chen", "Edsger", "Fatima", "Grace", "Hedy", "Jun", "Katherine", "Niklaus")
_LAST_NAMES = ("Chen", "Dijkstra", "Hamilton", "Hopper", "Huang", "Lamarr", "Lovelace", "Perlman", "Tsai", "Wirth")
_TAGS = (None, "gpu", "quota", "image", "storage", "other")
_SENTENCES = (
    "The pod stays pending although the quota shows one free GPU.",
    "Please allow the image of last year's course, the assignment builds on it.",
    "Training stopped at night with an out-of-memory error, the log is in the project folder.",
    "謝謝!現在可以了。",
    "We looked into it: the node was drained for maintenance and is back now.",
    "Could the deadline job get two GPUs until Friday?",
    "I have raised the quota of the project; start the workload again.",
)


class Size(msgspec.Struct, frozen=True):
    """How many rows there are."""

    users: int
    groups: int
    projects: int
    forms: int


FULL = Size(users=10_000, groups=200, projects=1_000, forms=50_000)
QUICK = Size(users=200, groups=10, projects=20, forms=500)


class Populated(Protocol):
    """What can be loaded."""

    def tables(self) -> Iterator[tuple[Table, Iterator[dict[str, Any]]]]:
        """Tables with rows, parents first. A table may come more than once."""
        ...


class Population:
    """All rows, and the callers and ids that requests use."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.user_ids = [f"user-{number:05}" for number in range(size.users)]
        self.group_ids = [SUPER_GROUP_ID, *(f"group-{number:04}" for number in range(1, size.groups))]
        self.project_ids = [f"project-{number:05}" for number in range(size.projects)]
        self.usernames = [f"u{number:05}" for number in range(size.users)]
        self.members = self._draw_members()
        chosen = _source("projects")
        self.group_of_project = {p_id: chosen.choice(self.group_ids[1:]) for p_id in self.project_ids}
        self.super_admin_id = self.user_ids[0]

    def token_of(self, user_id: str) -> str:
        """The session token of a user; every user has one."""
        return _token(self.user_ids.index(user_id))

    def teachers(self) -> list[str]:
        """The managers of groups that own projects, those of the largest groups first."""
        owning = set(self.group_of_project.values())
        sizes: dict[str, int] = {}
        for _, g_id, _ in self.members:
            sizes[g_id] = sizes.get(g_id, 0) + 1
        found = [(sizes[g_id], u_id) for u_id, g_id, role in self.members if role == "manager" and g_id in owning]
        return list(dict.fromkeys(u_id for _, u_id in sorted(found, reverse=True)))

    def project_staffed_by(self, user_id: str) -> str:
        """A project of a group that the user manages."""
        groups = {g_id for u_id, g_id, role in self.members if u_id == user_id and role == "manager"}
        return next(p_id for p_id, g_id in self.group_of_project.items() if g_id in groups)

    def most_joined_users(self, number: int) -> list[str]:
        """The users with the most groups."""
        counts: dict[str, int] = {}
        for u_id, _, _ in self.members:
            counts[u_id] = counts.get(u_id, 0) + 1
        return sorted(counts, key=lambda u_id: (-counts[u_id], u_id))[:number]

    def tables(self) -> Iterator[tuple[Table, Iterator[dict[str, Any]]]]:
        """Each table with its rows, parents first."""
        yield users, self._users()
        yield tokens, self._tokens()
        yield group_list, self._groups()
        yield user_group, self._memberships()
        yield project_list, self._projects()
        drawn = list(self._forms())
        yield forms, iter(drawn)
        yield form_messages, self._messages(drawn)

    def _draw_members(self) -> list[tuple[str, str, str]]:
        """Group sizes fall like 1/rank; the first three of a group are its staff."""
        source = _source("members")
        drawn = [(self.user_ids[0], SUPER_GROUP_ID, "admin")]
        largest = max(6, self.size.users // 20)
        for rank, g_id in enumerate(self.group_ids[1:], start=1):
            count = max(5, largest // rank + source.randint(0, 20))
            chosen = source.sample(self.user_ids, min(count, len(self.user_ids)))
            roles = ("admin", "manager", "manager")
            drawn += [(u_id, g_id, roles[at] if at < 3 else "user") for at, u_id in enumerate(chosen)]
        return drawn

    def _users(self) -> Iterator[dict[str, Any]]:
        source = _source("users")
        for number, (u_id, username) in enumerate(zip(self.user_ids, self.usernames, strict=True)):
            name = f"{source.choice(_FIRST_NAMES)} {source.choice(_LAST_NAMES)}"
            moment = _START + timedelta(seconds=number)
            yield {
                "u_id": u_id,
                "username": username,
                "password": "!",
                "email": f"{username}@example.edu",
                "full_name": name,
                "created_at": moment,
                "updated_at": moment,
            }

    def _tokens(self) -> Iterator[dict[str, Any]]:
        for number, u_id in enumerate(self.user_ids):
            yield {
                "id": f"token-{number:05}",
                "user_id": u_id,
                "kind": "session",
                "name": "bench",
                "token_hash": token_hash(_token(number)),
                "scopes": "",
                "expires_at": datetime(2100, 1, 1, tzinfo=UTC),
            }

    def _groups(self) -> Iterator[dict[str, Any]]:
        for number, g_id in enumerate(self.group_ids):
            name = SUPER_GROUP_NAME if g_id == SUPER_GROUP_ID else f"course-{number:04}"
            yield {"g_id": g_id, "group_name": name, "created_at": _START + timedelta(minutes=number)}

    def _memberships(self) -> Iterator[dict[str, Any]]:
        for number, (u_id, g_id, role) in enumerate(self.members):
            yield {"u_id": u_id, "g_id": g_id, "role": role, "created_at": _START + timedelta(seconds=number)}

    def _projects(self) -> Iterator[dict[str, Any]]:
        for number, (p_id, g_id) in enumerate(self.group_of_project.items()):
            moment = _START + timedelta(minutes=number)
            name = f"project {number}"
            yield {"p_id": p_id, "project_name": name, "g_id": g_id, "gpu_quota": 4, "created_at": moment}

    def _forms(self) -> Iterator[dict[str, Any]]:
        source = _source("forms")
        members_of: dict[str, list[str]] = {}
        for u_id, g_id, _ in self.members:
            members_of.setdefault(g_id, []).append(u_id)
        statuses = ("Pending", "Processing", "Completed", "Completed", "Completed", "Rejected")
        for number in range(self.size.forms):
            # A few projects ask most of the questions.
            p_id = self.project_ids[int(len(self.project_ids) * source.random() ** 3)]
            moment = _START + timedelta(minutes=5 * number)
            yield {
                "id": f"form-{number:06}",
                "user_id": source.choice(members_of[self.group_of_project[p_id]]),
                "project_id": p_id,
                "title": source.choice(_SENTENCES)[:60],
                "description": source.choice(_SENTENCES),
                "tag": source.choice(_TAGS),
                "status": source.choice(statuses),
                "created_at": moment,
                "updated_at": moment,
            }

    def _messages(self, drawn: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """0 to 10 on each form, three on average."""
        source = _source("messages")
        for form in drawn:
            for number in range(min(10, int(source.expovariate(0.3)))):
                sentences = source.choices(_SENTENCES, k=source.randint(1, 5))
                yield {
                    "id": f"{form['id']}-{number}",
                    "form_id": form["id"],
                    "user_id": form["user_id"] if number % 2 == 0 else source.choice(self.user_ids),
                    "content": " ".join(sentences),
                    "created_at": form["created_at"] + timedelta(minutes=number + 1),
                }


async def load(database: Database, population: Populated) -> int:
    """Write all rows; how many they were."""
    total = 0
    for table, rows in population.tables():
        command: Command | None = None
        batch: list[dict[str, Any]] = []
        for row in rows:
            if command is None:
                command = _insert_into(table, tuple(row))
            batch.append(row)
            if len(batch) == _ROWS_AT_ONCE:
                total += await _write(database, command, batch)
                batch = []
        if command is not None and batch:
            total += await _write(database, command, batch)
    return total


@cache
def _insert_into(table: Table, columns: tuple[str, ...]) -> Command:
    return Command(
        f"bench.insert_{table.name}({','.join(columns)})", insert(table).values(parameters_for(table, *columns))
    )


async def _write(database: Database, command: Command, batch: list[dict[str, Any]]) -> int:
    async with database.write() as tx:
        await tx.execute_many(command, batch)
    return len(batch)


def _source(purpose: str) -> random.Random:
    return random.Random(f"{_SEED}-{purpose}")


def _token(number: int) -> str:
    return f"hf_bench{number:038}"
