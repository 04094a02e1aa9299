"""Image references in their normal form (spec: behaviour.md, Images)."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.features.images.errors import InvalidImageReferenceError
from holdfast.features.images.references import ImageReference, parse_image, parse_reference

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8

_parts = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
_registries = st.one_of(
    st.just("localhost"),
    st.from_regex(r"[a-z0-9]{1,9}(?:\.[a-z][a-z0-9]{0,9}){1,2}(?::[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,9}:[1-9][0-9]{0,3}", fullmatch=True),
)
_tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
_paths = (
    st.lists(_parts, min_size=1, max_size=4)
    .map("/".join)
    # Such a first part would be a registry.
    .filter(lambda path: "." not in path.split("/")[0] and not path.startswith("localhost"))
)


@pytest.mark.conformance("R-01", "F-09")
@pytest.mark.parametrize(
    "text",
    [
        "nginx",
        "nginx:latest",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx:latest",
        "index.docker.io/library/nginx",
        "registry-1.docker.io/library/nginx:latest",
        "DOCKER.IO/library/nginx",
    ],
)
def test_all_spellings_of_one_image_are_one(text: str) -> None:
    assert parse_reference(text) == ImageReference("docker.io", "library", "nginx", "latest")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("host:5000/img", ImageReference("host:5000", None, "img", None, None)),
        ("host:5000/img:1", ImageReference("host:5000", None, "img", "1", None)),
        ("localhost/img", ImageReference("localhost", None, "img", None, None)),
        ("localhost:80/a/b", ImageReference("localhost:80", "a", "b", None, None)),
        ("localhosts/img", ImageReference("docker.io", "localhosts", "img", None, None)),
        ("ghcr.io/org/sub/app:2", ImageReference("ghcr.io", "org/sub", "app", "2", None)),
        ("org/app", ImageReference("docker.io", "org", "app", None, None)),
        ("nginx:5000", ImageReference("docker.io", "library", "nginx", "5000", None)),
        (f"nginx@{SHA256}", ImageReference("docker.io", "library", "nginx", None, SHA256)),
        (f"quay.io/a/b:1@{SHA512}", ImageReference("quay.io", "a", "b", "1", SHA512)),
        ("a__b/c--d.e_f", ImageReference("docker.io", "a__b", "c--d.e_f", None, None)),
    ],
)
def test_a_reference_is_taken_apart(text: str, reference: ImageReference) -> None:
    assert parse_image(text) == reference


def test_a_digest_gets_no_default_tag() -> None:
    assert parse_reference(f"nginx@{SHA256}").tag is None


@pytest.mark.conformance("R-01")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nginx ",
        "nginx\n",
        "ngi\x00nx",
        "Nginx",
        "Org/app",
        "org/App",
        "ghcr.io/Org/app",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "_a",
        "a//b",
        "/a",
        "a/",
        "docker.io/",
        "ünicode",
        "nginx:",
        "nginx:.hidden",
        "nginx:-dash",
        "nginx:" + "t" * 129,
        "nginx:a/b",
        "nginx:1:2",
        "org/app:5000/more",
        "nginx@",
        "nginx@sha256:abc",
        "nginx@sha256:" + "G" * 64,
        "nginx@md5:" + "a" * 32,
        f"nginx@{SHA256}@{SHA256}",
        f"@{SHA256}",
        "https://ghcr.io/org/app",
        "host:99999/img",
        "host:0/img",
        "host:/img",
        "-host.io/img",
        "ho st.io/img",
        "under_score.io/img",
        "\u212a.io/img",
        "a" * 256,
        "/".join(["abcdefgh"] * 29),
        ("h" * 63 + ".") * 4 + "io/img",
        "a" * 100_000,
    ],
)
def test_what_names_no_image_is_refused(text: str) -> None:
    with pytest.raises(InvalidImageReferenceError) as caught:
        parse_reference(text)
    assert caught.value.status == 400
    assert len(caught.value.message) < 400


def test_capitals_in_a_name_are_answered_with_what_to_do() -> None:
    with pytest.raises(InvalidImageReferenceError, match="lower case"):
        parse_reference("Nginx")


@pytest.mark.parametrize(
    ("image_name", "registry", "tag", "full"),
    [
        ("nginx", None, None, "docker.io/library/nginx"),
        ("nginx", "docker.io", "1.27", "docker.io/library/nginx:1.27"),
        ("nginx", "index.docker.io", None, "docker.io/library/nginx"),
        ("nginx", "ghcr.io", None, "ghcr.io/nginx"),
        ("ghcr.io/org/app", "GHCR.io", "2", "ghcr.io/org/app:2"),
        ("ghcr.io/org/app:2", "ghcr.io", "2", "ghcr.io/org/app:2"),
        ("docker.io/nginx", "registry-1.docker.io", None, "docker.io/library/nginx"),
    ],
)
def test_separate_fields_and_a_whole_reference_agree(
    image_name: str, registry: str | None, tag: str | None, full: str
) -> None:
    assert str(parse_image(image_name, registry=registry, tag=tag)) == full


@pytest.mark.parametrize(
    ("image_name", "registry", "tag"),
    [
        ("ghcr.io/org/app", "quay.io", None),
        ("nginx:1", None, "2"),
        ("nginx", "myregistry", None),
        ("nginx", "", None),
        ("nginx", "ghcr.io/org", None),
        ("nginx", None, ""),
    ],
)
def test_fields_that_disagree_or_mean_nothing_are_refused(
    image_name: str, registry: str | None, tag: str | None
) -> None:
    with pytest.raises(InvalidImageReferenceError):
        parse_image(image_name, registry=registry, tag=tag)


@given(
    registry=st.none() | _registries,
    path=_paths,
    tag=st.none() | _tags,
    digest=st.none() | st.sampled_from([SHA256, SHA512]),
)
def test_every_valid_reference_reads_back_from_its_text(
    registry: str | None, path: str, tag: str | None, digest: str | None
) -> None:
    text = path if registry is None else f"{registry}/{path}"
    text += "" if tag is None else f":{tag}"
    text += "" if digest is None else f"@{digest}"
    reference = parse_reference(text)
    assert parse_reference(str(reference)) == reference
    assert reference.digest == digest
    assert reference.tag == (tag or ("latest" if digest is None else None))
    assert len(reference.full_name) <= 512
    assert parse_image(reference.path, registry=reference.registry).full_name == reference.full_name


@given(st.text(max_size=80) | st.text(alphabet=string.ascii_letters + string.digits + "./:@-_", max_size=300))
def test_any_text_is_an_image_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidImageReferenceError:
        return
    assert parse_reference(str(reference)) == reference
    assert "." in reference.registry or ":" in reference.registry or reference.registry == "localhost"
    assert str(reference).isascii()
