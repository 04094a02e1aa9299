"""The names and amounts under which a workload would stand in Kubernetes."""

import re

from holdfast.core.kubernetes_names import MAX_LABEL, dns_label
from holdfast.features.config_files.quantities import QuantityError, parse_quantity
from holdfast.features.workloads.errors import InvalidWorkloadError

# Begins the namespaces made here, one for each user in each project.
_NAMESPACE_PREFIX = "course"
_POD_PREFIX = "workload"
_RESERVED = re.compile(r"kube-.*|default")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def own_namespace(project_id: str, user_id: str) -> str:
    """The namespace of a user in a project, which nobody else has (spec decision 15)."""
    # No id holds a slash, so no two pairs make one text.
    return dns_label(f"{project_id}/{user_id}", prefix=_NAMESPACE_PREFIX)


def own_pod_name(workload_id: str) -> str:
    """The pod name of a workload that was given none."""
    return dns_label(workload_id, prefix=_POD_PREFIX)


def check_namespace(namespace: str, own: str) -> None:
    """Refuse a namespace that Kubernetes would not take, its own ones, and those made for other users."""
    _check_label("namespace", namespace)
    if _RESERVED.fullmatch(namespace):
        raise InvalidWorkloadError(f"namespace {namespace} belongs to Kubernetes itself; choose another")
    if namespace != own and namespace.startswith(f"{_NAMESPACE_PREFIX}-"):
        raise InvalidWorkloadError(
            f"namespaces that begin with {_NAMESPACE_PREFIX}- are each user's own: leave it out to get {own}"
        )


def check_pod_name(k8s_pod_name: str) -> None:
    """Refuse a pod name that Kubernetes would not take as a host name."""
    _check_label("k8s_pod_name", k8s_pod_name)


def check_quantity(field: str, text: str) -> None:
    """Refuse an amount of cpu or memory that Kubernetes could not read, and one that asks for nothing."""
    try:
        amount = parse_quantity(text)
    except QuantityError as error:
        raise InvalidWorkloadError(f"{field}: {error}", field=field) from error
    if amount <= 0:
        raise InvalidWorkloadError(f"{field} must be more than zero; leave it out to ask for none", field=field)


def _check_label(field: str, text: str) -> None:
    if len(text) > MAX_LABEL or _LABEL.fullmatch(text) is None:
        raise InvalidWorkloadError(
            f"{field} must be a DNS label: at most {MAX_LABEL} lower-case letters, digits and '-', which neither"
            " begins nor ends with '-'",
            field=field,
        )
