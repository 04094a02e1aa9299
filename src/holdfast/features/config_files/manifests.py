"""Manifests: the text of a config file, turned into the Kubernetes resources that it holds."""

import re
from collections.abc import Iterator

import msgspec

from holdfast.features.config_files.errors import ManifestError, ManifestProblem
from holdfast.features.config_files.placeholders import without_placeholders
from holdfast.features.config_files.places import MAX_COUNT, Place, root_place
from holdfast.features.config_files.pod_rules import PodFacts, examine_claim, examine_pod
from holdfast.features.config_files.yaml_documents import JsonValue, read_documents

# The longest kind, a slash and the longest name are 275; `resources.name` must hold that.
MAX_REFERENCE = 300
MAX_NAME = 253
MAX_RESOURCES = 500

# Kinds as Kubernetes spells them, by the lower-case type that is stored.
KINDS: dict[str, str] = {
    kind.lower(): kind
    for kind in (
        "Pod",
        "Service",
        "Deployment",
        "StatefulSet",
        "ConfigMap",
        "Ingress",
        "Job",
        "CronJob",
        "PersistentVolumeClaim",
    )
}
# Another group's Service or Job (Knative, Volcano) is a different thing under a known name: its pods would go unseen.
_API_GROUPS = frozenset(("", "apps", "batch", "extensions", "networking.k8s.io"))
_POD_TEMPLATES: dict[str, tuple[str, ...]] = {
    "pod": (),
    "deployment": ("spec", "template"),
    "statefulset": ("spec", "template"),
    "job": ("spec", "template"),
    "cronjob": ("spec", "jobTemplate", "spec", "template"),
}
_POD_COUNTS: dict[str, tuple[tuple[str, ...], str]] = {
    "deployment": (("spec",), "replicas"),
    "statefulset": (("spec",), "replicas"),
    "job": (("spec",), "parallelism"),
    "cronjob": (("spec", "jobTemplate", "spec"), "parallelism"),
}
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")


class ParsedResource(msgspec.Struct, frozen=True):
    """One Kubernetes object of a config file, ready to be stored.

    `type` is the kind in lower case and `name` is `kind/name` (decision 5). `document` and `line` count from 1; the
    items of a List have the List's document and their own line. `gpus` is what all its pods hold at once, `pod_gpus`
    what one of them holds. Images and claim names stand as written, placeholders included.
    """

    type: str
    name: str
    document: int
    line: int
    parsed: dict[str, JsonValue]
    description: str | None = None
    images: tuple[str, ...] = ()
    claim_names: tuple[str, ...] = ()
    gpus: int = 0
    pod_gpus: int = 0

    def to_canonical_json(self) -> bytes:
        """The object as JSON with sorted keys: equal for two files that mean the same."""
        return msgspec.json.encode(self.parsed, order="deterministic")


def parse_manifests(text: str, *, allow_privileged: bool = False) -> list[ParsedResource]:
    """The resources of a config file, in file order.

    Raises `ManifestError` with every problem found, and nothing else, whatever the text. `allow_privileged` is the
    project's permission for privileged containers, host namespaces and hostPath.
    """
    documents, problems = read_documents(text)
    resources: list[ParsedResource] = []
    for document in documents:
        for place in _open_lists(root_place(document, problems)):
            resource = _examine_object(place, allow_privileged=allow_privileged)
            if resource is not None:
                resources.append(resource)
    _refuse_duplicates(resources, problems)
    if len(resources) > MAX_RESOURCES:
        extra = resources[MAX_RESOURCES]
        reason = f"the file holds more than {MAX_RESOURCES} resources; split it"
        problems.append(ManifestProblem(extra.document, extra.line, "", reason))
    if not documents and not problems:
        problems.append(ManifestProblem(1, 1, "", "the file holds no document"))
    if not resources and not problems:
        root = documents[0]
        problems.append(ManifestProblem(root.number, root.root.line, "", "the file holds no resource"))
    if problems:
        raise ManifestError(problems)
    return resources


def _open_lists(place: Place) -> Iterator[Place]:
    """The object itself, or the items of a `List` or `PodList`, nested ones too (reading has bounded their depth)."""
    if not place.is_mapping():
        return
    kind = place.find("kind")
    name = kind.located.value if kind is not None else None
    if not isinstance(name, str) or not name.lower().endswith("list"):
        yield place
        return
    if place.find("apiVersion") is None:
        place.refuse("apiVersion is missing")
    for item in place.mappings("items"):
        yield from _open_lists(item)


def _examine_object(place: Place, *, allow_privileged: bool) -> ParsedResource | None:
    """Note every problem of one object; None where it has no usable kind and name."""
    kind = _examine_kind(place)
    _examine_api_version(place, kind)
    name = _examine_name(place)
    if kind is None:
        return None
    facts, gpus = _examine_pods(place, kind, allow_privileged=allow_privileged)
    if kind == "persistentvolumeclaim":
        examine_claim(place)
    if kind == "statefulset":
        _examine_claim_templates(place)
    if name is None:
        return None
    parsed = place.to_json()
    assert isinstance(parsed, dict)
    return ParsedResource(
        type=kind,
        name=f"{kind}/{name}",
        document=place.document,
        line=place.line,
        # The API server reads kinds exactly as they are spelt.
        parsed={**parsed, "kind": KINDS[kind]},
        images=facts.images,
        claim_names=facts.claim_names,
        gpus=gpus,
        pod_gpus=facts.gpus,
    )


def _examine_api_version(place: Place, kind: str | None) -> None:
    version = place.text("apiVersion")
    found = place.find("apiVersion")
    if found is None or version == "":
        place.refuse("apiVersion is missing")
    elif version is not None:
        group, slash, _ = version.rpartition("/")
        if version.count("/") > 1 or (slash and not group) or version.endswith("/"):
            found.refuse(f"{version[:80]!r} is not a version such as v1 or apps/v1")
        elif kind is not None and group not in _API_GROUPS:
            groups = ", ".join(sorted(_API_GROUPS - {""}))
            found.refuse(f"a {KINDS[kind]} of the group {group[:80]} is not allowed; use v1 or a group of {groups}")


def _examine_kind(place: Place) -> str | None:
    kind = place.text("kind")
    found = place.find("kind")
    if found is None or kind == "":
        place.refuse("kind is missing")
        return None
    if kind is None:
        return None
    if kind.lower() not in KINDS:
        found.refuse(f"the kind {kind[:80]} is not allowed; allowed are {', '.join(KINDS.values())}")
        return None
    return kind.lower()


def _examine_name(place: Place) -> str | None:
    metadata = place.mapping("metadata")
    if metadata is None:
        if place.find("metadata") is None:
            place.refuse("metadata.name is missing")
        return None
    name = metadata.text("name")
    found = metadata.find("name")
    if found is None or name == "":
        hint = "; generateName cannot stand for it" if metadata.find("generateName") is not None else ""
        metadata.refuse(f"metadata.name is missing{hint}")
        return None
    if name is None:
        return None
    if len(name) > MAX_NAME or _SUBDOMAIN.fullmatch(without_placeholders(name)) is None:
        hint = "; of placeholders it may hold the known ones" if "{{" in name else ""
        found.refuse(
            f"{name[:80]!r} is not a name for Kubernetes: at most {MAX_NAME} lower-case letters, digits, '-' and '.', "
            f"beginning and ending with a letter or digit{hint}"
        )
        return None
    return name


def _examine_pods(place: Place, kind: str, *, allow_privileged: bool) -> tuple[PodFacts, int]:
    """The facts of one of the kind's pods, and the GPUs of all that run at once."""
    if kind not in _POD_TEMPLATES:
        return PodFacts(), 0
    spec = place.mapping_at(*_POD_TEMPLATES[kind], "spec")
    facts = examine_pod(spec, allow_privileged=allow_privileged) if spec is not None else PodFacts()
    if kind not in _POD_COUNTS:
        return facts, facts.gpus
    owner_path, key = _POD_COUNTS[kind]
    owner = place.mapping_at(*owner_path) if spec is not None else None
    pods = owner.count(key, default=1) if owner is not None else 1
    if facts.gpus * pods > MAX_COUNT:
        place.refuse(f"asks for {facts.gpus * pods:,} GPUs in all")
    return facts, facts.gpus * pods


def _examine_claim_templates(place: Place) -> None:
    spec = place.find("spec")
    for template in spec.mappings("volumeClaimTemplates") if spec is not None else ():
        _examine_name(template)
        examine_claim(template)


def _refuse_duplicates(resources: list[ParsedResource], problems: list[ManifestProblem]) -> None:
    seen: dict[str, ParsedResource] = {}
    for resource in resources:
        first = seen.setdefault(resource.name, resource)
        if first is not resource:
            reason = f"{resource.name} stands twice in this file; first in document {first.document}, line {first.line}"
            problems.append(ManifestProblem(resource.document, resource.line, "metadata.name", reason))
