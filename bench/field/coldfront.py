"""ColdFront: users, and projects with users, which are its groups. Its API reads only, and knows no pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.field import server
from bench.field.dataset import Dataset
from bench.field.server import START, Operation, Side

_TOKEN = "0123456789abcdef" * 2
_MOMENT = "2026-02-05 08:00:00.000000"
_DATES = {"created": _MOMENT, "modified": _MOMENT}
_FIRST = 1000


@contextmanager
def serve(programs: Path, dataset: Dataset, folder: Path) -> Iterator[Side]:
    """Its WSGI application, in one process."""
    database = folder / "coldfront.db"
    variables = server.environment(folder, DB_URL=f"sqlite:///{database}", PLUGIN_API="True", SECRET_KEY=_TOKEN)
    for arguments in (["migrate"], ["initial_setup", "--force_overwrite"]):
        server.run_program([str(programs / "coldfront"), *arguments], variables, folder)
    _fill(database, dataset)

    def command(port: int) -> list[str]:
        return [str(programs / "python"), str(START / "wsgi.py"), str(port), "coldfront.config.wsgi", "application"]

    with server.running(command, variables, folder, ready="/api/") as coldfront:
        yield coldfront.side({"Authorization": f"Token {_TOKEN}"}, _operations(dataset))


def _operations(dataset: Dataset) -> dict[str, Operation]:
    return {
        server.LIST_GROUPS_WITH_MEMBERS: lambda client, _: client.ask("GET", "/api/projects/?project_users=true"),
        server.READ_USER: lambda client, number: client.ask("GET", f"/api/users/{_FIRST + number % dataset.users}/"),
    }


def _fill(database: Path, dataset: Dataset) -> None:
    admin = _user(1, "admin") | {"is_superuser": 1, "is_staff": 1}
    users = [_user(_FIRST + number, name) for number, name in enumerate(dataset.usernames)]
    profiles = [{"user_id": user["id"], "is_pi": 0} for user in (admin, *users)]
    science = server.fetch_one(database, "SELECT min(id) FROM field_of_science_fieldofscience")
    active = server.fetch_one(database, "SELECT id FROM project_projectstatuschoice WHERE name = 'Active'")
    projects = [
        {
            "id": _FIRST + number,
            "title": name,
            "description": "",
            "force_review": 0,
            "requires_review": 0,
            "field_of_science_id": science,
            "pi_id": 1,
            "status_id": active,
            "project_code": "",
            "institution": "",
        }
        | _DATES
        for number, name in enumerate(dataset.group_names)
    ]
    role = server.fetch_one(database, "SELECT id FROM project_projectuserrolechoice WHERE name = 'User'")
    is_member = server.fetch_one(database, "SELECT id FROM project_projectuserstatuschoice WHERE name = 'Active'")
    members = [
        {
            "project_id": _FIRST + project,
            "user_id": _FIRST + user,
            "role_id": role,
            "status_id": is_member,
            "enable_notifications": 1,
        }
        | _DATES
        for project, user in dataset.memberships()
    ]
    token = {"key": _TOKEN, "created": _MOMENT, "user_id": 1}
    server.insert(
        database,
        [
            ("auth_user", [admin, *users]),
            ("user_userprofile", profiles),
            ("project_project", projects),
            ("project_projectuser", members),
            ("authtoken_token", [token]),
        ],
    )


def _user(number: int, name: str) -> dict[str, Any]:
    return {
        "id": number,
        "password": "!",
        "is_superuser": 0,
        "username": name,
        "last_name": "Hopper",
        "first_name": "Grace",
        "email": f"{name}@example.edu",
        "is_staff": 0,
        "is_active": 1,
        "date_joined": _MOMENT,
    }
