"""Who may write config files, and what a project's quota refuses (spec: behaviour.md, Roles)."""

from collections.abc import Iterable

from holdfast.core.actor import Actor
from holdfast.features.config_files.errors import ManifestProblem
from holdfast.features.config_files.manifests import ParsedResource
from holdfast.features.groups.policy import is_staff


def can_read(actor: Actor, actor_role: str | None) -> bool:
    """Any member of the project's group."""
    return actor.is_super_admin or actor_role is not None


def can_write(actor: Actor, actor_role: str | None) -> bool:
    """Managers and admins of the project's group."""
    return actor.is_super_admin or is_staff(actor_role)


def find_quota_problems(resources: Iterable[ParsedResource], gpu_quota: int) -> list[ManifestProblem]:
    """The resources of which not a single pod could ever be admitted.

    How many pods run at once is no reason: replicas beyond the quota wait, and a stored file runs nothing by itself.
    """
    return [
        ManifestProblem(
            resource.document,
            resource.line,
            "",
            f"a pod of {resource.name} asks for {_gpus(resource.pod_gpus)}, but the project's gpu_quota is {gpu_quota}",
        )
        for resource in resources
        if resource.pod_gpus > gpu_quota
    ]


def _gpus(number: int) -> str:
    return "1 GPU" if number == 1 else f"{number:,} GPUs"
