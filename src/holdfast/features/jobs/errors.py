"""What can go wrong with jobs, as people meet it."""

from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError


class JobsForbiddenError(ForbiddenError):
    """The caller is no super administrator."""

    code = "jobs_forbidden"

    def __init__(self) -> None:
        super().__init__("only super administrators see and change jobs")


class JobNotFoundError(NotFoundError):
    """There is no such job, or no more."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {job_id}: GET /api/v1/jobs lists those there are")


class ScheduleNotFoundError(NotFoundError):
    """No periodic job has this name."""

    code = "schedule_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"no periodic job is called {name}: GET /api/v1/schedule lists them")


class JobNotFailedError(ConflictError):
    """Only a dead letter is tried again or discarded by hand."""

    code = "job_not_failed"

    def __init__(self, state: str) -> None:
        super().__init__(f"the job is {state}: only a failed one can be tried again or discarded", state=state)


class JobUnderWayError(ConflictError):
    """It runs at this moment."""

    code = "job_under_way"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} runs at this moment: ask again when it has ended")
