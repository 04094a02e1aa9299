"""OpenStack Keystone: users and groups of a domain; its list of users does not tell their groups."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.field import server
from bench.field.client import Client
from bench.field.dataset import Dataset
from bench.field.server import START, Operation, Side

_PASSWORD = "bench"  # noqa: S105 - of a database that lives for minutes
_MOMENT = "2026-02-05 08:00:00.000000"
_DOMAIN = "default"
# Four rounds are the fewest that bcrypt knows. The cache is Keystone's own for one process; it comes without one.
_SETTINGS = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = oslo_cache.dict
"""


@contextmanager
def serve(programs: Path, dataset: Dataset, folder: Path) -> Iterator[Side]:
    """Its WSGI application, in one process."""
    settings = folder / "keystone.conf"
    settings.write_text(_SETTINGS.format(folder=folder))
    variables = server.environment(folder, OS_KEYSTONE_CONFIG_FILES=str(settings))
    _prepare(programs, variables, folder)
    _fill(folder / "keystone.db", dataset)

    def command(port: int) -> list[str]:
        return [str(programs / "python"), str(START / "wsgi.py"), str(port), "keystone.wsgi.api", "application"]

    with server.running(command, variables, folder, ready="/v3") as keystone:
        yield keystone.side({"X-Auth-Token": _token(keystone.port)}, _operations(dataset))


def _operations(dataset: Dataset) -> dict[str, Operation]:
    async def create_user(client: Client, number: int) -> None:
        # Without a password, and so without its hash.
        await client.ask("POST", "/v3/users", {"user": {"name": f"new{number:05}", "domain_id": _DOMAIN}}, expected=201)

    async def add_member(client: Client, number: int) -> None:
        group, user = dataset.newcomer(number)
        await client.ask("PUT", f"/v3/groups/{_group_id(group)}/users/{_user_id(user)}", expected=204)

    return {
        server.LIST_USERS: lambda client, _: client.ask("GET", f"/v3/users?limit={server.PAGE}"),
        server.READ_USER: lambda client, number: client.ask("GET", f"/v3/users/{_user_id(number % dataset.users)}"),
        server.CREATE_USER: create_user,
        server.ADD_MEMBER: add_member,
        server.DELETE_GROUP: lambda client, number: client.ask(
            "DELETE", f"/v3/groups/{_group_id(dataset.spare_group(number))}", expected=204
        ),
    }


def _prepare(programs: Path, variables: dict[str, str], folder: Path) -> None:
    manage = [str(programs / "python"), str(programs / "keystone-manage")]
    owner = ["--keystone-user", pwd.getpwuid(os.geteuid()).pw_name]
    owner += ["--keystone-group", grp.getgrgid(os.getegid()).gr_name]
    addresses = ["--bootstrap-public-url", "http://127.0.0.1/v3"]
    for arguments in (
        ["db_sync"],
        ["fernet_setup", *owner],
        ["credential_setup", *owner],
        ["bootstrap", "--bootstrap-password", _PASSWORD, *addresses],
    ):
        server.run_program([*manage, "--config-file", str(folder / "keystone.conf"), *arguments], variables, folder)


def _token(port: int) -> str:
    user = {"name": "admin", "domain": {"id": _DOMAIN}, "password": _PASSWORD}
    scope = {"project": {"name": "admin", "domain": {"id": _DOMAIN}}}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    _, headers = server.ask(port, {}, "POST", "/v3/auth/tokens", asked)
    return headers["x-subject-token"]


def _fill(database: Path, dataset: Dataset) -> None:
    first = 1000
    users = [
        {"id": _user_id(number), "extra": "{}", "enabled": 1, "created_at": _MOMENT, "domain_id": _DOMAIN}
        for number in range(dataset.users)
    ]
    names = [
        {"id": first + number, "user_id": _user_id(number), "domain_id": _DOMAIN, "name": name, "failed_auth_count": 0}
        for number, name in enumerate(dataset.usernames)
    ]
    groups = [
        {"id": _group_id(number), "domain_id": _DOMAIN, "name": name, "description": "", "extra": "{}"}
        for number, name in enumerate(dataset.group_names)
    ]
    members = [{"user_id": _user_id(user), "group_id": _group_id(group)} for group, user in dataset.memberships()]
    server.insert(
        database, [("user", users), ("local_user", names), ("group", groups), ("user_group_membership", members)]
    )


def _user_id(number: int) -> str:
    return f"{number:032x}"


def _group_id(number: int) -> str:
    return f"{number:032x}"
