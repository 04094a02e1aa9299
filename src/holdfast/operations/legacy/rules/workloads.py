"""Course workloads."""

from holdfast.operations.legacy.stages import Draft, Facts
from holdfast.operations.legacy.types import note


def adapt_workload(draft: Draft, facts: Facts) -> None:
    """A pod needs a name, which no other live one has."""
    if not draft.values["k8s_pod_name"]:
        draft.values["k8s_pod_name"] = f"workload-{draft.old_key}"
        draft.notes.append(note("missing_value", "k8s_pod_name", None, draft.values["k8s_pod_name"]))
