"""What an update of a config file does to its resources, which are matched by `kind/name` (spec: behaviour.md)."""

from collections.abc import Iterable

import msgspec

from holdfast.features.config_files.manifests import ParsedResource
from holdfast.features.config_files.types import CheckedContent, Resource


class ChangedResource(msgspec.Struct, frozen=True):
    """A resource that stays with its id, and what it becomes."""

    before: Resource
    after: ParsedResource


class ResourceChanges(msgspec.Struct, frozen=True):
    """The resources of the file before and after, by what becomes of them."""

    added: list[ParsedResource]
    changed: list[ChangedResource]
    removed: list[Resource]
    unchanged: list[Resource]


def compare_resources(stored: Iterable[Resource], checked: CheckedContent) -> ResourceChanges:
    """Only the objects count: a new order of documents or keys, comments and spaces change no resource."""
    by_name = {resource.name: resource for resource in stored}
    changes = ResourceChanges(added=[], changed=[], removed=[], unchanged=[])
    for parsed in checked.resources:
        before = by_name.pop(parsed.name, None)
        if before is None:
            changes.added.append(parsed)
        elif before.description == parsed.description and _is_same(before, checked.canonical[parsed.name]):
            changes.unchanged.append(before)
        else:
            changes.changed.append(ChangedResource(before, parsed))
    changes.removed.extend(by_name.values())
    return changes


def _is_same(stored: Resource, canonical: bytes) -> bool:
    # Rows that did not come through here, such as imported ones, may be written in another way.
    return bytes(stored.parsed_yaml) == canonical or _canonical(stored.parsed_yaml) == canonical


def _canonical(text: msgspec.Raw) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(text), order="deterministic")
