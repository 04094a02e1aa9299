"""What the audit log says about config files: one entry for the file, and one for each resource that it touches.

A file's text stands there as its SHA-256 and size alone: the entries of its resources name each value that changed.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from holdfast.features.audit.types import Action, Entry
from holdfast.features.config_files.changed_values import changed_values
from holdfast.features.config_files.resource_changes import ChangedResource, ResourceChanges
from holdfast.features.config_files.types import ConfigFile, Resource, ResourceSummary

_MAX_NAMES = 20


def entries_of_creation(
    cf_id: str, project_id: str, filename: str, content: str, resources: list[ResourceSummary]
) -> list[Entry]:
    """A new config file and its resources."""
    file = Entry(
        action=Action.CREATE,
        resource_type="config-file",
        resource_id=cf_id,
        label=filename,
        new={"project_id": project_id, "filename": filename, **_describe_content(content)},
        description=f"holds {_list_names(resource.name for resource in resources)}",
    )
    return [file, *_created(resources)]


def entry_of_update(file: ConfigFile, *, old: dict[str, str], new: dict[str, str], description: str | None) -> Entry:
    """A changed config file: `old` and `new` hold its changed columns."""
    return Entry(
        action=Action.UPDATE,
        resource_type="config-file",
        resource_id=file.cf_id,
        label=file.filename,
        old=_without_content(old),
        new=_without_content(new),
        description=description,
    )


def entries_of_resources(changes: ResourceChanges, added: list[ResourceSummary], deletion_id: str) -> list[Entry]:
    """The resources that an update of their file made, changed and deleted."""
    return [
        *_created(added),
        *(_updated(changed) for changed in changes.changed),
        *(_deleted(resource, deletion_id) for resource in changes.removed),
    ]


def describe_changes(changes: ResourceChanges) -> str:
    """In words, what an update of a config file did to its resources."""
    parts = [
        f"added {_list_names(resource.name for resource in changes.added)}" if changes.added else "",
        f"changed {_list_names(changed.before.name for changed in changes.changed)}" if changes.changed else "",
        f"removed {_list_names(resource.name for resource in changes.removed)}" if changes.removed else "",
        f"left {len(changes.unchanged)} as they were" if changes.unchanged else "",
    ]
    return "; ".join(part for part in parts if part)


def _created(resources: list[ResourceSummary]) -> list[Entry]:
    return [
        Entry(
            action=Action.CREATE,
            resource_type="resource",
            resource_id=resource.r_id,
            label=resource.name,
            new={"cf_id": resource.cf_id, "type": resource.type, "name": resource.name},
        )
        for resource in resources
    ]


def _updated(changed: ChangedResource) -> Entry:
    before = changed.before
    old, new = changed_values(msgspec.json.decode(before.parsed_yaml), changed.after.parsed)
    return Entry(
        action=Action.UPDATE,
        resource_type="resource",
        resource_id=before.r_id,
        label=before.name,
        old=old,
        new=new,
    )


def _deleted(resource: Resource, deletion_id: str) -> Entry:
    return Entry(
        action=Action.DELETE,
        resource_type="resource",
        resource_id=resource.r_id,
        label=resource.name,
        old={"cf_id": resource.cf_id, "type": resource.type, "name": resource.name},
        description=f"removed by an update of the file; deletion {deletion_id}",
    )


def _describe_content(content: str) -> dict[str, Any]:
    encoded = content.encode()
    return {"sha256": hashlib.sha256(encoded).hexdigest(), "bytes": len(encoded)}


def _without_content(columns: dict[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {name: value for name, value in columns.items() if name != "content"}
    if "content" in columns:
        described |= _describe_content(columns["content"])
    return described


def _list_names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MAX_NAMES} more" if len(listed) > _MAX_NAMES else ""
    return ", ".join(listed[:_MAX_NAMES]) + more
