"""Which values of an object the audit log names as changed, and what of them it hides."""

import time
from typing import Any

import pytest

from holdfast.features.config_files.changed_values import MASK, MAX_CHANGES, MAX_CHARACTERS, changed_values
from holdfast.features.config_files.yaml_documents import JsonValue


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 2}, {"b": 3}),
        ({"spec": {"a": {"b": 1}}}, {"spec": {"a": {"b": 2}}}, {"spec.a.b": 1}, {"spec.a.b": 2}),
        ({"a": 1}, {}, {"a": 1}, {}),
        ({}, {"a": None}, {}, {"a": None}),
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": {"b": 1}}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, {"a[1]": 2}, {"a[1]": 3, "a[2]": 4}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "value": "3"}]},
            {"env[A]": {"name": "A", "value": "1"}, "env[B].value": "2"},
            {"env[B].value": "3"},
        ),
        (
            {"steps": [{"name": "A"}, {"name": "B"}]},
            {"steps": [{"name": "B"}, {"name": "A"}]},
            {"steps (order)": ["A", "B"]},
            {"steps (order)": ["B", "A"]},
        ),
        ({"a": [{"name": "A"}, {"name": "A"}]}, {"a": [{"name": "A"}]}, {"a[1]": {"name": "A"}}, {}),
        ({"a": 1}, {"a": 1}, {}, {}),
    ],
)
def test_changes_are_named_by_path(before: Any, after: Any, old: Any, new: Any) -> None:
    assert changed_values(before, after) == (old, new)


@pytest.mark.parametrize(
    "after",
    [
        {"data": {"DB_PASSWORD": "hunter2"}},
        {"data": {"app.conf": "user=a\npassword = hunter2\n"}},
        {"stringData": {"api-key": "hunter2"}},
        {"env": [{"name": "ACCESS_KEY", "value": "hunter2"}]},
        {"containers": [{"name": "web", "env": [{"name": "TOKEN", "value": "hunter2"}]}]},
        {"args": ["--client-secret=hunter2"]},
        {"url": "postgres://app:hunter2@db/app"},
        {"key": "-----BEGIN PRIVATE KEY-----hunter2"},
    ],
)
def test_what_looks_like_a_secret_is_hidden(after: Any) -> None:
    shown = repr(changed_values({}, after))
    assert "hunter2" not in shown
    assert MASK in shown


def test_no_more_than_a_bounded_number_of_changes_is_named() -> None:
    before: dict[str, JsonValue] = {str(number): number for number in range(1000)}
    old, new = changed_values(before, {})
    assert (len(old), new) == (MAX_CHANGES, {})


@pytest.mark.parametrize("value", ["x" * 5_000, ["x"] * 5_000, {"a": "x" * 1_000_000}, "secret" * 170_000])
def test_a_long_value_is_cut(value: Any) -> None:
    _, new = changed_values({}, {"data": value})
    shown = new["data"]
    assert isinstance(shown, str)
    assert len(shown) <= MAX_CHARACTERS + 30
    assert shown.endswith("bytes)")


@pytest.mark.parametrize("text", ["://" + ":" * 19_000, "secret" * 3_000, "://a" * 4_000, "passw " * 3_000])
def test_no_text_makes_the_search_for_secrets_slow(text: str) -> None:
    started = time.process_time()
    changed_values({}, {"data": {"text": text}})
    assert time.process_time() - started < 0.5
