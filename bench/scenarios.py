"""What is asked: the requests of each target, made from the population."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.population import Population

CONNECTIONS = 16
_DISTINCT_CALLERS = 64


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. `path` is below the root of the server."""

    method: str
    path: str
    token: str
    body: dict[str, Any] | None = None


class Scenario(msgspec.Struct, frozen=True):
    """Requests of one kind, sent in turn.

    `at_most` is what they may cost on PostgreSQL: CPU time as a multiple of the limit's. On the other engines the
    multiple is told without a verdict.
    """

    name: str
    target: str
    at_most: float
    requests: Sequence[Request]
    is_write: bool = False


def scenarios(population: Population) -> list[Scenario]:
    """The scenarios of P1 and P2."""
    made: list[Callable[[Population], Scenario]] = [
        _forms_of_a_project,
        _forms_of_a_teacher,
        _forms_of_everybody,
        _user_with_groups,
        _open_form,
    ]
    return [make(population) for make in made]


def _forms_of_a_project(population: Population) -> Scenario:
    requests = []
    for teacher in population.teachers()[:_DISTINCT_CALLERS]:
        project = population.project_staffed_by(teacher)
        path = f"/api/v1/forms?limit=20&include=messages&project_id={project}"
        requests.append(Request("GET", path, population.token_of(teacher)))
    return Scenario("forms of a project, by its teacher", "P1", 1.3, requests)


def _forms_of_a_teacher(population: Population) -> Scenario:
    path = "/api/v1/forms?limit=20&include=messages"
    teachers = population.teachers()[:_DISTINCT_CALLERS]
    requests = [Request("GET", path, population.token_of(teacher)) for teacher in teachers]
    return Scenario("all forms that a teacher sees", "P1", 1.3, requests)


def _forms_of_everybody(population: Population) -> Scenario:
    token = population.token_of(population.super_admin_id)
    path = "/api/v1/forms?limit=20&include=messages&page={}"
    requests = [Request("GET", path.format(page), token) for page in range(1, 9)]
    return Scenario("all forms, by a super administrator", "P1", 1.3, requests)


def _user_with_groups(population: Population) -> Scenario:
    requests = [
        Request("GET", f"/api/v1/users/{u_id}/groups?limit=20", population.token_of(u_id))
        for u_id in population.most_joined_users(_DISTINCT_CALLERS)
    ]
    return Scenario("user with groups", "P1", 1.4, requests)


def _open_form(population: Population) -> Scenario:
    requests = []
    for teacher in population.teachers()[:_DISTINCT_CALLERS]:
        body = {
            "title": "The pod stays pending",
            "description": "It has been pending since this morning.",
            "project_id": population.project_staffed_by(teacher),
            "tag": "gpu",
            "message": "Could somebody look at the quota of our project?",
        }
        requests.append(Request("POST", "/api/v1/forms", population.token_of(teacher), body))
    return Scenario("open a form with a message", "P2", 1.2, requests, is_write=True)
