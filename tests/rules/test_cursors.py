"""Every list, walked by cursor while its rows come, change and go: what stays is seen once and in order."""

import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.app import describe_api
from holdfast.core.clock import utc_now
from holdfast.core.pages import DEFAULT_LIMIT
from holdfast.db.listing import listings
from holdfast.operations.plans.statements import declared_statements
from holdfast.settings import Settings
from tests.instance import Instance
from tests.rules.test_statement_counts import LIST_ROUTES, sorts_of
from tests.rules.walked_course import LISTS, ROLES, WalkedCourse

_ROWS = 6
_MANY_ROWS = 13
# What a list may be asked for that does not choose rows by their values.
_NOT_FILTERS = {"page", "limit", "sort", "cursor", "total", "include", "include_deleted"}
# The parameters of filters that are not called as the field they look at.
_FIELDS = {"actor": "actor_name", "from": "created_at", "to": "created_at"}
# What an edit changes in tables without `updated_at`: nothing that is sorted or filtered by.
_EDITED = {"form_messages": ("content", "edited"), "tokens": ("scopes", "*:write"), "audit_logs": ("user_agent", "-")}
_EDITED |= {"runs": ("failure", "edited")}
_MOST_CHANGES = 5

Values = dict[str, Any]


@pytest.fixture
async def course(instance: Instance) -> WalkedCourse:
    return await WalkedCourse(instance).fill(_ROWS)


@pytest.fixture
async def long_course(instance: Instance) -> WalkedCourse:
    return await WalkedCourse(instance).fill(_MANY_ROWS)


def test_every_list_is_walked() -> None:
    missing = {route for route in LIST_ROUTES if not route.startswith("/admin")} - {_described(each) for each in LISTS}
    assert not missing, f"name the table and the key of {missing} in tests/rules/walked_course.py"


def test_no_list_is_sorted_by_what_may_be_null() -> None:
    """A cursor stands behind a value: behind NULL no row comes, on any engine."""
    declared_statements()
    columns = {(name, sort): column for name, each in listings.items() for sort, column in each.sorts.items()}
    assert len(columns) > 30
    assert [key for key, column in columns.items() if getattr(column, "nullable", True)] == []


@pytest.mark.conformance("Q-03")
async def test_a_walk_by_any_sort_misses_nothing_and_repeats_nothing(course: WalkedCourse) -> None:
    """Each sort of each list once, by another role, with another filter and page size each time."""
    chance = random.Random(4)  # noqa: S311 - to repeat it
    walked: Counter[str] = Counter()
    turn = 0
    for route in LISTS:
        for sort in await sorts_of(course.clients["super"], course.path(route)):
            turn += 1
            role = ROLES[turn % len(ROLES)]
            walk = await _Walk.begin(course, route, role if await _may_list(course, route, role) else "super", sort)
            filters = [each for each in await walk.find_filters(most=1) if each]
            await walk.go(chance, chance.choice([{}, *filters]), turn)
            walked[walk.role] += 1
    assert sum(walked.values()) >= 60
    assert min(walked[role] for role in ROLES) >= 5, walked


@pytest.mark.slow
@pytest.mark.conformance("Q-03")
@pytest.mark.parametrize("role", ROLES)
async def test_a_walk_by_any_sort_and_filters_in_pages_of_any_size(long_course: WalkedCourse, role: str) -> None:
    """Each sort with each filter, the first with each two; page sizes take turns, without filters all are walked."""
    course = long_course
    chance = random.Random(ROLES.index(role))  # noqa: S311 - to repeat it
    long_lists = 0
    for route in LISTS:
        if not await _may_list(course, route, role):
            continue
        turn = 0
        for sort in await sorts_of(course.clients[role], course.path(route)):
            walk = await _Walk.begin(course, route, role, sort)
            long_lists += turn == 0 and len(walk.whole) >= _MANY_ROWS // 4
            for filters in await walk.find_filters(most=1 if turn else 2):
                for _ in range(1 if filters else len(_page_sizes(0))):
                    turn += 1
                    await walk.go(chance, filters, turn)
    assert long_lists >= {"student": 12, "teacher": 11, "admin": 14, "super": 17}[role]


@pytest.mark.conformance("Q-03")
async def test_a_cursor_is_good_for_its_own_list_sort_filters_and_caller(course: WalkedCourse) -> None:
    given: dict[str, str] = {}
    for route in LISTS:
        path, client = course.path(route), course.clients["super"]
        for sort in (await sorts_of(client, path))[:2]:
            page = (await client.get(path, params={"sort": sort, "limit": 2})).json()
            given[f"{route} by {sort}"] = page["next"]
            assert (await client.get(path, params={"sort": sort, "cursor": page["next"]})).status_code == 200
    for asked, cursor in given.items():
        route, _, sort = asked.partition(" by ")
        path, client = course.path(route), course.clients["super"]
        for other in [each for each in given if each != asked][:: len(given) // 4]:
            await _assert_refused(client, path, {"sort": sort, "cursor": given[other]})
        if "q" in _parameters(route):
            await _assert_refused(client, path, {"sort": sort, "cursor": cursor, "q": "a"})
        # Where everybody sees the same rows, the cursor is as good for others; nowhere does it show more than they see.
        for role in ROLES[:-1]:
            answer = await course.clients[role].get(path, params={"sort": sort, "cursor": cursor})
            if answer.status_code == 200:
                walk = await _Walk.begin(course, route, role, sort)
                assert set(walk.keys(answer.json()["items"])) <= set(walk.keys(walk.whole)), f"{role} {path}"


class _Walk:
    """One list in one order, as one role sees it."""

    def __init__(self, course: WalkedCourse, route: str, role: str, sort: str) -> None:
        self.course, self.route, self.role, self.sort = course, route, role, sort
        self.table, self.key = LISTS[route]
        self.whole: list[Values] = []

    @classmethod
    async def begin(cls, course: WalkedCourse, route: str, role: str, sort: str) -> "_Walk":
        walk = cls(course, route, role, sort)
        walk.whole = await walk._fetch_whole({})
        return walk

    async def find_filters(self, most: int) -> list[dict[str, str]]:
        """Sets of at most so many filters, each with the value that most rows have; the first set is empty."""
        values = dict(self._filter_values())
        chosen = [dict(each) for size in range(most + 1) for each in combinations(values.items(), size)]
        return [*chosen, {"include_deleted": "true"}] if self._shows_deleted() else chosen

    async def go(self, chance: random.Random, filters: dict[str, str], turn: int) -> None:
        """Walk from the first page to the last; between pages rows are added, edited, moved and deleted."""
        before = self.keys(await self._fetch_whole(filters))
        sizes = _page_sizes(len(before))
        limit = sizes[turn % len(sizes)]
        told = f"{self.route} of {self.role} by {self.sort} with {filters}, {limit} a page, turn {turn}: "
        changes = _Changes(self, chance, before)
        seen: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(len(before) + _MOST_CHANGES * len(ROLES) + 1):
            page = await self._fetch(filters | {"limit": str(limit)} | cursor)
            seen += self.keys(page["items"])
            assert page["total"] == len(before), told + "the total changed on the way"
            if page["next"] is None:
                break
            assert len(page["items"]) == (limit if 1 <= limit <= 100 else DEFAULT_LIMIT), told + "a page is not full"
            cursor = {"cursor": page["next"]}
            await changes.make_one(seen)
        else:
            raise AssertionError(told + "the walk does not end")
        after = self.keys(await self._fetch_whole(filters))
        changes.check(seen, after, told)
        await self.course.drop(self.route, changes.added)
        await self.course.bring_back(self.route, changes.removed)

    async def _fetch_whole(self, filters: dict[str, str]) -> list[Values]:
        page = await self._fetch(filters | {"limit": "100"})
        assert page["next"] is None, "more rows than one page holds"
        items: list[Values] = page["items"]
        return items

    async def _fetch(self, parameters: dict[str, str]) -> Values:
        client, path = self.course.clients[self.role], self.course.path(self.route)
        answer = await client.get(path, params={"sort": self.sort} | parameters)
        assert answer.status_code == 200, f"{self.role} {path} {parameters}: {answer.text}"
        content: Values = answer.json()
        return content

    def keys(self, rows: list[Values]) -> list[str]:
        return [str(row[self.key]) for row in rows]

    def _filter_values(self) -> list[tuple[str, str]]:
        found = []
        for name in sorted(_parameters(self.route) - _NOT_FILTERS):
            field = "root_type" if (self.route, name) == ("/deletions", "type") else _FIELDS.get(name, name)
            held = Counter(str(row[field]) for row in self.whole if row.get(field) is not None)
            if name == "q":
                found.append((name, "a"))
            elif (self.route, name) == ("/users", "g_id"):
                found.append((name, self.course.ids["g_id"]))
            elif field == "created_at" and held:
                found.append((name, sorted(held)[len(held) // 2]))
            elif held:
                value = held.most_common(1)[0][0]
                found.append((name, value.lower() if value in ("True", "False") else value))
        return found

    def _shows_deleted(self) -> bool:
        return self.role == "super" and "include_deleted" in _parameters(self.route)


class _Changes:
    """What is done to the rows of a list during one walk, and what the walk must have seen for all that."""

    def __init__(self, walk: _Walk, chance: random.Random, before: list[str]) -> None:
        self._walk, self._chance, self._before = walk, chance, before
        self._moved: set[str] = set()
        # Of each row what had been seen when it was removed, or added.
        self.removed: dict[str, list[str]] = {}
        self.added: dict[str, list[str]] = {}
        self._made = 0

    async def make_one(self, seen: list[str]) -> None:
        """One change, to a row behind the cursor or before it."""
        self._made += 1
        if self._made > _MOST_CHANGES:
            return
        course, route = self._walk.course, self._walk.route
        kind = self._chance.choice(("add", "add", "edit", "remove", "remove", "move"))
        if kind == "add":
            self.added |= {key: list(seen) for key in await course.add(route)}
            return
        free = [key for key in self._before if key not in course.kept and key not in self.removed]
        side = [key for key in free if (key in seen) == self._chance.choice((True, False))] or free
        if not side:
            return
        key = self._chance.choice(side)
        if kind == "remove":
            await course.remove(route, key)
            self.removed[key] = list(seen)
        elif kind == "move" and (value := self._place()) is not None:
            self._moved.add(key)
            await course.change(route, key, **{self._walk.sort.removeprefix("-"): value})
        else:
            column, value = _EDITED.get(self._walk.table.name, ("updated_at", utc_now()))
            await course.change(route, key, **{column: value})

    def check(self, seen: list[str], after: list[str], told: str) -> None:
        """Compare what was seen with the list before and after."""
        seen_once = [key for key in seen if key not in self._moved]
        assert len(seen_once) == len(set(seen_once)), told + "a row comes twice"
        assert set(seen) <= {*self._before, *self.added}, told + "a row comes that is not in the list"
        stayed = [key for key in self._before if key in after and key not in self._moved]
        assert [key for key in seen if key in set(stayed)] == stayed, told + "a row is left out, or out of order"
        for key, then in self.removed.items():
            if key not in then and key not in after:
                assert key not in seen, told + "a row comes after it was deleted"
        for key, then in self.added.items():
            last = then[-1]
            if key in after and last in after and last not in self._moved:
                is_ahead = after.index(key) > after.index(last)
                assert (key in seen) == is_ahead, told + f"a new row {'is left out' if is_ahead else 'comes again'}"

    def _place(self) -> Any:
        """A value to sort by that takes a row to another place; None where each must be unique, or is of a parent."""
        column = self._walk.sort.removeprefix("-")
        if column in ("created_at", "expires_at", "started_at"):
            return self._walk.course.moment(self._chance.randrange(29))
        if column in ("gpu_quota", "priority"):
            return self._chance.randrange(3) * 50
        if column == "project_name":
            return self._chance.choice(("Anna", "b", ""))
        return None


def _page_sizes(number: int) -> tuple[int, ...]:
    """One row a page, a few, all but one, all, and what means the default."""
    return (1, 2, 3, 5, max(1, number // 2), max(1, number - 1), max(1, number), 0)


def _described(route: str) -> str:
    return route.replace("{student}", "{u_id}")


_DESCRIPTION = describe_api(Settings(data_dir=Path("nowhere")))


def _parameters(route: str) -> set[str]:
    operation = _DESCRIPTION["paths"]["/api/v1" + _described(route)]["get"]
    return {each["name"] for each in operation["parameters"] if each["in"] == "query"}


async def _may_list(course: WalkedCourse, route: str, role: str) -> bool:
    answer = await course.clients[role].get(course.path(route))
    assert answer.status_code in (200, 403, 404), answer.text
    return answer.status_code == 200


async def _assert_refused(client: httpx.AsyncClient, path: str, parameters: dict[str, str]) -> None:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 400, f"{path} with {parameters}: {answer.text}"
