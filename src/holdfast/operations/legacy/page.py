"""One page of older rows brought through all rules: what each becomes, and why."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table

from holdfast.db.tables import group_list, project_list, users
from holdfast.db.tables.base import Deletion, policy_of
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.features.accounts.rules import ADMIN_USERNAME
from holdfast.operations.legacy.desk import Desk
from holdfast.operations.legacy.fields import Field, Kind, Missing, converted, first_of, reference_key
from holdfast.operations.legacy.hashes import UNUSABLE
from holdfast.operations.legacy.names import (
    FORMER_USER_ID,
    QUARANTINE_GROUP_ID,
    QUARANTINE_PROJECT_ID,
    deletion_id,
    hashed_id,
    plain_id,
)
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.stages import Clash, Draft, Facts, Stage
from holdfast.operations.legacy.times import is_wrong, moment_of
from holdfast.operations.legacy.types import LegacyError, Orphans, Outcome, note

_MOST_SUFFIXES = 50
_DELETED = "deleted_at"


async def bring_in(stage: Stage, rows: list[Row], facts: Facts, desk: Desk) -> list[Draft]:
    """Import a page of rows; those that the key map has are left as they are. The rows that were dealt with."""
    drafts = [Draft(row, stage.old_key(row)) for row in rows if stage.only_where is None or stage.only_where(row)]
    await _meet_newer(stage, drafts, facts)
    known = await desk.entries(stage.name, [draft.old_key for draft in drafts])
    drafts = [draft for draft in drafts if _is_open(known.get(draft.old_key))]
    for draft in drafts:
        _convert(stage, draft, facts)
    await _resolve(stage, drafts, facts, desk)
    await _give_ids(stage, drafts, facts, desk)
    await _follow_parents(stage, drafts, facts, desk)
    await _part_equals(stage, drafts, desk)
    if stage.adapt_page is not None:
        await stage.adapt_page(drafts, facts, desk)
    await desk.save(stage, drafts, known)
    return drafts


def _is_open(entry: Any) -> bool:
    return entry is None or entry.outcome == Outcome.LEFT_OUT


async def _meet_newer(stage: Stage, drafts: list[Draft], facts: Facts) -> None:
    """Rows of a table that a newer one replaced: a copy is merged, another row of the number gets an id apart."""
    if stage.newer is None:
        return
    keys = [tuple(draft.row[name] for name in stage.source.key) for draft in drafts]
    newer = {
        tuple(row[name] for name in stage.newer.key): row for row in await facts.source.rows_of_keys(stage.newer, keys)
    }
    for draft, key in zip(drafts, keys, strict=True):
        twin = newer.get(key)
        if twin is None:
            draft.notes.append(note("older_table", "", stage.source.name, None, f"{stage.newer.name} has no such row"))
            continue
        number = draft.old_key
        draft.old_key = f"{stage.source.name}:{number}"
        if all(twin.get(name) == draft.row.get(name) for name in stage.same_by):
            draft.merged_into = number
            draft.notes.append(note("merged", "", draft.old_key, number, f"{stage.newer.name} has a copy of it"))
        else:
            draft.new_id = hashed_id(stage.name, draft.old_key, facts.name)
            why = f"{stage.newer.name} has another row of this number, which the references mean"
            draft.notes.append(note("key_clash", "", number, draft.new_id, why))


def _convert(stage: Stage, draft: Draft, facts: Facts) -> None:
    for field in stage.fields:
        if field.kind is not Kind.REFERENCE and field.name not in {"created_at", "updated_at"}:
            draft.values[field.name] = converted(field, draft.row, facts.options, draft.notes)
    draft.values.update(stage.constants)
    _set_times(stage, draft, facts)
    deleted = draft.row.get(_DELETED)
    if deleted is not None and stage.follows_deletions:
        draft.deleted_at = moment_of(deleted, facts.options.zone) or facts.options.now
        draft.notes.append(note("soft_deleted", _DELETED, deleted, draft.deleted_at))
    if stage.adapt is not None and draft.merged_into is None:
        stage.adapt(draft, facts)


def _set_times(stage: Stage, draft: Draft, facts: Facts) -> None:
    """A time that is missing or of the year 1 is that of the last change, or of the import."""
    zone, fields = facts.options.zone, {field.name: field for field in stage.fields}
    made, changed = (
        first_of(draft.row, *fields[name].sources) if name in fields else None for name in ("created_at", "updated_at")
    )
    best = moment_of(changed, zone) or facts.options.now
    for name, value, otherwise in (
        ("created_at", made, best),
        ("updated_at", changed, moment_of(made, zone) or facts.options.now),
    ):
        if name not in fields:
            continue
        moment = moment_of(value, zone)
        draft.values[name] = moment or otherwise
        has_column = any(source in draft.row for source in fields[name].sources)
        if moment is None and (has_column or moment_of(made, zone) is None):
            code = "wrong_time" if is_wrong(value, zone) else "missing_time"
            draft.notes.append(note(code, name, value, draft.values[name]))


async def _resolve(stage: Stage, drafts: list[Draft], facts: Facts, desk: Desk) -> None:
    """Put new ids where older keys stood."""
    for field in stage.fields:
        if field.kind is not Kind.REFERENCE:
            continue
        keys = {draft.old_key: reference_key(field, draft.row) for draft in drafts}
        known = await desk.entries(field.parent, {key for key in keys.values() if key is not None})
        for draft in drafts:
            key = keys[draft.old_key]
            entry = None if key is None else known.get(key)
            if entry is not None and entry.new_id:
                draft.values[field.name] = entry.new_id
            else:
                await _without_parent(draft, field, key, facts, desk)
    if stage.newer is not None:
        copied = await desk.entries(stage.name, {draft.merged_into for draft in drafts if draft.merged_into})
        for draft in drafts:
            if draft.merged_into is not None:
                _follow_copy(draft, copied)


def _follow_copy(draft: Draft, copied: dict[str, Any]) -> None:
    entry = copied.get(draft.merged_into or "")
    draft.merged_into = entry.new_id if entry is not None and entry.new_id else None
    if draft.merged_into is None:
        draft.leave_out("merged", "its copy was left out")


async def _without_parent(draft: Draft, field: Field, key: str | None, facts: Facts, desk: Desk) -> None:
    """A reference that leads nowhere."""
    draft.values[field.name] = None
    if key is None and field.column.nullable:
        return
    what = f"{field.parent} has no row {key}" if key is not None else "it names none"
    keeps = field.missing is Missing.KEEP or (key is None and field.parent == "users")
    if facts.options.orphans is Orphans.QUARANTINE and field.missing is Missing.ORPHAN:
        keeps = True
    if field.missing is Missing.EMPTY:
        draft.notes.append(note("unlinked", field.name, key, None, what))
    elif keeps and draft.is_kept:
        place = await _placeholder(field.parent, facts, desk)
        draft.values[field.name] = place
        draft.notes.append(note("orphan", field.name, key, place, what))
    else:
        draft.leave_out("orphan", what, field.name, key)


async def _placeholder(parent: str, facts: Facts, desk: Desk) -> str:
    """The row that stands for all that are gone."""
    now = facts.options.now
    times = {"created_at": now, "updated_at": now}
    if parent == "users":
        user = {"u_id": FORMER_USER_ID, "username": "former-user", "password": UNUSABLE, "type": "origin", **times}
        await _ensure(users, FORMER_USER_ID, {**user, "status": "delete"}, desk)
        return FORMER_USER_ID
    group = {"g_id": QUARANTINE_GROUP_ID, "group_name": "quarantine", "description": _QUARANTINED, **times}
    await _ensure(group_list, QUARANTINE_GROUP_ID, group, desk)
    if parent == "group_list":
        return QUARANTINE_GROUP_ID
    project = {"p_id": QUARANTINE_PROJECT_ID, "project_name": "quarantine", "g_id": QUARANTINE_GROUP_ID, **times}
    await _ensure(project_list, QUARANTINE_PROJECT_ID, {**project, "description": _QUARANTINED}, desk)
    return QUARANTINE_PROJECT_ID


async def _ensure(table: Table, new_id: str, row: dict[str, Any], desk: Desk) -> None:
    if not await desk.there(table, [new_id]):
        await desk.add_row(table, row)


async def _give_ids(stage: Stage, drafts: list[Draft], facts: Facts, desk: Desk) -> None:
    """Ids by the rule, or hashed ones where that gives none, or another source's row has it."""
    kept = [draft for draft in drafts if draft.is_kept]
    for draft in kept:
        if stage.name == "user_group":
            draft.new_id = f"{draft.values['g_id']}/{draft.values['u_id']}"
        elif not draft.new_id:
            _name(stage, draft, facts)
    if stage.name == "user_group":
        return
    there = await desk.there(stage.table, {draft.new_id for draft in kept})
    if not there:
        return
    mapped = await desk.mapped(stage.name, there)
    for draft in kept:
        if draft.new_id in there:
            _make_way(stage, draft, mapped.get(draft.new_id), facts)


def _name(stage: Stage, draft: Draft, facts: Facts) -> None:
    number = str(draft.row[stage.source.key[0]]) if len(stage.source.key) == 1 else draft.old_key
    plain = plain_id(stage.name, number)
    draft.new_id = plain or hashed_id(stage.name, draft.old_key, facts.name)
    if plain is None:
        draft.notes.append(note("hashed_id", "", number, draft.new_id, "by the rule it would be too long"))


def _make_way(stage: Stage, draft: Draft, source: str | None, facts: Facts) -> None:
    """The id is there already: by an import of another database, or by something that nobody recorded."""
    if draft.new_id == SUPER_GROUP_ID:
        draft.merged_into = SUPER_GROUP_ID
        draft.notes.append(note("merged", "g_id", draft.old_key, SUPER_GROUP_ID, "group super is there already"))
    elif source is None:
        raise LegacyError(
            f"{stage.table.name} has a row {draft.new_id} already, and the key map does not say where it comes from."
            " Was the database moved since an earlier import? Import into the one that has the key map, or an empty one"
        )
    else:
        taken, draft.new_id = draft.new_id, hashed_id(stage.name, draft.old_key, facts.name)
        whose = "of another table" if source == facts.name else f"of {source}"
        draft.notes.append(note("key_clash", "", taken, draft.new_id, f"the first one is that of a row {whose}"))


async def _follow_parents(stage: Stage, drafts: list[Draft], facts: Facts, desk: Desk) -> None:
    """What hangs on a deleted row is deleted with it; what hangs on one that was removed since has no place."""
    for field in stage.fields:
        if field.kind is not Kind.REFERENCE or field.missing is Missing.EMPTY:
            continue
        (target,) = field.column.foreign_keys
        parent = target.column.table
        ids = {draft.values[field.name] for draft in drafts if draft.is_kept and draft.values[field.name]}
        states = await desk.parents(parent, ids)
        for draft in drafts:
            found = draft.values[field.name]
            if not draft.is_kept or found is None:
                continue
            state = states.get(found)
            if state is None:
                draft.leave_out("orphan", f"{found} was removed from {parent.name} since it was imported", field.name)
            elif state.deletion_id and policy_of(stage.table).deletion is Deletion.SOFT and not draft.deletion_id:
                draft.deletion_id = state.deletion_id
                if draft.deleted_at is None:
                    draft.deleted_at = state.deleted_at
                    draft.notes.append(note("deleted_with_parent", _DELETED, None, state.deleted_at, f"with {found}"))
                else:
                    # It was deleted before what it hangs on, by itself.
                    draft.deletion_id = ""
    for draft in drafts:
        if draft.is_kept and draft.deleted_at is not None:
            draft.deletion_id = draft.deletion_id or deletion_id(draft.new_id, facts.name)
            draft.values |= {"deleted_at": draft.deleted_at, "deletion_id": draft.deletion_id}
        (key, *others) = stage.table.primary_key.columns
        if draft.is_kept and not others and stage.name != "audit_logs":
            draft.values[str(key.name)] = draft.new_id


async def _part_equals(stage: Stage, drafts: list[Draft], desk: Desk) -> None:
    """Rows whose name a live one has are merged into it, or get a name of their own."""
    if stage.clash is Clash.NONE:
        return
    live = [draft for draft in drafts if draft.is_live or (draft.is_kept and stage.name == "user_group")]
    taken = await desk.taken(stage, {_value(stage, draft) for draft in live})
    own = set(await _own(stage, desk, taken.values()))
    clashing = [draft for draft in live if _value(stage, draft) in taken]
    candidates = {value for draft in clashing for value in _candidates(stage, draft)} if clashing else set()
    taken |= await desk.taken(stage, candidates) if stage.clash is not Clash.MERGE else {}
    for draft in live:
        value = _value(stage, draft)
        holder = taken.get(value)
        if holder is not None:
            if _is_merged(stage, draft, is_own=holder in own):
                _merge(stage, draft, holder)
                continue
            taken |= await desk.taken(stage, set(_candidates(stage, draft)))
            _rename(stage, draft, holder, taken)
            value = _value(stage, draft)
        taken[value] = draft.new_id
        own.add(draft.new_id)


async def _own(stage: Stage, desk: Desk, ids: Iterable[str]) -> list[str]:
    return [each for each, source in (await desk.mapped(stage.name, set(ids))).items() if source == desk.source]


def _is_merged(stage: Stage, draft: Draft, *, is_own: bool) -> bool:
    if stage.name == "users":
        return draft.values["username"] == ADMIN_USERNAME and not is_own
    return stage.clash is Clash.MERGE or (stage.clash is Clash.MERGE_FOREIGN and not is_own)


def _merge(stage: Stage, draft: Draft, holder: str) -> None:
    draft.merged_into = holder
    draft.notes = [each for each in draft.notes if each.code not in {"hashed_id", "key_clash"}]
    label = ", ".join(str(draft.values[name]) for name in stage.unique)
    draft.notes.append(note("merged", stage.suffixed, label, holder, f"{holder} stands for it"))


def _rename(stage: Stage, draft: Draft, holder: str, taken: dict[str, str]) -> None:
    old = draft.values[stage.suffixed]
    scope = [str(draft.values[name]) for name in stage.unique[:-1]]
    for new in _suffixed(stage, draft):
        if " ".join([*scope, new]) not in taken:
            draft.values[stage.suffixed] = new
            draft.notes.append(note("clash", stage.suffixed, old, new, f"{holder} has that name"))
            return
    draft.leave_out("clash", f"{holder} has that name, and every other one is taken", stage.suffixed, old)


def _value(stage: Stage, draft: Draft) -> str:
    return " ".join(str(draft.values[name]) for name in stage.unique)


def _candidates(stage: Stage, draft: Draft) -> list[str]:
    scope = [str(draft.values[name]) for name in stage.unique[:-1]]
    return [" ".join([*scope, new]) for new in _suffixed(stage, draft)]


def _suffixed(stage: Stage, draft: Draft) -> list[str]:
    """Names with the older key in them: `web-17.yaml`. Of an image it is a name that no image can have."""
    name, width = str(draft.values[stage.suffixed]), stage.table.c[stage.suffixed].type.width  # type: ignore[attr-defined]
    sign = "#" if stage.clash is Clash.MERGE_FOREIGN else "-"
    stem, dot, ending = name.rpartition(".") if stage.suffixed == "filename" else ("", "", "")
    if not stem:
        stem, dot, ending = name, "", ""
    key = draft.old_key.rpartition(":")[2]
    tails = [sign + key + (f"-{number}" if number > 1 else "") + dot + ending for number in range(1, _MOST_SUFFIXES)]
    return [stem[: width - len(tail)] + tail for tail in tails]


_QUARANTINED = "Rows of an older database whose project or group was gone"
