"""Which values of a Kubernetes object changed, for the audit log.

A difference of texts would bring comments and passwords into a log that outlives the file; this names the changed
values alone, by path, like `spec.template.spec.containers[web].image`, masks what looks like a secret, and cuts what
is long.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from holdfast.features.config_files.yaml_documents import JsonValue, join_path

MAX_CHANGES = 50
MAX_CHARACTERS = 1_000
MASK = "***"

_NOT_THERE = object()
_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|credential|(?:api|access|private|ssh)[_.-]?key", re.IGNORECASE
)
# A secret within a longer text: `--password=…`, `token: …`, `postgres://user:…@host`. Every repetition is bounded, so
# that no text makes the search slow.
_SECRET_TEXT = re.compile(
    r"(?:passw|passphrase|secret|token|credential|(?:api|access|private|ssh)[_.-]?key)\w{0,30}['\"]?\s{0,8}[=:]"
    r"|://[^/@:\s]{0,100}:[^/@\s]{0,200}@|-----BEGIN",
    re.IGNORECASE,
)


def changed_values(before: JsonValue, after: JsonValue) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """The old and the new values by path, at most `MAX_CHANGES`; a path that is in one of them only came or went."""
    old: dict[str, JsonValue] = {}
    new: dict[str, JsonValue] = {}
    for path, old_value, new_value in islice(_differences("", before, after), MAX_CHANGES):
        if old_value is not _NOT_THERE:
            old[path] = _shown(path, old_value)
        if new_value is not _NOT_THERE:
            new[path] = _shown(path, new_value)
    return old, new


def _shown(path: str, value: object) -> JsonValue:
    """The value without secrets and, where it is long, as the beginning of its JSON."""
    length = len(msgspec.json.encode(value))
    if length > 20 * MAX_CHARACTERS:
        return f"({length:,} bytes)"
    shown = _masked(path, value)
    text = shown if isinstance(shown, str) else msgspec.json.encode(shown).decode()
    return shown if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}… ({length:,} bytes)"


def _masked(path: str, value: Any) -> JsonValue:
    """The value, with every text hidden that looks like a secret by the names above it or by itself."""
    if isinstance(value, dict):
        # `{name: DB_PASSWORD, value: …}`: the name of an entry says what its value is.
        name = value.get("name")
        if not isinstance(name, str):
            return {key: _masked(join_path(path, key), item) for key, item in value.items()}
        within = f"{path}[{name[:80]}]"
        return {key: item if key == "name" else _masked(join_path(within, key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(path, item) for item in value]
    if isinstance(value, str) and (_SECRET_NAME.search(path) or _SECRET_TEXT.search(value)):
        return MASK
    return value  # type: ignore[no-any-return]


def _differences(path: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            yield from _differences(join_path(path, key), before.get(key, _NOT_THERE), after.get(key, _NOT_THERE))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _differences_of_lists(path, before, after)
    elif type(before) is not type(after) or before != after:
        yield path, before, after


def _differences_of_lists(path: str, before: list[object], after: list[object]) -> Iterator[tuple[str, object, object]]:
    old, new = _by_name(before), _by_name(after)
    if old is None or new is None:
        for index in range(max(len(before), len(after))):
            old_item = before[index] if index < len(before) else _NOT_THERE
            new_item = after[index] if index < len(after) else _NOT_THERE
            yield from _differences(f"{path}[{index}]", old_item, new_item)
        return
    for name in old | new:
        yield from _differences(f"{path}[{name[:80]}]", old.get(name, _NOT_THERE), new.get(name, _NOT_THERE))
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield f"{path} (order)", list(old), list(new)


def _by_name(items: list[object]) -> dict[str, object] | None:
    """The items by their names, as with containers, ports and variables; None unless each has one of its own."""
    named: dict[str, object] = {
        item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    return named if len(named) == len(items) else None
