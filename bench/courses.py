"""The rows that deletions are measured on: finished courses, each a group with its projects and what they hold.

Each project has 75 rows beneath it, forms and their messages most of all. The courses are written one after another,
as they were given: the rows of one lie together, as they do where ids follow time.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Table

from bench.population import Populated
from holdfast.db.tables import (
    config_files,
    container_repositories,
    course_workloads,
    form_messages,
    forms,
    group_list,
    image_allow_list,
    image_requests,
    project_list,
    resources,
    user_group,
)

_START = datetime(2025, 9, 15, 8, tzinfo=UTC)
_MEMBERS = 100
_CONFIG_FILES, _RESOURCES_OF_A_FILE = 3, 3
_FORMS, _MESSAGES_OF_A_FORM = 10, 4
_IMAGES, _WORKLOADS = 4, 5
_REPOSITORIES = 50
_FORM_STATUSES = ("Completed", "Completed", "Rejected")
_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - name: work
        image: docker.io/pytorch/pytorch:2.9
        resources:
          limits:
            nvidia.com/gpu: 1
"""
_SENTENCES = (
    "The pod stays pending although the quota shows one free GPU.",
    "We looked into it: the node was drained for maintenance and is back now.",
    "Training stopped at night with an out-of-memory error, the log is in the project folder.",
    "Please allow the image of last year's course, the assignment builds on it.",
)

Rows = Iterator[dict[str, Any]]


class Courses:
    """`courses` groups with `projects` projects each, of users who are there already."""

    def __init__(self, *, courses: int, projects: int, user_ids: list[str]) -> None:
        self.group_ids = [f"course-{number:04}" for number in range(courses)]
        self._projects = projects
        self._user_ids = user_ids

    @property
    def rows_of_a_course(self) -> int:
        """How many rows the deletion of one takes."""
        messages = _FORMS * (1 + _MESSAGES_OF_A_FORM)
        files = _CONFIG_FILES * (1 + _RESOURCES_OF_A_FILE)
        of_a_project = 1 + files + messages + 2 * _IMAGES + _WORKLOADS
        return 1 + len(self._members()) + self._projects * of_a_project

    def tables(self) -> Iterator[tuple[Table, Rows]]:
        """Each table with its rows, parents first; the tables come again for each course."""
        yield container_repositories, self._repositories()
        for g_id in self.group_ids:
            projects = _numbered("p", g_id, self._projects)
            yield group_list, iter([{"g_id": g_id, "group_name": f"finished {g_id}", "created_at": _START}])
            yield user_group, ({"u_id": u_id, "g_id": g_id, "role": "user"} for u_id in self._members())
            yield project_list, self._project_rows(g_id, projects)
            yield from self._file_rows(g_id, projects)
            yield from self._form_rows(g_id, projects)
            yield from self._image_rows(g_id, projects)
            yield course_workloads, self._workload_rows(g_id, projects)

    def _members(self) -> list[str]:
        return self._user_ids[1 : 1 + _MEMBERS]

    def _author(self, number: int) -> str:
        return self._user_ids[1 + number * 7 % (len(self._user_ids) - 1)]

    def _repositories(self) -> Rows:
        for number in range(_REPOSITORIES):
            name = f"image-{number:03}"
            yield {"id": f"repository-{number:03}", "name": name, "full_name": f"docker.io/{name}"}

    def _project_rows(self, g_id: str, projects: list[str]) -> Rows:
        for number, p_id in enumerate(projects):
            yield {
                "p_id": p_id,
                "project_name": f"assignment {number}",
                "g_id": g_id,
                "gpu_quota": 4,
                "created_at": _moment(number),
            }

    def _file_rows(self, g_id: str, projects: list[str]) -> Iterator[tuple[Table, Rows]]:
        files = _numbered("c", g_id, len(projects) * _CONFIG_FILES)
        yield (
            config_files,
            (
                {
                    "cf_id": cf_id,
                    "filename": f"part-{number}.yaml",
                    "content": _MANIFEST.format(name=f"work-{number}"),
                    "project_id": p_id,
                    "created_at": _moment(number),
                }
                for number, (cf_id, p_id) in enumerate(zip(files, _each(projects, _CONFIG_FILES), strict=True))
            ),
        )
        found = _numbered("r", g_id, len(files) * _RESOURCES_OF_A_FILE)
        yield (
            resources,
            (
                {
                    "r_id": r_id,
                    "cf_id": cf_id,
                    "type": "deployment",
                    "name": f"deployment/work-{number}",
                    "parsed_yaml": {"kind": "Deployment", "metadata": {"name": f"work-{number}"}},
                    "created_at": _moment(number),
                }
                for number, (r_id, cf_id) in enumerate(zip(found, _each(files, _RESOURCES_OF_A_FILE), strict=True))
            ),
        )

    def _form_rows(self, g_id: str, projects: list[str]) -> Iterator[tuple[Table, Rows]]:
        asked = _numbered("f", g_id, len(projects) * _FORMS)
        yield (
            forms,
            (
                {
                    "id": form_id,
                    "user_id": self._author(number),
                    "project_id": p_id,
                    "title": _sentence(number)[:60],
                    "description": _sentence(number),
                    "tag": "gpu",
                    "status": _FORM_STATUSES[number % 3],
                    "created_at": _moment(number),
                }
                for number, (form_id, p_id) in enumerate(zip(asked, _each(projects, _FORMS), strict=True))
            ),
        )
        said = _numbered("m", g_id, len(asked) * _MESSAGES_OF_A_FORM)
        yield (
            form_messages,
            (
                {
                    "id": message_id,
                    "form_id": form_id,
                    "user_id": self._author(number),
                    "content": f"{_sentence(number)} {_sentence(number + 1)}",
                    "created_at": _moment(number),
                }
                for number, (message_id, form_id) in enumerate(
                    zip(said, _each(asked, _MESSAGES_OF_A_FORM), strict=True)
                )
            ),
        )

    def _image_rows(self, g_id: str, projects: list[str]) -> Iterator[tuple[Table, Rows]]:
        wished = _numbered("i", g_id, len(projects) * _IMAGES)
        owners = list(_each(projects, _IMAGES))
        yield (
            image_requests,
            (
                {
                    "id": request_id,
                    "user_id": self._author(number),
                    "project_id": p_id,
                    "input_image_name": f"image-{number % _REPOSITORIES:03}",
                    "input_tag": "2.9",
                    "status": "approved",
                    "created_at": _moment(number),
                }
                for number, (request_id, p_id) in enumerate(zip(wished, owners, strict=True))
            ),
        )
        yield (
            image_allow_list,
            (
                {
                    "id": f"a{request_id[1:]}",
                    "project_id": p_id,
                    "repository_id": f"repository-{number % _REPOSITORIES:03}",
                    "request_id": request_id,
                    "created_by": self._author(number),
                    "created_at": _moment(number),
                }
                for number, (request_id, p_id) in enumerate(zip(wished, owners, strict=True))
            ),
        )

    def _workload_rows(self, g_id: str, projects: list[str]) -> Rows:
        ran = _numbered("w", g_id, len(projects) * _WORKLOADS)
        for number, (workload_id, p_id) in enumerate(zip(ran, _each(projects, _WORKLOADS), strict=True)):
            yield {
                "id": workload_id,
                "user_id": self._author(number),
                "project_id": p_id,
                "name": f"training-{number}",
                "namespace": g_id,
                "image": "docker.io/pytorch/pytorch:2.9",
                "status": "Succeeded",
                "k8s_pod_name": workload_id,
                "created_at": _moment(number),
            }


def _numbered(prefix: str, g_id: str, count: int) -> list[str]:
    """Ids that sort as they were made, of the widths that the columns hold."""
    course = g_id.rpartition("-")[2]
    return [f"{prefix}{course}-{number:012}" for number in range(count)]


def _each(parents: Iterable[str], times: int) -> Iterator[str]:
    return (parent for parent in parents for _ in range(times))


def _moment(number: int) -> datetime:
    return _START + timedelta(minutes=number)


def _sentence(number: int) -> str:
    return _SENTENCES[number % len(_SENTENCES)]


class Together(msgspec.Struct, frozen=True):
    """Populations that are loaded one after the other."""

    parts: tuple[Populated, ...]

    def tables(self) -> Iterator[tuple[Table, Rows]]:
        """All their tables."""
        for part in self.parts:
            yield from part.tables()
