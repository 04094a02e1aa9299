"""A month of the faculty: manifests change, images are asked for, workloads run, forms are opened, people sign in."""

import random
from datetime import datetime, timedelta
from functools import partial

from holdfast.core.actor import Actor, Origin
from holdfast.core.errors import ConflictError, HoldfastError
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import api_tokens, sessions
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.attempts import AttemptRule
from holdfast.features.accounts.passwords import PasswordCheck
from holdfast.features.config_files import service as config_files
from holdfast.features.forms import service as forms
from holdfast.features.images import requests as image_requests
from holdfast.features.workloads import service as workloads
from holdfast.features.workloads.service import NewWorkload
from holdfast.operations.demo.conversations import (
    APPROVALS,
    COMMON_IMAGES,
    TOPICS,
    UNWANTED_IMAGES,
    WANTED_IMAGES,
    WORKLOADS,
    Topic,
)
from holdfast.operations.demo.faculty import Faculty, RunningProject, Size
from holdfast.operations.demo.manifests import manifest
from holdfast.operations.demo.timeline import Timeline

_RULE = AttemptRule(attempts=1000, window_seconds=900)
_SESSION_SECONDS = 12 * 3600
_RUNNABLE_IMAGES = COMMON_IMAGES[1:4]
_MOST_TRIES = 3
_SHARE_OF_LAST_HOURS = 0.1
_REFUSED_AFTER_HOURS = 100.0
# Several, because an image may have been asked for before, and a job may wait for its quota or end soon.
_LAST_OF_EACH = 6


class Month:
    """Plans what happens in the month and does it, as the people whom it concerns."""

    def __init__(self, tx: Transaction, timeline: Timeline, chance: random.Random, faculty: Faculty) -> None:
        self._tx = tx
        self._timeline = timeline
        self._clock = timeline.clock
        self._chance = chance
        self._faculty = faculty
        self._images: dict[str, list[str]] = {}

    async def plan(self, size: Size) -> None:
        """Put the month on the line."""
        await self._allow_common_images(self._faculty.operators[0])
        self._plan_manifests()
        for _ in range(size.forms):
            self._timeline.at(self._some_moment(), self._open_some_form)
        for _ in range(size.image_requests):
            self._timeline.at(self._some_moment(), self._ask_for_some_image)
        for _ in range(size.workloads):
            self._timeline.at(self._some_moment(), self._ask_to_run)
        for _ in range(size.sign_ins):
            self._timeline.at(self._some_moment(), self._sign_in)
        for professor in self._faculty.professors:
            self._timeline.at(self._some_moment(), partial(self._make_token, professor))
        self._plan_what_must_not_lack()

    def _plan_what_must_not_lack(self) -> None:
        """However the rest falls out, at whatever hour it is made: refusals, a request that waits, jobs that run."""
        refused = next(topic for topic in TOPICS if topic.outcome == "Rejected")
        self._timeline.after(_REFUSED_AFTER_HOURS, partial(self._open_form, refused))
        self._timeline.after(_REFUSED_AFTER_HOURS, partial(self._ask_for_image, next(iter(UNWANTED_IMAGES))))
        for number in range(_LAST_OF_EACH):
            self._timeline.at(self._timeline.end - timedelta(minutes=5 + number), self._ask_for_some_image)
            self._timeline.at(self._timeline.end - timedelta(hours=2, minutes=number), self._ask_to_run)

    def _some_moment(self) -> datetime:
        """A moment of the month at which people work: most often in the afternoon.

        The last hours are what is seen first: somebody is signed in, something runs, something waits.
        """
        if self._chance.random() < _SHARE_OF_LAST_HOURS:
            return self._timeline.end - timedelta(hours=self._chance.uniform(0.1, 9))
        length = self._timeline.end - self._timeline.start
        share = max(self._chance.random(), self._chance.random() * 0.6)
        day = (self._timeline.start + length * share).replace(hour=0, minute=0)
        hour = min(max(self._chance.gauss(14.5, 3.5), 7), 23)
        moment = day + timedelta(hours=hour)
        if moment >= self._timeline.end:
            moment = self._timeline.end - timedelta(hours=self._chance.uniform(0.1, 12))
        return max(moment, self._timeline.start + timedelta(hours=self._chance.uniform(1, 5)))

    async def _allow_common_images(self, operator: Actor) -> None:
        for image in COMMON_IMAGES:
            await image_requests.allow_or_file(self._tx, operator, image_name=image, clock=self._clock)

    def _plan_manifests(self) -> None:
        for number, project in enumerate(self._faculty.projects, start=1):
            for name in project.plan.manifests:
                self._timeline.after(self._chance.uniform(1, 60), partial(self._store, project, name, number))

    async def _store(self, project: RunningProject, name: str, number: int) -> None:
        text = manifest(name, number=number, revision=0, gpu_quota=project.plan.gpu_quota)
        checked = await config_files.check_content(text, allow_privileged=False)
        stored = await config_files.create_config_file(
            self._tx,
            self._chance.choice(project.staff),
            project.p_id,
            filename=f"{name}.yaml",
            checked=checked,
            clock=self._clock,
        )
        for revision in range(1, self._chance.choice((1, 1, 2, 3))):
            self._timeline.after(
                self._chance.uniform(24, 400), partial(self._replace, project, stored.cf_id, name, number, revision)
            )

    async def _replace(self, project: RunningProject, cf_id: str, name: str, number: int, revision: int) -> None:
        text = manifest(name, number=number, revision=revision, gpu_quota=project.plan.gpu_quota)
        checked = await config_files.check_content(text, allow_privileged=False)
        author = self._chance.choice(project.staff)
        await config_files.replace_config_file(self._tx, author, cf_id, checked=checked, clock=self._clock)

    async def _open_some_form(self) -> None:
        await self._open_form(self._chance.choice(TOPICS))

    async def _open_form(self, topic: Topic) -> None:
        project = self._chance.choice(self._faculty.projects)
        author = self._chance.choice(project.students)
        form = await forms.open_form(
            self._tx,
            author,
            title=topic.title,
            project_id=project.p_id,
            tag=topic.tag,
            message=topic.message,
            clock=self._clock,
        )
        staff = self._chance.choice(project.staff)
        self._timeline.after(self._chance.expovariate(1 / 30), partial(self._answer, form.id, author, staff, topic))

    async def _answer(self, form_id: str, author: Actor, staff: Actor, topic: Topic) -> None:
        await forms.change_form(self._tx, staff, form_id, {"status": "Processing"}, clock=self._clock)
        await forms.add_message(self._tx, staff, form_id, topic.answer, clock=self._clock)
        if topic.outcome == "Rejected" or self._chance.random() < 0.8:
            self._timeline.after(self._chance.expovariate(1 / 20), partial(self._close, form_id, author, staff, topic))

    async def _close(self, form_id: str, author: Actor, staff: Actor, topic: Topic) -> None:
        await forms.add_message(self._tx, author, form_id, topic.reply, clock=self._clock)
        await forms.change_form(self._tx, staff, form_id, {"status": topic.outcome}, clock=self._clock)

    async def _ask_for_some_image(self) -> None:
        await self._ask_for_image(self._chance.choice(WANTED_IMAGES))

    async def _ask_for_image(self, image: str) -> None:
        project = self._chance.choice(self._faculty.projects)
        asking = self._chance.choice([*project.students[:3], *project.staff])
        try:
            request = await image_requests.file_request(
                self._tx, asking, image_name=image, project_id=project.p_id, clock=self._clock
            )
        except ConflictError:
            return  # Somebody of the project asked before.
        if image in UNWANTED_IMAGES or self._chance.random() < 0.9:
            self._timeline.after(
                self._chance.expovariate(1 / 25), partial(self._decide, request.id, project.p_id, image)
            )

    async def _decide(self, request_id: str, p_id: str, image: str) -> None:
        operator = self._chance.choice(self._faculty.operators)
        if image in UNWANTED_IMAGES:
            note = UNWANTED_IMAGES[image]
            await image_requests.reject_request(self._tx, operator, request_id, note=note, clock=self._clock)
            return
        await image_requests.approve_request(
            self._tx,
            operator,
            request_id,
            note=self._chance.choice(APPROVALS),
            is_global=self._chance.random() < 0.15,
            clock=self._clock,
        )
        self._images.setdefault(p_id, []).append(image)

    async def _ask_to_run(self) -> None:
        project = self._chance.choice(self._faculty.projects)
        student, quota = self._chance.choice(project.students), project.plan.gpu_quota
        gpus = self._chance.choice((1, 1, 1, 2)) if quota else 0
        asked = NewWorkload(
            project_id=project.p_id,
            name=f"{self._chance.choice(WORKLOADS)}-{self._chance.randrange(1, 100)}",
            image=self._chance.choice([*_RUNNABLE_IMAGES, *self._images.get(project.p_id, [])]),
            resource_cpu=self._chance.choice(("500m", "2", "4", "8")),
            resource_mem=self._chance.choice(("2Gi", "8Gi", "16Gi", "32Gi")),
            resource_gpu=min(gpus, quota) or None,
            priority=self._chance.choice((1000, 1000, 1000, 1500, 500)),
        )
        await self._run(student, asked, tries=1)

    async def _run(self, student: Actor, asked: NewWorkload, *, tries: int) -> None:
        try:
            workload = await workloads.create_workload(self._tx, student, asked, clock=self._clock)
        except HoldfastError:
            # The quota is used up, as it would be for anybody; people try again later, and some give up.
            if tries < _MOST_TRIES:
                self._timeline.after(self._chance.uniform(2, 9), partial(self._run, student, asked, tries=tries + 1))
            return
        self._timeline.after(self._chance.expovariate(2), partial(self._start, student, workload.id))

    async def _start(self, student: Actor, workload_id: str) -> None:
        await self._set_status(student, workload_id, "Running")
        end = "Succeeded" if self._chance.random() < 0.85 else "Failed"
        self._timeline.after(self._chance.expovariate(1 / 7), partial(self._set_status, student, workload_id, end))

    async def _set_status(self, student: Actor, workload_id: str, status: str) -> None:
        await workloads.change_workload(self._tx, student, workload_id, {"status": status}, clock=self._clock)

    async def _sign_in(self) -> None:
        project = self._chance.choice(self._faculty.projects)
        person = self._chance.choice([*project.students, *project.staff, *self._faculty.operators])
        origin = Origin(address=person.address, user_agent=person.user_agent)
        credentials = await sessions.find_credentials(
            self._tx, _RULE, username=person.username, origin=origin, clock=self._clock
        )
        signed_in = await sessions.complete_sign_in(
            self._tx,
            _RULE,
            credentials,
            PasswordCheck(matches=True),
            username=person.username,
            origin=origin,
            session_seconds=_SESSION_SECONDS,
            clock=self._clock,
        )
        if isinstance(signed_in, HoldfastError):
            raise signed_in
        actor = await accounts.resolve_actor_for_change(self._tx, signed_in.token, origin, self._clock)
        self._timeline.after(min(self._chance.expovariate(1 / 3), 11), partial(self._sign_out, actor))

    async def _sign_out(self, actor: Actor) -> None:
        await sessions.sign_out(self._tx, actor, clock=self._clock)

    async def _make_token(self, professor: Actor) -> None:
        await api_tokens.create_token(
            self._tx, professor, name="Grading script", scopes=["forms:read"], longest_days=365, clock=self._clock
        )
