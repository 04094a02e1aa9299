"""What config files and their resources are, as callers see them and as their feature handles them."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable, UnfrozenDeletable
from holdfast.features.config_files.manifests import ParsedResource
from holdfast.features.projects.types import Project


class ResourceSummary(Deletable, frozen=True):
    """A Kubernetes object of a config file, without the object itself. `name` is `kind/name`: `deployment/web`."""

    r_id: str
    cf_id: str
    type: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class Resource(Deletable, frozen=True):
    """A Kubernetes object of a config file; `parsed_yaml` is the object as JSON."""

    r_id: str
    cf_id: str
    type: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    parsed_yaml: msgspec.Raw


class ConfigFileSummary(UnfrozenDeletable):
    """A config file as it stands in a list, without its content."""

    cf_id: str
    filename: str
    project_id: str
    created_at: datetime
    updated_at: datetime
    resource_count: int


class ConfigFileWithResources(ConfigFileSummary):
    """As a summary, with the resources by name.

    It is not frozen, because the resources of many files are attached after one statement.
    """

    resources: list[ResourceSummary] = msgspec.field(default_factory=list)


class ConfigFile(UnfrozenDeletable):
    """A config file with its content and its resources by name."""

    cf_id: str
    filename: str
    project_id: str
    content: str
    created_at: datetime
    updated_at: datetime
    resources: list[ResourceSummary] = msgspec.field(default_factory=list)


class ProjectWithConfigFiles(Project, frozen=True, kw_only=True):
    """A project with its first config files by name, and their resources; `config_file_count` says how many it has.

    `config_files` are there where they were asked for.
    """

    config_files: list[ConfigFileWithResources] | msgspec.UnsetType = msgspec.UNSET


class ConfigFileAccess(msgspec.Struct, frozen=True):
    """A live config file as a caller meets it, with what its project allows."""

    cf_id: str
    project_id: str
    allow_privileged: bool
    actor_role: str | None


class CheckedContent(msgspec.Struct, frozen=True):
    """A text whose manifests were found good, privileges being allowed or not. `canonical` is the JSON by name."""

    content: str
    allow_privileged: bool
    resources: list[ParsedResource]
    canonical: dict[str, bytes]
