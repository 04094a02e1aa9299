"""Undoing a deletion: exactly the rows that it took, and only where nothing stands against it."""

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import SerializationError, UniqueViolationError
from holdfast.db.lifecycle import trash
from holdfast.db.lifecycle.plan import root_of
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.config_files.errors import ManifestError, ManifestProblem
from holdfast.features.config_files.service import check_content
from holdfast.features.deletions import policy, queries
from holdfast.features.deletions.errors import DeletionForbiddenError, RestoreRefusedError
from holdfast.features.deletions.roots import FILE_UPDATE, find_root
from holdfast.features.deletions.types import DeletionRow, QuotaConflict, Restored, RootAccess, RuleConflict

Conflict = trash.Conflict | QuotaConflict | RuleConflict

# Purges that a sentence names.
_MOST_NAMED = 3

_REFUSALS = {
    "purging": "this deletion is being purged at this moment; its bundle can be recovered afterwards",
    "purged": "this deletion was purged: recover its bundle with `holdfast recover`",
    "failed": "a purge of this deletion failed on its way: purge it again, then recover its bundle",
}


async def restore(tx: Transaction, actor: Actor, deletion: DeletionRow, *, rename: bool, clock: Clock) -> Restored:
    """Bring the rows of a locked deletion back. Restoring twice does nothing."""
    if _is_file_update(deletion):
        raise RestoreRefusedError(
            "this deletion holds what an update of the config file left out: put the earlier content back instead"
        )
    # A purge that failed before there was a verified bundle has removed nothing.
    is_untouched = deletion.state == "failed" and deletion.bundle_verified_at is None
    if deletion.state in _REFUSALS and not is_untouched:
        raise RestoreRefusedError(_REFUSALS[deletion.state])
    found = await _get_restorable(tx, actor, deletion)
    if deletion.state == "restored":
        return Restored(deletion_id=deletion.id, counts={})
    await _require_whole(tx, deletion)
    now = clock()
    renamed = await trash.rename_taken(tx, deletion.id, now=now) if rename else []
    # The quota first: it locks projects that are only shared afterwards.
    over_quota = await _find_quota_conflicts(tx, deletion.id)
    conflicts: list[Conflict] = [*await trash.find_conflicts(tx, deletion.id), *over_quota]
    # The projects are held now, so that what they allow stays.
    conflicts += await _find_rule_conflicts(tx, deletion)
    if conflicts:
        raise RestoreRefusedError(_say(conflicts), conflicts)
    counts = await _unmark(tx, deletion)
    await tx.execute(
        queries.SET_RESTORED,
        deletion_id=deletion.id,
        new_state="restored",
        new_updated_at=next_version(deletion.updated_at, now),
    )
    new = {"deletion_id": deletion.id, "counts": counts, "renamed": msgspec.to_builtins(renamed)}
    await audit.record(
        tx,
        actor,
        Action.RESTORE,
        deletion.root_type,
        deletion.root_id,
        label=deletion.root_label,
        g_id=None if found is None else found.g_id,
        new=new,
        clock=clock,
    )
    return Restored(deletion_id=deletion.id, counts=counts, renamed=renamed)


def _is_file_update(deletion: DeletionRow) -> bool:
    """Earlier versions put those down as deletions of the file."""
    is_without_file = "config_files" not in (deletion.actual_counts or {})
    return deletion.root_type == FILE_UPDATE or (deletion.root_type == "config-file" and is_without_file)


async def _get_restorable(tx: Transaction, actor: Actor, deletion: DeletionRow) -> RootAccess | None:
    """The root, if it is still there; refuses who may not restore it."""
    root = root_of(deletion.root_type, deletion.root_id)
    found = await find_root(tx, actor, root, deletion_id=deletion.id)
    if actor.is_super_admin:
        return found
    if found is None or not policy.can_restore(actor, root.type, found, deleted_by=deletion.actor_id):
        raise DeletionForbiddenError("only who may delete a thing restores it; ask somebody who administers it")
    return found


async def _require_whole(tx: Transaction, deletion: DeletionRow) -> None:
    """Refuse where rows of this deletion went with the purge of one above it."""
    marked = await trash.count_marked(tx, deletion.id)
    wanted = deletion.actual_counts or {}
    if marked == wanted:
        return
    missing = {table for table, rows in wanted.items() if marked.get(table, 0) < rows}
    purged = [
        each
        for each in await tx.fetch_all(queries.PURGED_SINCE, since=deletion.created_at)
        if missing & msgspec.json.decode(each.planned_counts, type=dict[str, int]).keys()
    ]
    named = " or ".join(f"{each.id} ({each.root_type} {each.root_label})" for each in purged[:_MOST_NAMED])
    raise RestoreRefusedError(
        "some of its rows are gone with the purge of another deletion: recover that one's bundle first"
        + (f", {named}" if named else ""),
        [
            {
                "kind": "incomplete",
                "deleted": wanted,
                "present": marked,
                "purged_deletions": [each.id for each in purged],
            }
        ],
    )


async def _unmark(tx: Transaction, deletion: DeletionRow) -> dict[str, int]:
    try:
        counts = await trash.unmark(tx, deletion.id)
    except UniqueViolationError as error:
        # Somebody took a name at this moment: the next attempt finds it.
        raise SerializationError("a name was taken at the same moment; try again", retry_after_seconds=1) from error
    if counts != deletion.actual_counts:
        raise SerializationError("the deletion changed at the same moment; try again", retry_after_seconds=1)
    return counts


async def _find_quota_conflicts(tx: Transaction, deletion_id: str) -> list[QuotaConflict]:
    """Live projects whose quota does not hold the workloads that would come back; they stay locked as in an admission.

    Projects that come back themselves are as they were.
    """
    projects = await tx.fetch_all(queries.LOCK_PROJECTS_OF_WORKLOADS, deletion_id=deletion_id)
    if not projects:
        return []
    p_ids = [project.p_id for project in projects]
    in_use = {each.project_id: each.gpus for each in await tx.fetch_all(queries.GPUS_IN_USE, project_ids=p_ids)}
    returning = {
        each.project_id: each.gpus
        for each in await tx.fetch_all(queries.GPUS_COMING_BACK, project_ids=p_ids, deletion_id=deletion_id)
    }
    return [
        QuotaConflict(
            key=project.p_id,
            label=project.project_name,
            message=f"project {project.project_name} may use {project.gpu_quota} GPUs and uses"
            f" {in_use.get(project.p_id, 0)}; the workloads that would come back hold {returning[project.p_id]}",
        )
        for project in projects
        if in_use.get(project.p_id, 0) + returning[project.p_id] > project.gpu_quota
    ]


async def _find_rule_conflicts(tx: Transaction, deletion: DeletionRow) -> list[RuleConflict]:
    """A config file that its project would not take today: what it allowed was withdrawn since.

    Files that come back with their project stood there as they are.
    """
    if deletion.root_type != "config-file":
        return []
    conflicts = []
    for file in await tx.fetch_all(queries.FILES_COMING_BACK_TO_STRICT_PROJECTS, deletion_id=deletion.id):
        if forbidden := await _find_privileged(file.content):
            message = (
                f"project {file.project_name} does not allow what {file.filename} asks for"
                f" ({forbidden[0]}): have a super administrator set allow_privileged first"
            )
            conflicts.append(RuleConflict(key=file.cf_id, label=file.filename, message=message))
    return conflicts


async def _find_privileged(content: str) -> list[ManifestProblem]:
    """What of a file takes `allow_privileged`. Other rules may be younger than the file, and it stood with them."""
    strict = await _find_problems(content, allow_privileged=False)
    lenient = await _find_problems(content, allow_privileged=True) if strict else ()
    return [problem for problem in strict if problem not in lenient]


async def _find_problems(content: str, *, allow_privileged: bool) -> tuple[ManifestProblem, ...]:
    try:
        await check_content(content, allow_privileged=allow_privileged)
    except ManifestError as error:
        return error.problems
    return ()


def _say(conflicts: list[Conflict]) -> str:
    more = "" if len(conflicts) == 1 else f" (and {len(conflicts) - 1} more)"
    return f"it cannot be restored now: {conflicts[0].message}{more}"
