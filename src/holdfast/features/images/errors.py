"""What can go wrong with images."""

from holdfast.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError


class InvalidImageReferenceError(InvalidInputError):
    """A text that names no image."""

    code = "invalid_image_reference"


class ImageRequestNotFoundError(NotFoundError):
    """There is no such request, or the caller may not know it."""

    code = "image_request_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such image request, or you may not see it")


class ImageRequestForbiddenError(ForbiddenError):
    """The caller sees the request but may not decide it."""

    code = "image_request_forbidden"


class ImageRequestDecidedError(ConflictError):
    """A request is decided once."""

    code = "image_request_decided"

    def __init__(self, status: str) -> None:
        super().__init__(f"this request is {status} already; file a new one to have it looked at again")


class ImageRequestPendingError(ConflictError):
    """The same image is asked for already."""

    code = "image_request_pending"

    def __init__(self, image: str, request_id: str) -> None:
        super().__init__(f"{image} is asked for already; wait for the decision", image=image, request_id=request_id)


class ImageAlreadyAllowedError(ConflictError):
    """A request or a rule for what is allowed already."""

    code = "image_already_allowed"


class ImageNotAllowedError(ConflictError):
    """No rule allows the image in the project."""

    code = "image_not_allowed"

    def __init__(self, image: str) -> None:
        super().__init__(
            f"{image} is not allowed in this project: file an image request for it, or use an image of the allow list",
            image=image,
        )


class ImageNotFoundError(NotFoundError):
    """There is no such rule in the allow list, or the caller may not know it."""

    code = "image_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such image in the allow list, or you may not see it")


class ImageForbiddenError(ForbiddenError):
    """The caller sees the allow list but may not change it so."""

    code = "image_forbidden"


class RepositoryNotFoundError(NotFoundError):
    """There is no such repository."""

    code = "repository_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such repository")


class TagNotFoundError(NotFoundError):
    """There is no such tag in the repository."""

    code = "tag_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such tag in this repository")


class RepositoryForbiddenError(ForbiddenError):
    """Only super administrators change repositories and tags."""

    code = "repository_forbidden"

    def __init__(self) -> None:
        super().__init__("only super administrators change repositories and tags")


class RepositoryExistsError(ConflictError):
    """A repository of that name is there."""

    code = "repository_exists"

    def __init__(self, full_name: str) -> None:
        super().__init__(f"the repository {full_name} is there already", full_name=full_name)


class TagExistsError(ConflictError):
    """A tag of that name is there."""

    code = "tag_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"this repository has a tag {name} already; change that one", name=name)


class OrphansForbiddenError(ForbiddenError):
    """Only super administrators look for orphans."""

    code = "statistics_forbidden"
