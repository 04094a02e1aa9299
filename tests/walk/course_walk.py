"""The main job, step by step over HTTP: a course is set up, used, and its story read from the audit log."""

import csv
import re
from pathlib import Path
from typing import Any

import httpx

from holdfast.features.groups.types import FirstStart
from tests.instance import Instance

PROJECT_FOLDER = Path(__file__).parents[2]
ROSTER = PROJECT_FOLDER / "tests" / "data" / "rosters" / "parallel-programming.csv"
# Real manifests from kubernetes/examples where they lie beside the project, else the project's own.
_REAL = sorted((PROJECT_FOLDER.parent / "shared" / "data" / "manifests").glob("*"))
MANIFESTS = _REAL or sorted((PROJECT_FOLDER / "tests" / "data" / "manifests").rglob("*.yaml"))

HEAD, TEACHER, STUDENT, OTHER_STUDENT = "aandersen", "bhaddad", "ecastro", "fjansen"
IMAGE = "ghcr.io/faculty/mpi:4.1"


def read_roster() -> list[dict[str, Any]]:
    """The lines of the roster, each with its number."""
    with ROSTER.open(encoding="utf-8", newline="") as file:
        return [
            {"line": number, **{name: value or None for name, value in row.items()}}
            for number, row in enumerate(csv.DictReader(file), start=2)
        ]


class CourseWalk:
    """One walk: each step leaves what the next one needs."""

    def __init__(self, instance: Instance, first_start: FirstStart) -> None:
        self.instance = instance
        self.first_start = first_start
        self.stored: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    async def sign_in_admin(self) -> None:
        """The generated password opens nothing but its own change."""
        assert self.first_start.username == "admin"
        assert self.first_start.generated_password
        self.admin = await self._sign_in("admin", self.first_start.generated_password)

    async def make_course(self) -> None:
        """A group, and a project with eight GPUs."""
        group = await _made(self.admin, "/groups", group_name="Parallel Programming", description="Spring term")
        self.g_id = group["g_id"]
        body = {"project_name": "Exercises", "g_id": self.g_id, "gpu_quota": 8}
        self.p_id = (await _made(self.admin, "/projects", **body))["p_id"]

    async def import_roster(self) -> None:
        """Dry, in earnest, and once more without effect."""
        rows = read_roster()
        dry = await self._send_roster(rows, dry_run=True)
        assert len(dry["created_users"]) == len(rows)
        assert (await self.admin.get(f"/groups/{self.g_id}/members")).json()["total"] == 0
        done = await self._send_roster(rows, dry_run=False)
        assert done["created_users"] == dry["created_users"]
        assert done["added_members"] == dry["added_members"]
        assert done["first_passwords"].keys() == set(done["created_users"])
        again = await self._send_roster(rows, dry_run=False)
        assert again["unchanged"] == len(rows)
        changes = ("created_users", "added_members", "changed_roles", "updated_users", "first_passwords")
        assert not any(again[name] for name in changes), again
        members = (await self.admin.get(f"/groups/{self.g_id}/members", params={"role": "manager"})).json()
        assert members["total"] == 3
        assert (await self.admin.get(f"/groups/{self.g_id}/members")).json()["total"] == len(rows)
        self.first_passwords = done["first_passwords"]

    async def sign_in_teacher(self) -> None:
        """With the password of the roster's answer."""
        self.teacher = await self._sign_in(TEACHER, self.first_passwords[TEACHER])

    async def store_manifests(self) -> None:
        """Each file gives resources, or is refused with document, line and reason and leaves nothing."""
        for path in MANIFESTS:
            body = {"filename": path.name, "content": path.read_text("utf-8")}
            answer = await self.teacher.post(f"/projects/{self.p_id}/config-files", json=body)
            if answer.status_code == 201:
                assert answer.json()["resources"], path.name
                self.stored[path.name] = answer.json()["cf_id"]
            else:
                assert answer.status_code == 422, f"{path.name}: {answer.text}"
                problem = answer.json()["errors"][0]
                assert (problem["document"], problem["line"]) >= (1, 1), path.name
                assert len(problem["reason"]) > 10, path.name
                assert re.match(r"document \d+, line \d+: .", answer.json()["detail"]), path.name
                self.refused[path.name] = answer.json()["detail"]
        files = await _whole_list(self.teacher, f"/projects/{self.p_id}/config-files")
        assert {each["filename"]: each["cf_id"] for each in files} == self.stored
        assert len(self.stored) >= 6
        assert self.refused

    async def read_config_files(self) -> None:
        """A file with its resources, and each of them."""
        for cf_id in list(self.stored.values())[:3]:
            file = (await self.teacher.get(f"/config-files/{cf_id}")).json()
            listed = await _whole_list(self.teacher, f"/config-files/{cf_id}/resources")
            assert sorted(each["name"] for each in listed) == [each["name"] for each in file["resources"]]
            assert all(f"{each['type']}/" in each["name"] for each in listed)

    async def request_image(self) -> None:
        """A student asks, and nobody but a super administrator decides."""
        self.student = await self._sign_in(STUDENT, self.first_passwords[STUDENT])
        refused = await self._ask_workload(self.student, gpus=1)
        assert (refused.status_code, refused.json()["code"]) == (409, "image_not_allowed")
        request = await _made(self.student, "/image-requests", image_name=IMAGE, project_id=self.p_id)
        self.request_id = request["id"]
        assert request["status"] == "pending"
        waiting = (await self.admin.get("/image-requests", params={"status": "pending"})).json()
        assert [each["id"] for each in waiting["items"]] == [self.request_id]
        path = f"/image-requests/{self.request_id}/approve"
        assert (await self.teacher.post(path, json={})).status_code == 403
        approved = await self.admin.post(path, json={"note": "for the exercises"})
        assert approved.json()["status"] == "approved", approved.text
        allowed = (await self.student.get("/images", params={"project_id": self.p_id})).json()["items"]
        assert [each["full_name"] for each in allowed] == ["ghcr.io/faculty/mpi"]

    async def run_workloads(self) -> None:
        """One fits the quota; the other is refused with the numbers."""
        admitted = await self._ask_workload(self.student, gpus=6)
        assert admitted.status_code == 201, admitted.text
        self.workload_id = admitted.json()["id"]
        self.other_student = await self._sign_in(OTHER_STUDENT, self.first_passwords[OTHER_STUDENT])
        refused = await self._ask_workload(self.other_student, gpus=4)
        assert refused.status_code == 409
        problem = refused.json()
        assert problem["code"] == "quota_exceeded"
        assert (problem["asked"], problem["in_use"], problem["quota"]) == (4, 6, 8)
        assert (await self.student.get("/workloads")).json()["total"] == 1
        assert (await self.teacher.get(f"/projects/{self.p_id}")).json()["gpus_in_use"] == 6

    async def answer_form(self) -> None:
        """Opened with a question, answered, completed, and then closed to further messages."""
        body = {"title": "More GPUs", "project_id": self.p_id, "tag": "quota", "message": "Six are not enough"}
        form = await _made(self.other_student, "/forms", **body)
        path = f"/forms/{form['id']}"
        assert (await self.student.get(path)).status_code == 404
        changed = await self.teacher.patch(path, json={"status": "Processing"})
        assert changed.status_code == 200, changed.text
        await _made(self.teacher, f"{path}/messages", content="Wait until Thursday")
        assert (await self.teacher.patch(path, json={"status": "Completed"})).json()["status"] == "Completed"
        assert (await self.other_student.post(f"{path}/messages", json={"content": "But"})).status_code == 409
        read = (await self.other_student.get(path)).json()
        assert [each["content"] for each in read["messages"]] == ["Six are not enough", "Wait until Thursday"]

    async def read_audit_log(self) -> list[dict[str, Any]]:
        """All of it, as the administrator reads it, in the order of writing."""
        return (await _whole_list(self.admin, "/audit-logs", limit=1000))[::-1]

    async def read_audit_log_of_group(self) -> list[dict[str, Any]]:
        """What the head of the course, an admin of the group, reads."""
        head = await self._sign_in(HEAD, self.first_passwords[HEAD])
        return (await _whole_list(head, "/audit-logs", limit=1000))[::-1]

    async def _sign_in(self, username: str, first_password: str) -> httpx.AsyncClient:
        credentials = {"username": username, "password": first_password}
        session = (await self.instance.client().post("/sessions", json=credentials)).json()
        client = self.instance.client(session["token"])
        refused = await client.get("/groups")
        assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
        body = {"old_password": first_password, "new_password": f"{username} chose this"}
        changed = await client.put(f"/users/{session['user']['u_id']}/password", json=body)
        assert changed.status_code == 204, changed.text
        assert (await client.get("/groups")).status_code == 200
        return client

    async def _send_roster(self, rows: list[dict[str, Any]], *, dry_run: bool) -> dict[str, Any]:
        answer = await self.admin.post(f"/groups/{self.g_id}/roster", json={"rows": rows, "dry_run": dry_run})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def _ask_workload(self, client: httpx.AsyncClient, *, gpus: int) -> httpx.Response:
        body = {"project_id": self.p_id, "name": "n-body", "image": IMAGE, "resource_gpu": gpus}
        return await client.post("/workloads", json=body)


async def _made(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    found = await client.get(answer.headers["Location"].removeprefix("/api/v1"))
    assert found.status_code == 200, found.text
    return made


async def _whole_list(client: httpx.AsyncClient, path: str, limit: int = 100) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={"limit": limit, **cursor})).json()
        items += page["items"]
        if page["next"] is None:
            assert len(items) == page["total"]
            return items
        cursor = {"cursor": page["next"]}
