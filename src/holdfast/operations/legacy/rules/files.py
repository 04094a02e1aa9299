"""Config files and the Kubernetes objects in them."""

from typing import Any

import msgspec
import yaml

from holdfast.features.config_files.manifests import KINDS
from holdfast.operations.legacy.fields import first_of
from holdfast.operations.legacy.names import key_text, width_of
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.stages import Draft, Facts, PageReader
from holdfast.operations.legacy.types import note

_KEY = ("r_id", "id")
_FIRST = ("apiVersion", "kind", "metadata")
_API_VERSIONS = {"deployment": "apps/v1", "ingress": "networking.k8s.io/v1"}


def object_name(row: Row) -> str:
    """`deployment/web`: how a file's object is named (spec decision 5)."""
    return f"{kind_of(row)}/{row.get('name') or ''}"


def kind_of(row: Row) -> str:
    """The kind in lower case."""
    return str(row.get("type") or "").casefold()


def file_key_of_path(row: Row) -> str:
    """The key under which a file is known that was only a name on its objects."""
    return key_text((f"{row['p_id']}:{row.get('filename') or ''}",))


def adapt_resource(draft: Draft, facts: Facts) -> None:
    """Kinds that Holdfast does not know stay out, unless whoever imports wants them."""
    old, kind = draft.row.get("type"), kind_of(draft.row)
    if kind not in KINDS and kind not in facts.options.allowed_kinds:
        draft.leave_out("kind_unknown", "Holdfast has no such kind; --allow-kind keeps it", "type", old)
        return
    if kind != old:
        draft.notes.append(note("enum_case", "type", old, kind))
    draft.values["type"] = kind
    if kind not in KINDS:
        draft.notes.append(note("kind_allowed", "type", old, kind))
    if draft.values.get("parsed_yaml") is None:
        draft.values["parsed_yaml"] = msgspec.Raw(msgspec.json.encode(_outline(draft.row)))
        draft.notes.append(note("content_rebuilt", "parsed_yaml", None, None, "only kind and name were kept"))


def adapt_file(draft: Draft, facts: Facts) -> None:
    """A file needs a name."""
    if not draft.values["filename"]:
        draft.values["filename"] = f"file-{draft.old_key}.yaml"
        draft.notes.append(note("missing_value", "filename", None, draft.values["filename"]))


async def rebuild_contents(drafts: list[Draft], facts: Facts, reader: PageReader) -> None:
    """Where the text lay in object storage, or nowhere, it is written anew from the objects."""
    lacking = [draft for draft in drafts if draft.left_out is None and not draft.values.get("content")]
    if not lacking:
        return
    objects = await _objects_of_files(lacking, facts)
    for draft in lacking:
        found = objects.get(draft.old_key, [])
        path = draft.row.get("minio_path")
        why = f"from its {len(found)} objects" if found else "it has no objects, so it is empty"
        draft.values["content"] = _written(found)
        draft.notes = [each for each in draft.notes if each.column != "content"]
        draft.notes.append(
            note("content_rebuilt", "content", path, None, why + (", it lay at this path" if path else ""))
        )


async def _objects_of_files(drafts: list[Draft], facts: Facts) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in facts.source.catalogue.named("resources"):
        key = facts.source.catalogue.key_column(name, *_KEY)
        if "cf_id" in facts.source.catalogue.tables[name]:
            keys = [first_of(draft.row, "cf_id", "id") for draft in drafts]
            rows = await facts.source.rows_where(name, "cf_id", keys, [key or "cf_id"])
            keyed = [(str(row["cf_id"]), row) for row in rows]
        else:
            keys = [draft.row["p_id"] for draft in drafts]
            rows = await facts.source.rows_where(name, "p_id", keys, [key or "p_id"])
            keyed = [(file_key_of_path(row), row) for row in rows]
        for file_key, row in keyed:
            found.setdefault(file_key, []).append(_parsed(row))
    return found


def _parsed(row: Row) -> Any:
    text = row.get("parsed_yaml")
    if text is None:
        return _outline(row)
    try:
        return msgspec.json.decode(str(text).encode())
    except (msgspec.DecodeError, UnicodeError):
        return _outline(row)


def _outline(row: Row) -> dict[str, Any]:
    kind = kind_of(row)
    return {
        "apiVersion": _API_VERSIONS.get(kind, "v1"),
        "kind": KINDS.get(kind, str(row.get("type"))),
        "metadata": {"name": row.get("name")},
    }


def _written(objects: list[Any]) -> str:
    if not objects:
        return ""
    return str(yaml.safe_dump_all(map(_in_order, objects), sort_keys=False, allow_unicode=True))


def _in_order(found: Any) -> Any:
    """As people write an object: JSONB gives the shortest words first."""
    if not isinstance(found, dict):
        return found
    return {name: found[name] for name in _FIRST if name in found} | found


def adapt_file_of_objects(draft: Draft, facts: Facts) -> None:
    """A file that was only a name on objects."""
    adapt_file(draft, facts)
    new_id = f"cf_res_{draft.row['r_id']}"
    draft.new_id = new_id if len(new_id) <= width_of("config_files") else ""
    draft.notes.append(note("made_from_objects", "cf_id", draft.old_key, None, "there were no files, only their names"))
