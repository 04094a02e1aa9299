"""What the older program does all day, each with its share of the day."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tests.operations.legacy.old_ledger import Entry
from tests.operations.legacy.old_work import BusyError, Work, now
from tests.operations.legacy.rows import OLD_HASH, document


class Action(msgspec.Struct, frozen=True):
    """So many of a hundred units of work or so. One that is `alone` is one statement, which may commit itself."""

    share: int
    run: Callable[[Work], None]
    nouns: tuple[str, ...]
    alone: bool = False


def draw_action(chance: random.Random, actions: Sequence[Action]) -> Action:
    (drawn,) = chance.choices(actions, [action.share for action in actions])
    return drawn


def _read_row(work: Work) -> None:
    work.check(work.draw(work.chance.choice([noun for noun in _READ if work.has(noun)])))


def _read_memberships(work: Work) -> None:
    work.read("groups", _MEMBERSHIPS, work.draw("users").key[0])


def _read_project(work: Work) -> None:
    project = work.draw("projects").key[0]
    work.read_where("config_files", project_id=project)
    work.read("resources", _RESOURCES, project)


def _sign_in(work: Work) -> None:
    work.update(work.draw("users"), status=work.choose("users", "status"), update_at=now())


def _rename_user(work: Work) -> None:
    label = work.label()
    work.update(work.draw("users"), full_name=f"{label} 林美", email=f"{label}@lab.example", update_at=now())


def _add_user(work: Work) -> None:
    label, group = work.label(), work.draw_shared("groups")
    user = work.insert(
        "users",
        username=label,
        password=OLD_HASH,
        email=f"{label}@lab.example",
        full_name=label.title(),
        type="origin",
        status=work.choose("users", "status"),
        **_times("create_at", "update_at"),
    )
    _insert_membership(work, user, group)
    _note(work, user, "user_group", f"u_id={user.key[0]},g_id={group.key[0]}")


def _join_group(work: Work) -> None:
    user, group = work.draw("users"), work.draw_shared("groups")
    if work.read_where("memberships", u_id=user.key[0], g_id=group.key[0]):
        raise BusyError
    _insert_membership(work, user, group)


def _insert_membership(work: Work, user: Entry, group: Entry) -> None:
    names = {"u_id": user.key[0], "g_id": group.key[0]}
    work.insert("memberships", **names, role=work.choose("memberships", "role"), **_times("create_at", "update_at"))


def _change_role(work: Work) -> None:
    work.update(work.draw("memberships"), role=work.choose("memberships", "role"), update_at=now())


def _leave_group(work: Work) -> None:
    work.delete(work.draw_doomed("memberships"))


def _change_group(work: Work) -> None:
    work.update(work.draw("groups"), group_name=work.label(), description=work.text(), update_at=now())


def _add_project(work: Work) -> None:
    quota = work.chance.randrange(9)
    work.insert(
        "projects",
        project_name=work.text(),
        description=work.text(),
        g_id=work.draw_shared("groups").key[0],
        gpu_quota=quota,
        **_times("create_at", "update_at"),
    )


def _change_project(work: Work) -> None:
    quota = work.chance.randrange(9)
    work.update(work.draw("projects"), description=work.text(), gpu_quota=quota, update_at=now())


def _rename_project(work: Work) -> None:
    work.update(work.draw("projects"), project_name=work.label(), update_at=now())


def _add_file(work: Work) -> None:
    project = work.draw("projects").key[0]
    file = work.insert(
        "config_files",
        filename=f"{work.label()}.yaml",
        content=work.text(),
        project_id=project,
        **_times("create_at"),
    )
    _insert_resources(work, file)


def _insert_resources(work: Work, file: Entry) -> None:
    for _ in range(work.chance.randint(1, 3)):
        kind, name = work.choose("resources", "type"), work.label()
        work.insert(
            "resources",
            cf_id=file.key[0],
            type=kind,
            name=name,
            parsed_yaml=json.dumps(document(kind, name) | {"note": work.text()}),
            **_times("create_at"),
        )


def _change_file(work: Work) -> None:
    """The older program made the objects of a changed file anew."""
    file = work.draw("config_files")
    for resource in work.hanging("resources", "cf_id", file):
        work.delete(resource)
    work.update(file, content=work.text())
    _insert_resources(work, file)


def _rename_file(work: Work) -> None:
    work.update(work.draw("config_files"), filename=f"{work.label()}.yaml")


def _remove_file(work: Work) -> None:
    work.delete_with(work.draw_doomed("config_files"), everything=True)


def _open_form(work: Work) -> None:
    user, project = work.draw("users"), work.draw("projects") if work.chance.random() < 0.7 else None
    form = work.insert(
        "forms",
        user_id=user.key[0],
        project_id=project and project.key[0],
        title=work.text(),
        description=work.text(),
        tag="quota",
        status="Pending",
        **_times("created_at", "updated_at"),
    )
    _insert_message(work, form, user)


def _answer_form(work: Work) -> None:
    _insert_message(work, work.draw("forms"), work.draw("users"))


def _insert_message(work: Work, form: Entry, user: Entry) -> None:
    names = {"form_id": form.key[0], "user_id": user.key[0]}
    work.insert("messages", **names, content=work.text(), **_times("created_at"))


def _decide_form(work: Work) -> None:
    work.update(work.draw("forms"), status=work.choose("forms", "status"), updated_at=now())


def _hide_form(work: Work) -> None:
    work.update(work.draw_doomed("forms"), deleted_at=now())


def _remove_form(work: Work) -> None:
    work.delete_with(work.draw_doomed("forms"), everything=True)


def _request_image(work: Work) -> None:
    work.insert(
        "requests",
        user_id=work.draw("users").key[0],
        project_id=work.draw("projects").key[0] if work.chance.random() < 0.7 else None,
        input_registry=work.chance.choice(("docker.io", "ghcr.io")),
        input_image_name=f"lab/{work.label()}",
        input_tag="v1",
        status=work.choose("requests", "status"),
        **_times("created_at", "updated_at"),
    )


def _review_request(work: Work) -> None:
    reviewer, status = work.draw("users").key[0], work.choose("requests", "status")
    review = {"status": status, "reviewer_id": reviewer, "reviewer_note": work.text()}
    work.update(work.draw("requests"), **review, **_times("reviewed_at", "updated_at"))


def _hide_request(work: Work) -> None:
    work.update(work.draw_doomed("requests"), deleted_at=now())


def _start_workload(work: Work) -> None:
    user, project, label = work.draw("users").key[0], work.draw("projects").key[0], work.label()
    work.insert(
        "workloads",
        user_id=user,
        project_id=project,
        name=label,
        namespace=f"proj-{project}",
        image="nginx:1.27",
        status=work.choose("workloads", "status"),
        k8s_pod_name=label,
        priority=work.chance.randrange(2000),
        resource_gpu=work.chance.choice((None, 0, 2)),
        **_times("created_at", "updated_at", "started_at"),
    )


def _watch_workload(work: Work) -> None:
    work.update(work.draw("workloads"), status=work.choose("workloads", "status"), updated_at=now())


def _note_role(work: Work) -> None:
    user, group = work.draw("users"), work.draw_shared("groups")
    _note(work, user, "user_group", f"u_id={user.key[0]},g_id={group.key[0]}")


def _note_project(work: Work) -> None:
    _note(work, work.draw("users"), "project", f"p_id={work.draw('projects').key[0]}")


def _note(work: Work, user: Entry, kind: str, what: str) -> None:
    work.insert(
        "audit",
        user_id=user.key[0],
        action="update",
        resource_type=kind,
        resource_id=what,
        old_data=None,
        new_data=json.dumps({"name": work.text()}),
        ip_address="10.0.0.7",
        user_agent="curl/8.0",
        description=work.text(),
        **_times("created_at"),
    )


def _remove(noun: str) -> Callable[[Work], None]:
    """With all that hangs on it, or alone, as was possible where no foreign keys were declared."""

    def remove(work: Work) -> None:
        work.delete_with(work.draw_doomed(noun), everything=work.chance.random() < 0.6)

    return remove


def _times(*columns: str) -> dict[str, Any]:
    return dict.fromkeys(columns, now())


_READ = ("users", "memberships", "projects", "config_files", "forms", "requests", "workloads")
_MEMBERSHIPS = (
    "SELECT g.* FROM {users} u JOIN {memberships} m ON m.{memberships.u_id} = u.{users.u_id}"
    " JOIN {groups} g ON g.{groups.g_id} = m.{memberships.g_id} WHERE u.{users.u_id} = %s"
)
_RESOURCES = (
    "SELECT r.* FROM {config_files} f JOIN {resources} r ON r.{resources.cf_id} = f.{config_files.cf_id}"
    " WHERE f.{config_files.project_id} = %s"
)
READS = (
    Action(6, _read_row, (), alone=True),
    Action(2, _read_memberships, ("memberships",), alone=True),
    Action(2, _read_project, ("projects",), alone=True),
)
WRITES = (
    *READS,
    Action(8, _sign_in, ("users",), alone=True),
    Action(2, _rename_user, ("users",), alone=True),
    Action(5, _add_user, ("users",)),
    Action(4, _join_group, ("memberships",), alone=True),
    Action(2, _change_role, ("memberships",), alone=True),
    Action(3, _leave_group, ("memberships",), alone=True),
    Action(1, _change_group, ("groups",), alone=True),
    Action(4, _add_project, ("projects",), alone=True),
    Action(3, _change_project, ("projects",), alone=True),
    Action(2, _rename_project, ("projects",), alone=True),
    Action(7, _add_file, ("config_files",)),
    Action(4, _change_file, ("config_files",)),
    Action(2, _rename_file, ("config_files",), alone=True),
    Action(2, _remove_file, ("config_files",)),
    Action(6, _open_form, ("forms",)),
    Action(5, _answer_form, ("forms",), alone=True),
    Action(4, _decide_form, ("forms",), alone=True),
    Action(1, _hide_form, ("forms",), alone=True),
    Action(1, _remove_form, ("forms",)),
    Action(5, _request_image, ("requests",), alone=True),
    Action(3, _review_request, ("requests",), alone=True),
    Action(1, _hide_request, ("requests",), alone=True),
    Action(4, _start_workload, ("workloads",), alone=True),
    Action(3, _watch_workload, ("workloads",), alone=True),
    Action(3, _note_role, ("audit",), alone=True),
    Action(3, _note_project, ("audit",), alone=True),
    Action(2, _remove("users"), ("users",)),
    Action(1, _remove("projects"), ("projects",)),
)
