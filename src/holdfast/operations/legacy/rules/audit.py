"""Audit entries: who did it by their new id, and what it was done to, as far as the key map knows it."""

import re
from typing import Any

import msgspec

from holdfast.features.audit.service import MASK
from holdfast.operations.legacy.stages import Draft, Facts, PageReader
from holdfast.operations.legacy.types import note

# `u_id=3,g_id=7` as the older program wrote it.
_MENTION = re.compile(r"\b(?P<column>u_id|g_id|p_id|cf_id|r_id|user_id|group_id|project_id)=(?P<key>[0-9]+)\b")
_STAGES = {
    "u_id": "users",
    "user_id": "users",
    "g_id": "group_list",
    "group_id": "group_list",
    "p_id": "project_list",
    "project_id": "project_list",
    "cf_id": "config_files",
    "r_id": "resources",
}
# What a bare number means, by the older program's word for the thing.
_KINDS = {
    "user": "users",
    "users": "users",
    "group": "group_list",
    "group_list": "group_list",
    "project": "project_list",
    "projects": "project_list",
    "project_list": "project_list",
    "config_file": "config_files",
    "config_files": "config_files",
    "resource": "resources",
    "resources": "resources",
    "form": "forms",
    "image_request": "image_requests",
    "course_workload": "course_workloads",
}
_SECRET = ("password", "token", "secret")


def adapt_entry(draft: Draft, facts: Facts) -> None:
    """The entry's number, and secrets masked that the older program wrote out."""
    number = int(draft.old_key)
    values = draft.values
    values["id"] = facts.audit_offset(number)
    draft.new_id = str(values["id"])
    if values["id"] != number:
        draft.notes.append(note("renumbered", "id", number, values["id"], "the log has entries of its own"))
    for name in ("old_data", "new_data"):
        value = values[name]
        if value is not None and any(word in bytes(value).lower() for word in (b"password", b"token", b"secret")):
            masked = _masked(msgspec.json.decode(value))
            values[name] = msgspec.Raw(msgspec.json.encode(masked))
            draft.notes.append(note("secret_masked", name))


async def resolve_entries(drafts: list[Draft], facts: Facts, reader: PageReader) -> None:
    """Names of actors, and ids in texts. The text as it was stays in `resource_label`."""
    kept = [draft for draft in drafts if draft.left_out is None]
    mentioned: dict[str, set[str]] = {}
    for draft in kept:
        for stage, key in _mentions(draft):
            mentioned.setdefault(stage, set()).add(key)
    known = {stage: await reader.new_ids(stage, keys) for stage, keys in mentioned.items()}
    names = await reader.usernames({draft.values["user_id"] for draft in kept})
    for draft in kept:
        draft.values["actor_name"] = names.get(draft.values["user_id"], "")[:50]
        _resolve(draft, known)


def _mentions(draft: Draft) -> list[tuple[str, str]]:
    values = draft.values
    texts = (values["resource_id"] or "", values["description"] or "")
    found = [(_STAGES[each["column"]], each["key"]) for text in texts for each in _MENTION.finditer(text)]
    kind = _KINDS.get((values["resource_type"] or "").lower())
    if kind is not None and (values["resource_id"] or "").isdigit():
        found.append((kind, values["resource_id"]))
    return found


def _resolve(draft: Draft, known: dict[str, dict[str, str]]) -> None:
    values = draft.values
    old = values["resource_id"] or ""
    group: list[str] = []

    def replaced(found: re.Match[str]) -> str:
        new = known.get(_STAGES[found["column"]], {}).get(found["key"])
        if new is None:
            return found[0]
        if _STAGES[found["column"]] == "group_list":
            group.append(new)
        return f"{found['column']}={new}"

    def explained(found: re.Match[str]) -> str:
        new = known.get(_STAGES[found["column"]], {}).get(found["key"])
        return found[0] if new is None else f"{found[0]} ({new})"

    kind = _KINDS.get((values["resource_type"] or "").lower(), "")
    new = known.get(kind, {}).get(old) or _MENTION.sub(replaced, old)
    if new != old:
        values["resource_id"], values["resource_label"] = new[:255], old[:255]
        draft.notes.append(note("audit_resolved", "resource_id", old, new))
    if group:
        values["g_id"] = group[0]
    elif kind == "group_list" and new != old:
        values["g_id"] = new
    text = values["description"]
    if text and (resolved := _MENTION.sub(explained, text)) != text:
        values["description"] = resolved
        draft.notes.append(note("audit_resolved", "description", text, resolved))


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: MASK if isinstance(each, str) and any(word in name.lower() for word in _SECRET) else _masked(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return value
