"""Whole files: the project's own examples, each of which says in its first line what it must give, and real ones."""

import re
from pathlib import Path

import pytest

from holdfast.features.config_files.errors import ManifestError
from holdfast.features.config_files.manifests import KINDS, ParsedResource, parse_manifests

PROJECT = Path(__file__).parents[3]
EXAMPLES = PROJECT / "tests" / "data" / "manifests"
ACCEPTED = sorted(EXAMPLES.glob("accepted/*.yaml"))
REFUSED = sorted(EXAMPLES.glob("refused/*.yaml"))
# A collection of manifests from kubernetes/examples, where it lies beside the project.
REAL = sorted((PROJECT.parent / "shared" / "data" / "manifests").glob("*"))


def file_name(path: Path) -> str:
    return path.stem


def test_the_examples_are_found() -> None:
    assert len(ACCEPTED) >= 6
    assert len(REFUSED) >= 14


@pytest.mark.conformance("F-01")
@pytest.mark.parametrize("path", ACCEPTED, ids=file_name)
def test_an_accepted_example_holds_the_resources_of_its_first_line(path: Path) -> None:
    text = path.read_text("utf-8")
    expected = text.splitlines()[0].removeprefix("# holds: ").split()
    assert [resource.name for resource in parse_manifests(text)] == expected


@pytest.mark.conformance("F-02", "F-03")
@pytest.mark.parametrize("path", REFUSED, ids=file_name)
def test_a_refused_example_gives_the_reason_of_its_first_line(path: Path) -> None:
    text = path.read_text("utf-8")
    with pytest.raises(ManifestError) as refusal:
        parse_manifests(text)
    expected = text.splitlines()[0].removeprefix("# refused: ")
    reason, more, count = expected.partition(" (and ")
    assert refusal.value.message.startswith(reason)
    assert refusal.value.message.endswith(more + count)


def parse_or_refuse(path: Path) -> list[ParsedResource] | ManifestError:
    try:
        return parse_manifests(path.read_text("utf-8"))
    except ManifestError as refusal:
        return refusal


@pytest.mark.skipif(not REAL, reason="the collection of real manifests does not lie beside the project")
@pytest.mark.conformance("F-01", "F-02", "F-03")
class TestRealManifests:
    def test_each_gives_resources_or_names_document_line_and_reason(self) -> None:
        for path in REAL:
            outcome = parse_or_refuse(path)
            if isinstance(outcome, ManifestError):
                assert re.match(r"document \d+, line \d+: .", outcome.message), path.name
            else:
                assert outcome, path.name

    def test_those_whose_kinds_are_allowed_are_accepted(self) -> None:
        """What is refused among the allowed kinds is wrong, a template of another tool, or reaches the host."""
        refused = {}
        for path in REAL:
            outcome = parse_or_refuse(path)
            kinds = set(re.findall(r"^kind: *(\S+)", path.read_text("utf-8"), re.MULTILINE))
            if isinstance(outcome, ManifestError) and kinds and kinds <= set(KINDS.values()):
                refused[path.name] = [problem.reason.split(";")[0] for problem in outcome.problems]
        privileged = ["a privileged container is not allowed in this project"]
        assert refused.pop("_archived__podsecuritypolicy__rbac__pod_priv.yaml") == privileged
        assert refused.pop("_archived__volumes__nfs__nfs-server-deployment.yaml") == privileged
        doubled = ["the key stands twice in one mapping"]
        assert refused.pop("_archived__volumes__scaleio__sc-pvc.yaml") == doubled
        assert refused.pop("_archived__openshift-origin__openshift-controller.yaml") == doubled
        template = refused.pop("_archived__storage__vitess__vttablet-pod-template.yaml")
        assert template[0].startswith("'vttablet-{{uid}}' is not a name for Kubernetes")
        assert refused == {}

    def test_their_resources_add_up(self) -> None:
        accepted = [outcome for outcome in map(parse_or_refuse, REAL) if isinstance(outcome, list)]
        assert (len(REAL), len(accepted)) == (129, 77)
        assert sum(map(len, accepted)) == 84
