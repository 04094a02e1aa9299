"""What an image reference means: `nginx`, `library/nginx` and `docker.io/library/nginx:latest` are one image.

The grammar is that of the OCI distribution specification and of distribution/reference, read as container runtimes
do, with one difference: the first part is a registry only when it holds `.` or `:` or is `localhost` (spec:
behaviour.md, Images), so that capitals in a name are refused and never taken for a registry.
"""

import re

import msgspec

from holdfast.features.images.errors import InvalidImageReferenceError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_REGISTRY = 255
MAX_PATH = 255
MAX_TAG = 128
# More than any valid reference has: registry, path, tag and the longest digest.
_MAX_REFERENCE = MAX_REGISTRY + MAX_PATH + MAX_TAG + 140

# One registry under several names: Docker Hub answers to all of them with the same images.
_DOCKER_HUB = frozenset({DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io"})
_OFFICIAL = "library"

_HOST_PART = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_REGISTRY = re.compile(rf"{_HOST_PART}(?:\.{_HOST_PART})*(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class ImageReference(msgspec.Struct, frozen=True):
    """An image in its normal form: equal references are equal structs, and `str` gives text that reads back as it.

    Without tag and digest it stands for the repository as a whole. `namespace` is None for a name right below its
    registry, such as `ghcr.io/app`.
    """

    registry: str
    namespace: str | None
    name: str
    tag: str | None = None
    digest: str | None = None

    @property
    def path(self) -> str:
        """Namespace and name: `library/nginx`."""
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"

    @property
    def full_name(self) -> str:
        """Registry, namespace and name: `docker.io/library/nginx`."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.full_name}{tag}{digest}"


def parse_reference(text: str) -> ImageReference:
    """The image that a pod would run: tag `latest` where the text gives neither tag nor digest."""
    return with_default_tag(parse_image(text))


def parse_image(image_name: str, *, registry: str | None = None, tag: str | None = None) -> ImageReference:
    """The image of separate fields, where `image_name` may itself be a full reference.

    A registry or tag given twice must be the same one. No tag is put in: see `with_default_tag`.
    """
    own_registry, path, own_tag, digest = _split(image_name)
    if registry is not None:
        registry = _normal_registry(registry)
        if own_registry is not None and own_registry != registry:
            raise InvalidImageReferenceError(
                f"the image name says {own_registry} but the registry is {registry}: give it once"
            )
    if tag is not None:
        check_tag(tag)
        if own_tag is not None and own_tag != tag:
            raise InvalidImageReferenceError(f"the image name says tag {own_tag} but the tag is {tag}: give it once")
    return _normal(registry or own_registry or DEFAULT_REGISTRY, path, tag or own_tag, digest)


def with_default_tag(reference: ImageReference) -> ImageReference:
    """The reference, with tag `latest` where it has neither tag nor digest."""
    if reference.tag is None and reference.digest is None:
        return msgspec.structs.replace(reference, tag=DEFAULT_TAG)
    return reference


def check_tag(tag: str) -> None:
    """Refuse what cannot be a tag."""
    if _TAG.fullmatch(tag) is None:
        raise InvalidImageReferenceError(
            f"{_shown(tag)} is not a tag: 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'"
        )


def check_digest(digest: str) -> None:
    """Refuse what cannot be a digest."""
    if _DIGEST.fullmatch(digest) is None:
        raise InvalidImageReferenceError(
            f"{_shown(digest)} is not a digest: 'sha256:' and 64 hexadecimal digits in lower case, or sha512 and 128"
        )


def _split(text: str) -> tuple[str | None, str, str | None, str | None]:
    """Registry, path, tag and digest, as far as the text gives them, each checked but the path."""
    if len(text) > _MAX_REFERENCE:
        raise InvalidImageReferenceError(f"an image reference has at most {_MAX_REFERENCE} characters")
    rest, at, digest = text.partition("@")
    if at:
        check_digest(digest)
    first, slash, below = rest.partition("/")
    registry = None
    if slash and _is_registry(first):
        registry, rest = _normal_registry(first), below
    # What follows a registry holds no port, so the first colon begins the tag.
    path, colon, tag = rest.partition(":")
    if colon:
        check_tag(tag)
    return registry, path, tag if colon else None, digest if at else None


def _is_registry(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost"


def _normal_registry(text: str) -> str:
    # Host names mean the same in any case.
    registry = text.lower()
    match = _REGISTRY.fullmatch(registry) if len(registry) <= MAX_REGISTRY and text.isascii() else None
    if match is None or not _is_registry(registry) or int(match["port"] or 1) > 65535:
        raise InvalidImageReferenceError(
            f"{_shown(text)} is not a registry: give a host name with a dot, or localhost, and a port if it needs one,"
            " such as ghcr.io or registry.example.org:5000"
        )
    return DEFAULT_REGISTRY if registry in _DOCKER_HUB else registry


def _normal(registry: str, path: str, tag: str | None, digest: str | None) -> ImageReference:
    _check_path(path)
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"{_OFFICIAL}/{path}"
    if len(path) > MAX_PATH:
        raise InvalidImageReferenceError(f"an image name has at most {MAX_PATH} characters")
    namespace, slash, name = path.rpartition("/")
    return ImageReference(registry=registry, namespace=namespace if slash else None, name=name, tag=tag, digest=digest)


def _check_path(path: str) -> None:
    if not path:
        raise InvalidImageReferenceError("an image needs a name, such as nginx or ghcr.io/org/app")
    for part in path.split("/"):
        if _PATH_PART.fullmatch(part) is None:
            hint = "write it in lower case" if _PATH_PART.fullmatch(part.lower()) else _PATH_RULE
            raise InvalidImageReferenceError(f"{_shown(path)} is not an image name: {hint}")


_PATH_RULE = (
    "each part between slashes is letters a to z and digits, parted by single '.', one or two '_', or any number of '-'"
)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
