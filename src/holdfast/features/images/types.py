"""What requests, rules of the allow list, repositories and tags are, as callers see them."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable


class ImageRequest(Deletable, frozen=True):
    """A request for an image, with the names of who filed and who decided it.

    `full_name` is that of the user. The input fields hold the normal form of what was asked for. `image_id` is the
    rule that the approval wrote.
    """

    id: str
    user_id: str
    username: str
    full_name: str | None
    project_id: str | None
    project_name: str | None
    input_registry: str | None
    input_image_name: str
    input_tag: str
    status: str
    reviewer_id: str | None
    reviewer_name: str | None
    reviewed_at: datetime | None
    reviewer_note: str | None
    image_id: str | None
    created_at: datetime
    updated_at: datetime


class ImageRequestAccess(msgspec.Struct, frozen=True):
    """What decides over a request: whose it is, what it asks, and the caller's role in its project's group."""

    id: str
    user_id: str
    project_id: str | None
    input_registry: str | None
    input_image_name: str
    input_tag: str
    status: str
    updated_at: datetime
    g_id: str | None
    actor_role: str | None


class AllowedImage(Deletable, frozen=True):
    """A rule of the allow list with what it names.

    Without `project_id` it holds for every project, without `tag_id` for every tag. `is_pulled` is null where nothing
    is known of the tag in the cluster.
    """

    id: str
    project_id: str | None
    project_name: str | None
    repository_id: str
    registry: str
    namespace: str | None
    name: str
    full_name: str
    tag_id: str | None
    tag: str | None
    digest: str | None
    is_enabled: bool
    is_pulled: bool | None
    last_pulled_at: datetime | None
    request_id: str | None
    request_note: str | None
    created_by: str
    created_by_name: str
    created_at: datetime
    updated_at: datetime


class AllowedImageAccess(msgspec.Struct, frozen=True):
    """What decides over a rule."""

    id: str
    project_id: str | None
    is_enabled: bool
    updated_at: datetime
    full_name: str
    g_id: str | None
    actor_role: str | None


class EqualRule(msgspec.Struct, frozen=True):
    """A rule for the same repository, tag and project."""

    id: str
    request_id: str | None
    is_enabled: bool
    updated_at: datetime


class Repository(Deletable, frozen=True):
    """A repository that a request or an administrator named."""

    id: str
    registry: str
    namespace: str | None
    name: str
    full_name: str
    created_at: datetime
    updated_at: datetime


class Tag(Deletable, frozen=True):
    """A tag of a repository, with what is known of it in the cluster."""

    id: str
    repository_id: str
    name: str
    digest: str | None
    size: int | None
    pushed_at: datetime | None
    is_pulled: bool | None
    last_pulled_at: datetime | None
    pull_error: str | None
    created_at: datetime
    updated_at: datetime


class TagAccess(msgspec.Struct, frozen=True):
    """A tag that is about to change."""

    id: str
    name: str
    digest: str | None
    size: int | None
    pushed_at: datetime | None
    updated_at: datetime
    full_name: str


class RowId(msgspec.Struct, frozen=True):
    """The id of a row that was looked for."""

    id: str


class OrphanedRequest(msgspec.Struct, frozen=True):
    """A decided request that no rule of the allow list goes back to, as the seed's query tells it."""

    id: str
    user_id: str
    project_id: str | None
