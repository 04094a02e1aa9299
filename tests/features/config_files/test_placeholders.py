"""Placeholders: the seven known ones, in values only, once."""

import pytest

from holdfast.features.config_files.placeholders import PLACEHOLDER_NAMES, PlaceholderValues, replace_placeholders
from holdfast.features.config_files.yaml_documents import JsonValue

VALUES = PlaceholderValues(
    username="ada",
    safe_username="ada-safe",
    original_username="Ada_L",
    namespace="proj-ada",
    project_id="proj_7",
    user_volume="home-ada",
    group_volume="group-x",
)


@pytest.mark.conformance("F-06")
def test_the_names_are_those_that_people_write() -> None:
    assert PLACEHOLDER_NAMES == (
        "username",
        "safeUsername",
        "originalUsername",
        "namespace",
        "projectId",
        "userVolume",
        "groupVolume",
    )


@pytest.mark.conformance("F-06")
def test_every_placeholder_is_replaced_in_values_at_any_depth() -> None:
    text = " ".join(f"{{{{{name}}}}}" for name in PLACEHOLDER_NAMES)
    expected = "ada ada-safe Ada_L proj-ada proj_7 home-ada group-x"
    replaced = replace_placeholders({"a": [{"b": text}], "n": 1, "t": True, "z": None, "f": 0.5}, VALUES)
    assert replaced == {"a": [{"b": expected}], "n": 1, "t": True, "z": None, "f": 0.5}


@pytest.mark.conformance("F-06")
def test_keys_and_unknown_placeholders_stay() -> None:
    value: JsonValue = {"{{username}}": "{{uid}} {{ username }} {{Username}} {username} {{username}"}
    assert replace_placeholders(value, VALUES) == value


def test_what_a_value_brings_in_is_not_replaced_again() -> None:
    values = PlaceholderValues(
        username="{{namespace}}",
        safe_username="",
        original_username="\\1",
        namespace="secret",
        project_id="",
        user_volume="",
        group_volume="",
    )
    assert replace_placeholders("{{username}} {{originalUsername}}", values) == "{{namespace}} \\1"
