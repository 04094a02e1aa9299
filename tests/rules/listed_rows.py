"""Rows in two groups, and the lists that must show each role only its own of them."""

from dataclasses import dataclass

from holdfast.core.ids import new_long_id
from holdfast.db.tables import audit_logs, course_workloads, deletions, resources
from tests.factories import insert_row, make_config_file, make_form, make_image_request, make_message
from tests.rules.permission_world import World


@dataclass(frozen=True)
class Listed:
    """A list with its query, and the field of which the first letter stands for a row."""

    path: str
    field: str


LISTS = [
    Listed("/groups", "group_name"),
    Listed("/groups?include=members", "group_name"),
    Listed("/groups?q=chemistry", "group_name"),
    Listed("/groups?sort=-created_at", "group_name"),
    Listed("/groups/{other_g_id}/members", "username"),
    Listed("/groups/{g_id}/members", "username"),
    Listed("/groups/{g_id}/members?role=admin", "username"),
    Listed("/users", "username"),
    Listed("/users?g_id={g_id}", "username"),
    Listed("/users?g_id={other_g_id}", "username"),
    Listed("/users?q=elsewhere", "username"),
    Listed("/users?status=offline&sort=-username", "username"),
    Listed("/users/{elsewhere}/groups", "group_name"),
    Listed("/users/{self}/groups", "group_name"),
    Listed("/users/{self}/groups?q=chemistry", "group_name"),
    Listed("/tokens", "username"),
    Listed("/tokens?user_id={self}", "username"),
    Listed("/tokens?q=test", "username"),
    Listed("/projects", "project_name"),
    Listed("/projects?g_id={other_g_id}", "project_name"),
    Listed("/projects?q=chemistry", "project_name"),
    Listed("/projects?sort=-gpu_quota", "project_name"),
    Listed("/projects/{p_id}/config-files", "filename"),
    Listed("/projects/{other_p_id}/config-files", "filename"),
    Listed("/projects/{other_p_id}/config-files?q=chemistry", "filename"),
    Listed("/config-files/{other_cf_id}/resources", "name"),
    Listed("/forms", "title"),
    Listed("/forms?include=messages", "title"),
    Listed("/forms?project_id={p_id}", "title"),
    Listed("/forms?project_id={other_p_id}", "title"),
    Listed("/forms?user_id={self}", "title"),
    Listed("/forms?user_id={elsewhere}&status=Pending", "title"),
    Listed("/forms?q=chemistry", "title"),
    Listed("/forms?sort=created_at", "title"),
    Listed("/forms/{other_form_id}/messages", "content"),
    Listed("/image-requests", "input_image_name"),
    Listed("/image-requests?project_id={other_p_id}", "input_image_name"),
    Listed("/image-requests?user_id={self}&status=pending", "input_image_name"),
    Listed("/image-requests?q=chemistry", "input_image_name"),
    Listed("/images", "name"),
    Listed("/images?project_id={p_id}", "name"),
    Listed("/images?project_id={other_p_id}", "name"),
    Listed("/images?q=chemistry&is_enabled=true", "name"),
    Listed("/workloads", "name"),
    Listed("/workloads?project_id={other_p_id}", "name"),
    Listed("/workloads?user_id={elsewhere}", "name"),
    Listed("/workloads?q=chemistry&sort=-priority", "name"),
    Listed("/deletions", "root_label"),
    Listed("/deletions?state=deleted&type=form", "root_label"),
    Listed("/deletions?actor_id={elsewhere}", "root_label"),
    Listed("/deletions?q=chemistry&sort=created_at", "root_label"),
    Listed("/audit-logs", "resource_label"),
    Listed("/audit-logs?g_id={other_g_id}", "resource_label"),
    Listed("/audit-logs?user_id={elsewhere}", "resource_label"),
    Listed("/audit-logs?resource_type=project&action=create", "resource_label"),
]


async def fill_lists(world: World) -> dict[str, str]:
    """One row of each kind in physics, in chemistry, and where there may be in no group; the ids for the paths."""
    owner, stranger, outsider = (world.id_of(role) for role in ("self", "elsewhere", "outsider"))
    await make_form(world.database, owner, world.p_id, title="physics")
    await make_form(world.database, owner, title="free")
    await make_form(world.database, outsider, title="outside")
    form_id = await make_form(world.database, stranger, world.other_p_id, title="chemistry")
    await make_message(world.database, form_id, stranger, content="chemistry")
    for name, u_id, p_id in (
        ("physics", owner, world.p_id),
        ("free", owner, None),
        ("outside", outsider, None),
        ("chemistry", stranger, world.other_p_id),
    ):
        await make_image_request(world.database, u_id, p_id, input_image_name=f"library/{name}")
    await world.allow("physics", "1", world.p_id)
    await world.allow("chemistry", "1", world.other_p_id)
    await make_config_file(world.database, world.p_id, "physics.yaml")
    cf_id = await make_config_file(world.database, world.other_p_id, "chemistry.yaml")
    await insert_row(
        world.database,
        resources,
        r_id=new_long_id(),
        cf_id=cf_id,
        type="configmap",
        name="configmap/chemistry",
        parsed_yaml={},
    )
    for name, u_id, p_id in (("physics", owner, world.p_id), ("chemistry", stranger, world.other_p_id)):
        await _add_workload(world, name, u_id, p_id)
    for name, u_id in (("physics", owner), ("chemistry", stranger), ("outside", outsider)):
        await _add_deletion(world, name, u_id)
    for name, g_id in (("physics", world.g_id), ("chemistry", world.other_g_id), ("nobody's", None)):
        await _add_entry(world, name, stranger, g_id)
    return {
        "g_id": world.g_id,
        "p_id": world.p_id,
        "other_g_id": world.other_g_id,
        "other_p_id": world.other_p_id,
        "other_cf_id": cf_id,
        "other_form_id": form_id,
        "self": owner,
        "elsewhere": stranger,
    }


async def _add_workload(world: World, name: str, user_id: str, project_id: str) -> None:
    await insert_row(
        world.database,
        course_workloads,
        id=new_long_id(),
        user_id=user_id,
        project_id=project_id,
        name=name,
        namespace="course",
        image="docker.io/library/global:3.13",
        k8s_pod_name=world.fresh("pod"),
    )


async def _add_deletion(world: World, label: str, actor_id: str) -> None:
    await insert_row(
        world.database,
        deletions,
        id=new_long_id(),
        root_type="form",
        root_id=world.fresh("id"),
        root_label=label,
        actor_id=actor_id,
        actor_name="somebody",
        planned_counts={"forms": 1},
    )


async def _add_entry(world: World, label: str, user_id: str, g_id: str | None) -> None:
    await insert_row(
        world.database,
        audit_logs,
        user_id=user_id,
        actor_name="somebody",
        action="create",
        resource_type="project",
        resource_id=world.fresh("id"),
        resource_label=label,
        g_id=g_id,
    )
