"""The faculty itself: people, courses with their members, projects with quotas, and their first manifests."""

import random
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.pages import PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.groups import members, roster
from holdfast.features.groups import service as groups
from holdfast.features.groups.roster import MadePasswords
from holdfast.features.groups.types import RosterRow
from holdfast.features.projects import service as projects
from holdfast.operations.demo.courses import COURSES, OPERATORS_GROUP, Course, PlannedProject
from holdfast.operations.demo.people import Person, as_staff, make_people
from holdfast.operations.demo.timeline import DemoClock

_BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "holdfast-cli/0.1.0",
)
_MOST_PEOPLE = 100_000


class Size(msgspec.Struct, frozen=True):
    """How much to make: how many courses, the share of their students, and how often things happen in the month."""

    courses: int
    students_share: float
    forms: int
    image_requests: int
    workloads: int
    sign_ins: int


SIZES = {
    "small": Size(courses=3, students_share=0.25, forms=30, image_requests=14, workloads=60, sign_ins=60),
    "full": Size(courses=12, students_share=1.0, forms=220, image_requests=70, workloads=420, sign_ins=320),
}


class RunningProject(msgspec.Struct, frozen=True):
    """A project that was made, and who works in it."""

    p_id: str
    plan: PlannedProject
    staff: list[Actor]
    students: list[Actor]


class Faculty(msgspec.Struct, frozen=True):
    """What the month is lived with."""

    operators: list[Actor]
    professors: list[Actor]
    projects: list[RunningProject]


class _Enrolled(msgspec.Struct, frozen=True):
    """A course's people by name."""

    course: Course
    professor: Person
    assistants: list[Person]
    students: list[Person]


class Builder:
    """Makes the faculty, as its administrators would: groups, rosters, projects, quotas."""

    def __init__(self, tx: Transaction, clock: DemoClock, chance: random.Random, hashed_password: str) -> None:
        self._tx = tx
        self._clock = clock
        self._chance = chance
        self._hashed_password = hashed_password

    async def build(self, size: Size) -> Faculty:
        """Make everything that is there on the first day."""
        admin = await self._admin()
        people = make_people(self._chance)
        operators = [as_staff(person) for person in islice(people, 3)]
        courses = self._enrol(size, people)
        await self._import_group(admin, *OPERATORS_GROUP, [(operators[0], "admin"), *_all(operators[1:], "manager")])
        group_ids = [await self._import_course(admin, enrolled) for enrolled in courses]
        actors = await self._actors(admin)
        running = [actors[person.username] for person in operators]
        for operator in running[:2]:
            await members.add_member(
                self._tx, admin, SUPER_GROUP_ID, u_id=operator.user_id, role="admin", clock=self._clock
            )
        running[:2] = [msgspec.structs.replace(operator, is_super_admin=True) for operator in running[:2]]
        made = [
            await self._make_project(running[0], g_id, plan, enrolled, actors)
            for g_id, enrolled in zip(group_ids, courses, strict=True)
            for plan in enrolled.course.projects
        ]
        professors = [actors[enrolled.professor.username] for enrolled in courses]
        return Faculty(operators=running[:2], professors=professors, projects=made)

    async def _admin(self) -> Actor:
        user = await accounts.get_user_as_parent(self._tx, username=ADMIN_USERNAME)
        return Actor(user.u_id, user.username, user.full_name, is_super_admin=True, address="192.0.2.1")

    def _enrol(self, size: Size, people: Iterable[Person]) -> list[_Enrolled]:
        """Who is in which course; some students are in two."""
        source = iter(people)
        enrolled: list[_Enrolled] = []
        for course in COURSES[: size.courses]:
            count = max(12, round(course.students * size.students_share))
            earlier = [student for each in enrolled for student in each.students]
            known = self._chance.sample(earlier, min(len(earlier), count // 12))
            enrolled.append(
                _Enrolled(
                    course=course,
                    professor=as_staff(next(source)),
                    assistants=[as_staff(person) for person in islice(source, course.assistants)],
                    students=[*dict.fromkeys(known), *islice(source, count - len(known) + 10)],
                )
            )
        return enrolled

    async def _import_course(self, admin: Actor, enrolled: _Enrolled) -> str:
        people = [
            (enrolled.professor, "admin"),
            *_all(enrolled.assistants, "manager"),
            *_all(enrolled.students, "user"),
        ]
        return await self._import_group(admin, enrolled.course.group_name, enrolled.course.description, people)

    async def _import_group(
        self, admin: Actor, group_name: str, description: str, people: Sequence[tuple[Person, str]]
    ) -> str:
        group = await groups.create_group(
            self._tx, admin, group_name=group_name, description=description, clock=self._clock
        )
        rows = [
            RosterRow(line, person.username, person.full_name, person.email, role)
            for line, (person, role) in enumerate(people, start=2)
        ]
        made = MadePasswords(hashes={row.username: self._hashed_password for row in rows}, generated={})
        await roster.import_roster(self._tx, admin, group.g_id, rows, made, clock=self._clock)
        return group.g_id

    async def _actors(self, admin: Actor) -> dict[str, Actor]:
        """Everybody by user name, each at a machine of their own."""
        page = await accounts.list_users(self._tx, admin, PageRequest(limit=_MOST_PEOPLE), cursor_key=b"demo")
        return {
            user.username: Actor(
                user.u_id,
                user.username,
                user.full_name,
                address=f"198.51.100.{number % 250 + 1}",
                user_agent=self._chance.choice(_BROWSERS),
            )
            for number, user in enumerate(page.items)
        }

    async def _make_project(
        self, operator: Actor, g_id: str, plan: PlannedProject, enrolled: _Enrolled, actors: dict[str, Actor]
    ) -> RunningProject:
        """The professor makes it; an operator grants the quota."""
        professor = actors[enrolled.professor.username]
        project = await projects.create_project(
            self._tx,
            professor,
            g_id=g_id,
            project_name=plan.project_name,
            description=plan.description,
            clock=self._clock,
        )
        if plan.gpu_quota:
            quota = {"gpu_quota": plan.gpu_quota}
            await projects.change_project(self._tx, operator, project.p_id, quota, clock=self._clock)
        students = self._chance.sample(enrolled.students, min(len(enrolled.students), 12))
        return RunningProject(
            p_id=project.p_id,
            plan=plan,
            staff=[actors[person.username] for person in enrolled.assistants],
            students=[actors[person.username] for person in students],
        )


def _all(people: Iterable[Person], role: str) -> list[tuple[Person, str]]:
    return [(person, role) for person in people]
