"""What can go wrong with a workload."""

from holdfast.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError


class WorkloadNotFoundError(NotFoundError):
    """There is no such workload, or the caller may not know it."""

    code = "workload_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such workload, or you are not a member of its project's group")


class WorkloadForbiddenError(ForbiddenError):
    """The caller sees the workload but may not change it."""

    code = "workload_forbidden"

    def __init__(self) -> None:
        super().__init__("only its owner and the managers and admins of the project's group change a workload")


class InvalidWorkloadError(InvalidInputError):
    """An amount or a name that Kubernetes would not take."""

    code = "invalid_workload"


class QuotaExceededError(ConflictError):
    """The project's GPUs do not suffice (spec decision 13: refused with the numbers)."""

    code = "quota_exceeded"

    def __init__(self, *, asked: int, in_use: int, quota: int) -> None:
        super().__init__(
            f"the project may use {quota} GPUs and uses {in_use}, so it cannot have {asked} more: ask for"
            f" {max(quota - in_use, 0)} at most, or end a workload",
            asked=asked,
            in_use=in_use,
            quota=quota,
        )


class PodNameTakenError(ConflictError):
    """Another live workload has the pod name."""

    code = "pod_name_taken"

    def __init__(self, k8s_pod_name: str) -> None:
        super().__init__(f"the pod name {k8s_pod_name} is taken; choose another, or leave it out to get one")


class WorkloadStatusError(ConflictError):
    """The status cannot follow the present one."""

    code = "workload_status_refused"


class WorkloadFinishedError(ConflictError):
    """What has ended cannot be given other resources."""

    code = "workload_finished"

    def __init__(self, status: str) -> None:
        super().__init__(f"this workload has {status.lower()}: only its name can still change; make a new one")
