"""Names for Kubernetes: valid whatever they are made from, and never shared."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.ids import ALPHABET, new_short_id
from holdfast.core.kubernetes_names import dns_label

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IDS = st.text(ALPHABET, min_size=1, max_size=50)


@pytest.mark.conformance("F-08")
@given(IDS | st.text(), st.sampled_from([None, "u", "project", "a2345678901234567890"]))
def test_every_text_gives_a_valid_label(text: str, prefix: str | None) -> None:
    label = dns_label(text, prefix=prefix)
    assert LABEL.fullmatch(label)
    assert prefix is None or label.startswith(f"{prefix}-")


@pytest.mark.conformance("F-08")
@given(st.lists(IDS | st.text(max_size=70) | st.text("aAbB_-", max_size=4), unique=True, max_size=50))
def test_different_texts_give_different_labels(texts: list[str]) -> None:
    assert len({dns_label(text) for text in texts}) == len(texts)


@pytest.mark.conformance("F-08")
@given(IDS)
def test_nobody_can_take_a_label_by_bearing_it_as_a_name(text: str) -> None:
    label = dns_label(text)
    assert label == text or dns_label(label) != label


@pytest.mark.conformance("F-08")
@pytest.mark.parametrize(
    ("left", "right"), [("aB", "Ab"), ("a_b", "a-b"), ("-a", "a"), ("a-", "a"), ("é", "è"), ("", "x")]
)
def test_texts_that_fold_alike_stay_apart(left: str, right: str) -> None:
    assert dns_label(left) != dns_label(right)


def test_a_label_stays_as_it_is() -> None:
    assert dns_label("ada-1") == "ada-1"
    assert dns_label("7") == "7"
    assert dns_label("a" * 63) == "a" * 63


def test_a_label_stays_recognisable() -> None:
    assert dns_label("Ada_Lovelace").startswith("ada-lovelace-")
    assert dns_label(new_short_id(), prefix="project").startswith("project-")


def test_the_same_text_gives_the_same_label_in_every_version() -> None:
    """Objects in a cluster are found again by these names: a change here orphans them."""
    assert dns_label("Ada_Lovelace") == "ada-lovelace-yotbbt4e2mq4mif5"
    assert dns_label("user_17", prefix="user") == "user-user-17-5g6wxdxgxx4omfmk"


@pytest.mark.parametrize("prefix", ["", "A", "1a", "a-b", "a" * 21])
def test_a_prefix_that_could_blur_the_border_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="is not a lower-case word"):
        dns_label("a", prefix=prefix)
