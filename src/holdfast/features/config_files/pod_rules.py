"""The rules for pods, wherever a kind carries one: containers, amounts, mounts, volumes, and what reaches the host.

Root is never forced on a pod, and never taken from one (decision 14): users and groups are the image's business.
"""

import msgspec

from holdfast.features.config_files.places import Place
from holdfast.features.config_files.quantities import NANO
from holdfast.features.config_files.resource_amounts import examine_amounts, examine_quantity, is_gpu_resource

_HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_NOT_ALLOWED = "is not allowed in this project"


class PodFacts(msgspec.Struct, frozen=True):
    """What later rules ask about a pod: its images as written, the claims it mounts, and the GPUs it holds."""

    images: tuple[str, ...] = ()
    claim_names: tuple[str, ...] = ()
    gpus: int = 0


class _ContainerFacts(msgspec.Struct, frozen=True):
    image: str | None
    gpus: int
    stays: bool


def examine_pod(spec: Place, *, allow_privileged: bool) -> PodFacts:
    """Note every problem of a pod spec, and gather its facts.

    `allow_privileged` lifts the rules about the host alone: privileged containers, host namespaces and hostPath.
    """
    if spec.has_null("containers"):
        spec.refuse("containers must be a list, but is empty")
    if not allow_privileged:
        _refuse_host_access(spec)
    examine_amounts(spec.mapping("resources"))
    starting, running, debugging = (
        [_examine_container(container, allow_privileged=allow_privileged) for container in spec.mappings(list_name)]
        for list_name in ("initContainers", "containers", "ephemeralContainers")
    )
    volumes = spec.mappings("volumes")
    images = [facts.image for facts in (*starting, *running, *debugging)]
    images += [_examine_image_volume(volume) for volume in volumes]
    claims = [_examine_volume(volume, allow_privileged=allow_privileged) for volume in volumes]
    return PodFacts(
        images=tuple(dict.fromkeys(image for image in images if image is not None)),
        claim_names=tuple(dict.fromkeys(claim for claim in claims if claim is not None)),
        gpus=_gpus_held(starting, running),
    )


def examine_claim(claim: Place) -> None:
    """The spec of a PersistentVolumeClaim, or of a template for one: its amounts."""
    examine_amounts(claim.mapping_at("spec", "resources"))


def _refuse_host_access(spec: Place) -> None:
    for name in _HOST_NAMESPACES:
        place = spec.find(name)
        if place is not None and spec.flag(name):
            place.refuse(f"sharing the host's namespace {_NOT_ALLOWED}")
    _refuse_host_process(spec.mapping("securityContext"))


def _refuse_host_process(context: Place | None) -> None:
    """Windows' name for privileged."""
    options = context.mapping("windowsOptions") if context is not None else None
    place = options.find("hostProcess") if options is not None else None
    if options is not None and place is not None and options.flag("hostProcess"):
        place.refuse(f"a process of the host {_NOT_ALLOWED}")


def _examine_container(container: Place, *, allow_privileged: bool) -> _ContainerFacts:
    context = container.mapping("securityContext")
    if context is not None and not allow_privileged:
        place = context.find("privileged")
        if place is not None and context.flag("privileged"):
            place.refuse(f"a privileged container {_NOT_ALLOWED}")
        _refuse_host_process(context)
    for mount in container.mappings("volumeMounts"):
        for key in ("subPath", "subPathExpr"):
            _examine_sub_path(mount, key)
    for variable in container.mappings("env"):
        reference = variable.mapping_at("valueFrom", "resourceFieldRef")
        examine_quantity(reference.find("divisor") if reference is not None else None)
    amounts = examine_amounts(container.mapping("resources"))
    gpus = sum(amount for name, amount in amounts.items() if is_gpu_resource(name)) // NANO
    return _ContainerFacts(_image(container, "image"), gpus, stays=container.text("restartPolicy") == "Always")


def _image(place: Place, key: str) -> str | None:
    image = place.text(key)
    found = place.find(key)
    if found is not None and image is not None and not image.strip():
        found.refuse(f"{key} must not be empty")
        return None
    return image


def _examine_sub_path(mount: Place, key: str) -> None:
    sub_path = mount.text(key)
    place = mount.find(key)
    if sub_path is None or place is None:
        return
    if sub_path.startswith("/"):
        place.refuse(f"{key} must be a relative path, but begins with /")
    if ".." in sub_path.split("/"):
        place.refuse(f"{key} must not hold '..'")


def _examine_volume(volume: Place, *, allow_privileged: bool) -> str | None:
    """Note the problems of a volume; the name of the claim that it mounts, if it does."""
    host_path = volume.find("hostPath")
    if host_path is not None and not allow_privileged:
        host_path.refuse(f"a folder of the host {_NOT_ALLOWED}")
    empty_folder = volume.mapping("emptyDir")
    if empty_folder is not None:
        examine_quantity(empty_folder.find("sizeLimit"))
    template = volume.mapping_at("ephemeral", "volumeClaimTemplate")
    if template is not None:
        examine_claim(template)
    if volume.has_null("persistentVolumeClaim"):
        volume.refuse("persistentVolumeClaim needs a claimName")
    claim = volume.mapping("persistentVolumeClaim")
    return _claim_name(claim) if claim is not None else None


def _claim_name(claim: Place) -> str | None:
    place = claim.find("claimName")
    name = claim.text("claimName")
    if place is None or (name is not None and not name.strip()):
        (place or claim).refuse("the claim's name (claimName) must not be empty")
        return None
    return name


def _examine_image_volume(volume: Place) -> str | None:
    """An image mounted as a volume (Kubernetes 1.31) is pulled like any other."""
    source = volume.mapping("image")
    return _image(source, "reference") if source is not None else None


def _gpus_held(starting: list[_ContainerFacts], running: list[_ContainerFacts]) -> int:
    """What Kubernetes reserves: all that run together, or the largest step before, with the sidecars then running."""
    sidecars = 0
    largest_step = 0
    for facts in starting:
        if facts.stays:
            sidecars += facts.gpus
        largest_step = max(largest_step, sidecars + (0 if facts.stays else facts.gpus))
    return max(largest_step, sidecars + sum(facts.gpus for facts in running))
