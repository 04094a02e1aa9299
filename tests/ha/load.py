"""N callers through the API, who note what they were told; afterwards everything is held against their notes.

    async with Load([replica.url for replica in replicas], callers=16) as load:
        await load.until_acknowledged(200)
        ... break something ...
        broken = load.now()
        seconds = await load.seconds_until_written(broken)
    figures = await load.verify()
    figures.require_kept_promises()

Each caller speaks to one replica and repeats: open a form with an Idempotency-Key, again and again until it is
acknowledged; write a message without a key, once; count up in its own form; read what it and another caller know.
"""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import httpx

from tests.ha.ledger import Figures, Register, Told, Write
from tests.ha.replicas import FIRST_PASSWORD, PASSWORD

# How a server says that it does not know whether a change took effect.
OUTCOME_UNKNOWN = "commit_outcome_unknown"
_PATIENCE_SECONDS = 120
_ANSWER_SECONDS = 90
_PAGE = 100


class Load:
    """The callers, and their notes. Verify it after the block; what it wrote stays."""

    def __init__(self, urls: Sequence[str], *, callers: int = 16, rest_seconds: float = 0.02) -> None:
        self._urls = list(urls)
        self._caller_count = callers
        self._rest_seconds = rest_seconds
        self._clients: list[httpx.AsyncClient] = []
        self._callers: list[_Caller] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.figures = Figures()
        # When each acknowledged write began and ended, in the order of their ends.
        self.acknowledged: list[tuple[float, float]] = []
        self.writes: list[Write] = []

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {await _sign_in(self._urls[0])}"}
        self._clients = [
            httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=_ANSWER_SECONDS, limits=_UNLIMITED)
            for url in self._urls
        ]
        self._project = await self._make_project()
        for number in range(self._caller_count):
            self._callers.append(_Caller(self, number, self._clients[number % len(self._clients)]))
        await asyncio.gather(*(caller.open_own_form(self._project) for caller in self._callers))
        self._tasks = [asyncio.create_task(caller.repeat()) for caller in self._callers]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        try:
            if error is None:
                # Keyed writes end when they are acknowledged.
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if error is not None:
                await self._close()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    @property
    def project(self) -> str:
        return self._project

    @staticmethod
    def now() -> float:
        """The clock of `seconds_until_written`."""
        return time.monotonic()

    async def until_acknowledged(self, more: int) -> None:
        """Wait for so many further acknowledged writes."""
        wanted = len(self.acknowledged) + more
        await self._until(lambda: len(self.acknowledged) >= wanted)

    async def seconds_until_written(self, since: float) -> float:
        """Wait until a write that began after the moment is acknowledged; how long after it the first one was."""
        await self._until(lambda: any(began >= since for began, _ in self.acknowledged))
        return min(ended for began, ended in self.acknowledged if began >= since) - since

    async def until_all_write(self, since: float) -> float:
        """Wait until every caller had a write acknowledged that began after the moment; when the last one had."""
        await self._until(lambda: all(caller.last_began >= since for caller in self._callers))
        return time.monotonic() - since

    def longest_silence(self, since: float = 0) -> float:
        """The longest time in which no write was acknowledged."""
        ends = sorted(ended for _, ended in self.acknowledged if ended >= since)
        return max((later - before for before, later in pairwise(ends)), default=0.0)

    def another_form(self, caller: "_Caller") -> tuple[str, str] | None:
        """Id and title of an acknowledged form of anybody."""
        known = [other.last_form for other in self._callers if other is not caller and other.last_form is not None]
        return random.choice(known) if known else None  # noqa: S311 - any will do

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(random.uniform(0.5, 1.5) * seconds)  # noqa: S311 - spreads the callers

    async def rest_between(self) -> None:
        await self.rest(self._rest_seconds)

    async def request(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response | None:
        """An answer that a client may be given: what it asked for, or 503 with Retry-After. None where none came."""
        started = time.monotonic()
        try:
            answer = await client.request(method, path, **options)
        except httpx.TransportError as error:
            self.figures.unexpected_answers.append(
                f"{method} {path}: {error!r} after {time.monotonic() - started:.1f} s"
            )
            return None
        self.figures.longest_answer_seconds = max(self.figures.longest_answer_seconds, time.monotonic() - started)
        if answer.status_code == 503:
            self.figures.unavailable += 1
            self.figures.codes[str(answer.json()["code"])] += 1
            if not answer.headers.get("Retry-After", "").isdigit():
                self.figures.unexpected_answers.append(f"{method} {path}: 503 without Retry-After: {answer.text}")
        elif answer.status_code not in {200, 201}:
            self.figures.unexpected_answers.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    async def verify(self) -> Figures:
        """Hold what is there against the notes; after the block, once the database answers again."""
        try:
            client = self._clients[0]
            found = Counter([form["title"] for form in await self._list("/forms", project_id=self._project)])
            for caller in self._callers:
                messages = await self._list(f"/forms/{caller.form}/messages")
                found += Counter([message["content"] for message in messages])
                form = await self._ask(client, f"/forms/{caller.form}")
                caller.check_counter(form.json())
            self.figures.count_writes(self.writes, found)
            if strangers := set(found) - {write.text for write in self.writes} - {c.title for c in self._callers}:
                self.figures.wrong_reads.append(f"nobody wrote {sorted(strangers)[:5]}")
            await self._check_audit_log()
            return self.figures
        finally:
            await self._close()

    async def _check_audit_log(self) -> None:
        """Each form has exactly one entry that tells of its making: neither half of a change may come alone."""
        forms = Counter([form["id"] for form in await self._list("/forms", project_id=self._project)])
        entries = await self._list("/audit-logs", resource_type="form", action="create", limit="1000")
        told = Counter([entry["resource_id"] for entry in entries])
        for form, count in forms.items():
            if told[form] != count:
                self.figures.wrong_reads.append(f"form {form} has {told[form]} entries in the audit log")

    async def _list(self, path: str, **filters: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        following: str | None = None
        while True:
            asked = {"limit": str(_PAGE)} | filters | {"total": "none"} | ({"cursor": following} if following else {})
            page = (await self._ask(self._clients[0], path, params=asked)).json()
            rows += page["items"]
            following = page["next"]
            if following is None:
                return rows

    async def _ask(self, client: httpx.AsyncClient, path: str, **options: Any) -> httpx.Response:
        """A GET that is answered in the end."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = await self.request(client, "GET", path, **options)
            if answer is not None and answer.status_code == 200:
                return answer
            await asyncio.sleep(0.3)
        raise AssertionError(
            f"GET {path} was not answered: {self.figures.unexpected_answers[-3:]} {self.figures.codes}"
        )

    async def _make_project(self) -> str:
        client = self._clients[0]
        name = f"load-{uuid.uuid4().hex[:12]}"
        group = await client.post("/groups", json={"group_name": name})
        project = await client.post("/projects", json={"g_id": group.json()["g_id"], "project_name": name})
        return str(project.json()["p_id"])

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"it did not come about; {self.figures}"
            await asyncio.sleep(0.02)

    async def _close(self) -> None:
        for client in self._clients:
            await client.aclose()


_UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class _Caller:
    """One client program."""

    def __init__(self, load: Load, number: int, client: httpx.AsyncClient) -> None:
        self._load = load
        self._number = number
        self._client = client
        self._turn = 0
        self._register = Register()
        self._messages = 0
        self._messages_at_most = 0
        self.title = f"form of caller {number}"
        self.form = ""
        self.last_form: tuple[str, str] | None = None
        self.last_began = 0.0

    async def open_own_form(self, project: str) -> None:
        answer = await self._client.post(
            "/forms", json={"title": self.title, "project_id": project, "description": "0"}
        )
        answer.raise_for_status()
        self.form = answer.json()["id"]

    async def repeat(self) -> None:
        while not self._load.is_stopping:
            self._turn += 1
            for act in (self._open_form, self._read_counter, self._write_message, self._count_up, self._read_others):
                await act()
                await self._load.rest_between()

    async def _open_form(self) -> None:
        """With a key: the same request, until it is acknowledged."""
        write = Write(text=f"{self._number}-{self._turn}", place="forms", keyed=True)
        self._load.writes.append(write)
        body = {"title": write.text, "project_id": self._load.project, "message": write.text + " message"}
        headers = {"Idempotency-Key": str(uuid.uuid4())}

        async def attempt() -> httpx.Response | None:
            return await self._load.request(self._client, "POST", "/forms", json=body, headers=headers)

        while write.told is not Told.ACKNOWLEDGED:
            answer = await self._write(attempt)
            if answer is not None and answer.status_code == 201:
                write.told = Told.ACKNOWLEDGED
                write.id = answer.json()["id"]
                self.last_form = (str(write.id), write.text)
            else:
                await self._load.rest(0.2)

    async def _write_message(self) -> None:
        """Without a key: once, whatever comes of it."""
        write = Write(text=f"{self._number}-{self._turn} alone", place=self.form, keyed=False)
        self._load.writes.append(write)
        self._messages_at_most += 1

        async def attempt() -> httpx.Response | None:
            return await self._load.request(
                self._client, "POST", f"/forms/{self.form}/messages", json={"content": write.text}
            )

        write.told = told_by(await self._write(attempt))
        if write.told is Told.ACKNOWLEDGED:
            self._messages += 1
        elif write.told is Told.REFUSED:
            self._messages_at_most -= 1

    async def _count_up(self) -> None:
        self._register.before_writing(self._turn)

        async def attempt() -> httpx.Response | None:
            return await self._load.request(
                self._client, "PATCH", f"/forms/{self.form}", json={"description": str(self._turn)}
            )

        self._register.after_writing(self._turn, told_by(await self._write(attempt)))

    async def _write(self, attempt: Callable[[], Awaitable[httpx.Response | None]]) -> httpx.Response | None:
        began = time.monotonic()
        answer = await attempt()
        if told_by(answer) is Told.ACKNOWLEDGED:
            self._load.acknowledged.append((began, time.monotonic()))
            self.last_began = began
        return answer

    async def _read_counter(self) -> None:
        answer = await self._read(f"/forms/{self.form}")
        if answer is not None:
            self.check_counter(answer.json())

    def check_counter(self, form: dict[str, Any]) -> None:
        """Hold the own form against what was told."""
        value, before = int(form["description"]), sorted(self._register.allowed)
        if not self._register.read(value):
            self._load.figures.wrong_reads.append(f"caller {self._number} read {value}, may be {before}")

    async def _read_others(self) -> None:
        """What another caller was told is there, through this replica, too; and all own messages are."""
        known = self._load.another_form(self)
        if known is not None and (answer := await self._read(f"/forms/{known[0]}")) is not None:
            title = answer.json()["title"]
            if title != known[1]:
                self._load.figures.wrong_reads.append(f"form {known[0]} is called {title}, not {known[1]}")
        answer = await self._read(f"/forms/{self.form}/messages", limit="1")
        if answer is not None and not self._messages <= (total := answer.json()["total"]) <= self._messages_at_most:
            self._load.figures.wrong_reads.append(
                f"caller {self._number} counted {total} messages, may be {self._messages} to {self._messages_at_most}"
            )

    async def _read(self, path: str, **parameters: str) -> httpx.Response | None:
        answer = await self._load.request(self._client, "GET", path, params=parameters)
        if answer is None or answer.status_code != 200:
            return None
        self._load.figures.reads += 1
        return answer


def told_by(answer: httpx.Response | None) -> Told:
    """What an answer to a write says of it."""
    if answer is None:
        return Told.UNKNOWN
    if answer.status_code in {200, 201}:
        return Told.ACKNOWLEDGED
    if answer.status_code == 503 and answer.json()["code"] != OUTCOME_UNKNOWN:
        return Told.REFUSED
    return Told.UNKNOWN


async def _sign_in(url: str) -> str:
    """A token of the administrator, who must choose a password of their own at the first time."""
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=_ANSWER_SECONDS) as client:
        answer = await client.post("/sessions", json={"username": "admin", "password": PASSWORD})
        if answer.status_code != 201:
            answer = await client.post("/sessions", json={"username": "admin", "password": FIRST_PASSWORD})
        session = answer.json()
        if session["user"]["must_change_password"]:
            changed = await client.put(
                f"/users/{session['user']['u_id']}/password",
                json={"old_password": FIRST_PASSWORD, "new_password": PASSWORD},
                headers={"Authorization": f"Bearer {session['token']}"},
            )
            changed.raise_for_status()
            return await _sign_in(url)
        return str(session["token"])
