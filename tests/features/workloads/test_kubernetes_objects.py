"""Names and amounts of workloads as Kubernetes takes them (conformance F-08, F-12)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.ids import ALPHABET
from holdfast.features.workloads.errors import InvalidWorkloadError
from holdfast.features.workloads.kubernetes_objects import (
    check_namespace,
    check_pod_name,
    check_quantity,
    own_namespace,
    own_pod_name,
)

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_ids = st.text(ALPHABET, min_size=1, max_size=20)


@pytest.mark.conformance("F-08")
@given(first=st.tuples(_ids, _ids), second=st.tuples(_ids, _ids))
def test_two_users_never_share_a_namespace(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert _LABEL.fullmatch(own_namespace(*first))
    assert (own_namespace(*first) == own_namespace(*second)) == (first == second)


@pytest.mark.conformance("F-08")
def test_ids_that_join_to_one_text_still_give_two_namespaces() -> None:
    assert own_namespace("a-b", "c") != own_namespace("a", "b-c")


@pytest.mark.conformance("F-08")
@given(first=_ids, second=_ids)
def test_two_workloads_never_share_a_pod_name(first: str, second: str) -> None:
    check_pod_name(own_pod_name(first))
    assert (own_pod_name(first) == own_pod_name(second)) == (first == second)


@given(_ids, _ids)
def test_the_namespace_made_for_a_user_is_theirs_to_name(project_id: str, user_id: str) -> None:
    own = own_namespace(project_id, user_id)
    check_namespace(own, own)
    with pytest.raises(InvalidWorkloadError):
        check_namespace(own, own_namespace(project_id, user_id + "x"))


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a_b", "a.b", "a b", "a\n", "é", "a" * 64])
def test_what_is_no_dns_label_is_refused(text: str) -> None:
    with pytest.raises(InvalidWorkloadError):
        check_pod_name(text)
    with pytest.raises(InvalidWorkloadError):
        check_namespace(text, "own")


@pytest.mark.parametrize("namespace", ["default", "kube-system", "kube-public", "kube-anything"])
def test_namespaces_of_kubernetes_are_refused(namespace: str) -> None:
    with pytest.raises(InvalidWorkloadError):
        check_namespace(namespace, "own")


@pytest.mark.parametrize("namespace", ["lab", "defaults", "kube", "a" * 63])
def test_other_namespaces_may_be_chosen(namespace: str) -> None:
    check_namespace(namespace, "own")


@pytest.mark.conformance("F-12")
@pytest.mark.parametrize("text", ["", "much", "1 Gi", "1GiB", "-1", "0", "0m", "1e99", "NaN", "1,5"])
def test_amounts_that_kubernetes_cannot_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidWorkloadError) as caught:
        check_quantity("resource_mem", text)
    assert caught.value.status == 400
    assert "resource_mem" in caught.value.message


@pytest.mark.parametrize("text", ["500m", "2", "1.5Gi", "1e3", "128974848", "0.1"])
def test_amounts_of_kubernetes_are_taken(text: str) -> None:
    check_quantity("resource_cpu", text)
