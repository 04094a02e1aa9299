"""Finding what is to be deleted, or what a deletion took, with the rights of whoever asks."""

from collections.abc import Callable

from holdfast.core.actor import Actor
from holdfast.core.errors import ForbiddenError, NotFoundError
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.plan import Root, root_of
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.errors import (
    LastSuperAdminError,
    ProtectedUserError,
    UserForbiddenError,
    UserNotFoundError,
)
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.features.config_files.errors import ConfigFileForbiddenError, ConfigFileNotFoundError
from holdfast.features.deletions import policy, queries
from holdfast.features.deletions.root_queries import FIND_ROOT
from holdfast.features.deletions.types import RootAccess
from holdfast.features.forms.errors import FormForbiddenError, FormMessageNotFoundError, FormNotFoundError
from holdfast.features.groups.errors import (
    GroupForbiddenError,
    GroupNotFoundError,
    MemberNotFoundError,
    ReservedNameError,
)
from holdfast.features.images.errors import (
    ImageForbiddenError,
    ImageNotFoundError,
    ImageRequestForbiddenError,
    ImageRequestNotFoundError,
    RepositoryForbiddenError,
    RepositoryNotFoundError,
    TagNotFoundError,
)
from holdfast.features.projects.errors import ProjectForbiddenError, ProjectNotFoundError
from holdfast.features.workloads.errors import WorkloadForbiddenError, WorkloadNotFoundError

# A deletion of what an update of a config file left out; its root is the file, which lives on.
FILE_UPDATE = "config-file-update"


async def get_root(tx: Transaction, actor: Actor, root: Root, *, under: str | None = None) -> RootAccess:
    """A live root that the actor may delete; the errors of its own feature otherwise.

    `under` is what the request's path names above it, such as the form of a message.
    """
    found = await find_root(tx, actor, root)
    if found is None or (under is not None and found.parent_id != under):
        raise _NOT_FOUND[root.type]()
    if not policy.can_delete(actor, root.type, found):
        raise _FORBIDDEN[root.type]()
    return found


async def find_root(tx: Transaction, actor: Actor, root: Root, *, deletion_id: str = "") -> RootAccess | None:
    """A root that the actor may see, live or borne by that deletion."""
    found = await tx.fetch_one(FIND_ROOT[root.type], actor_id=actor.user_id, deletion_id=deletion_id, **root.parameters)
    return found if found is not None and policy.can_see(actor, root.type, found) else None


async def find_owning_group(tx: Transaction, root_type: str, root_id: str, deletion_id: str) -> str | None:
    """The group that the root of a deletion belongs to, for the audit log; None where it has none or is gone."""
    root = root_of("config-file" if root_type == FILE_UPDATE else root_type, root_id)
    found = await tx.fetch_one(FIND_ROOT[root.type], actor_id="", deletion_id=deletion_id, **root.parameters)
    return None if found is None else found.g_id


async def require_deletable(tx: Transaction, root: Root, found: RootAccess, *, is_locked: bool) -> None:
    """Refuse user `admin`, the group super and the last super administrator, whoever asks.

    `is_locked`: others who take a super administrator wait until this transaction ends.
    """
    if root.type == "group" and root.key[0] == SUPER_GROUP_ID:
        raise ReservedNameError("the group super cannot be deleted")
    takes_seat = root.type == "member" and found.g_id == SUPER_GROUP_ID and found.status == "admin"
    if root.type != "user" and not takes_seat:
        return
    u_id = found.owner_id or ""
    if found.label == ADMIN_USERNAME or (takes_seat and found.label.startswith(f"{ADMIN_USERNAME} in ")):
        raise ProtectedUserError("user admin stays, as a super administrator; it cannot be deleted or taken from super")
    if is_locked:
        await tx.fetch_all(account_queries.LOCK_SUPER_GROUP)
    is_super = takes_seat or await tx.fetch_count(queries.COUNT_SUPER_SEATS, u_id=u_id)
    if is_super and not await tx.fetch_count(account_queries.COUNT_OTHER_SUPER_ADMINS, u_id=u_id):
        raise LastSuperAdminError


_NOT_FOUND: dict[str, Callable[[], NotFoundError]] = {
    "user": UserNotFoundError,
    "group": GroupNotFoundError,
    "member": MemberNotFoundError,
    "project": ProjectNotFoundError,
    "config-file": ConfigFileNotFoundError,
    "form": FormNotFoundError,
    "form-message": FormMessageNotFoundError,
    "image-request": ImageRequestNotFoundError,
    "image": ImageNotFoundError,
    "repository": RepositoryNotFoundError,
    "tag": TagNotFoundError,
    "workload": WorkloadNotFoundError,
}
_FORBIDDEN: dict[str, Callable[[], ForbiddenError]] = {
    "user": lambda: UserForbiddenError("only the user themselves and super administrators delete an account"),
    "group": lambda: GroupForbiddenError("only admins of the group delete it"),
    "member": lambda: GroupForbiddenError(
        "only admins of the group remove members, and only super administrators its admins; anybody may leave"
    ),
    "project": lambda: ProjectForbiddenError("only admins of the project's group delete it"),
    "config-file": ConfigFileForbiddenError,
    "form": lambda: FormForbiddenError("only its author and the managers and admins of the project's group delete it"),
    "form-message": lambda: FormForbiddenError(
        "only who wrote a message and the managers and admins of the project's group delete it"
    ),
    "image-request": lambda: ImageRequestForbiddenError(
        "only managers and admins of the project's group delete a request; who filed it, while it is pending"
    ),
    "image": lambda: ImageForbiddenError(
        "only managers and admins of its project delete a rule; one for all, nobody but super administrators"
    ),
    "repository": RepositoryForbiddenError,
    "tag": RepositoryForbiddenError,
    "workload": WorkloadForbiddenError,
}
