"""Placeholders in manifests: `{{username}}` and its six siblings, replaced in values when a manifest is used.

The stored resource keeps them, so that one file serves every member of a project.
"""

import re

import msgspec

from holdfast.features.config_files.yaml_documents import JsonValue


class PlaceholderValues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What stands for each placeholder; the encoded names are the placeholders themselves."""

    username: str
    safe_username: str
    original_username: str
    namespace: str
    project_id: str
    user_volume: str
    group_volume: str


PLACEHOLDER_NAMES: tuple[str, ...] = PlaceholderValues.__struct_encode_fields__
_PLACEHOLDER = re.compile(r"\{\{(" + "|".join(PLACEHOLDER_NAMES) + r")\}\}")


def replace_placeholders(value: JsonValue, values: PlaceholderValues) -> JsonValue:
    """A copy with every known placeholder replaced in text values. Keys, and placeholders not known, stay.

    What a value brings in is not searched again, so a username cannot smuggle in a placeholder.
    """
    texts: dict[str, str] = msgspec.to_builtins(values)
    return _replace(value, texts)


def without_placeholders(text: str) -> str:
    """The text with each known placeholder as the letter `x`, for rules about names that are not filled in yet."""
    return _PLACEHOLDER.sub("x", text)


def _replace(value: JsonValue, texts: dict[str, str]) -> JsonValue:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda match: texts[match[1]], value)
    if isinstance(value, list):
        return [_replace(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, texts) for key, item in value.items()}
    return value
