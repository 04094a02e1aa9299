"""Manifests to resources: what is kept of each, and every rule that refuses one."""

import json
import textwrap
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.features.config_files.errors import MAX_PROBLEMS, ManifestError
from holdfast.features.config_files.manifests import (
    KINDS,
    MAX_REFERENCE,
    MAX_RESOURCES,
    ParsedResource,
    parse_manifests,
)

POD_CARRIERS: dict[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}


def manifest(kind: str = "ConfigMap", name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def carrying(kind: str, pod_spec: Any) -> dict[str, Any]:
    """A manifest of the kind whose pods have the spec."""
    nested = pod_spec
    for key in reversed(POD_CARRIERS[kind]):
        nested = {key: nested}
    return manifest(kind, **nested)


def parse(*objects: Any, allow_privileged: bool = False) -> list[ParsedResource]:
    """JSON is YAML, but for escaped surrogate pairs."""
    text = "\n---\n".join(json.dumps(value, ensure_ascii=False) for value in objects)
    return parse_manifests(text, allow_privileged=allow_privileged)


def refuse(*objects: Any) -> list[str]:
    with pytest.raises(ManifestError) as refusal:
        parse(*objects)
    return [f"{problem.path}: {problem.reason}" for problem in refusal.value.problems]


@pytest.mark.conformance("F-01")
def test_a_document_becomes_a_resource() -> None:
    text = "# course\n---\n# web\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata: {b: '1', a: é}\n"
    resource = parse_manifests(text)[0]
    assert resource == ParsedResource(
        type="configmap",
        name="configmap/web",
        document=1,
        line=4,
        parsed={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"b": "1", "a": "é"}},
    )
    assert resource.to_canonical_json() == (
        '{"apiVersion":"v1","data":{"a":"é","b":"1"},"kind":"ConfigMap","metadata":{"name":"web"}}'.encode()
    )


@pytest.mark.conformance("F-01")
@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_is_stored_under_its_lower_case_name(kind: str) -> None:
    assert [(resource.type, resource.name) for resource in parse(manifest(kind))] == [
        (kind.lower(), f"{kind.lower()}/web")
    ]


def test_a_kind_is_known_in_any_case_and_kept_as_kubernetes_spells_it() -> None:
    resource = parse(manifest("statefulSET"))[0]
    assert (resource.type, resource.parsed["kind"]) == ("statefulset", "StatefulSet")


@pytest.mark.conformance("F-03")
def test_two_kinds_may_share_a_name_but_two_of_a_kind_may_not() -> None:
    assert len(parse(manifest("Service"), manifest("Deployment"), manifest("Service", "other"))) == 3
    with pytest.raises(
        ManifestError,
        match=r"^document 3, line 5: metadata\.name: service/web stands twice in this file; first in document 1",
    ):
        parse(manifest("Service"), manifest("Deployment"), manifest("service"))


@pytest.mark.conformance("F-02", "F-03")
@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"kind": "Pod", "metadata": {"name": "a"}}, ": apiVersion is missing"),
        ({**manifest(), "apiVersion": ""}, ": apiVersion is missing"),
        ({**manifest(), "apiVersion": 1}, "apiVersion: must be a text, but is a number; put it in quotes"),
        ({**manifest(), "apiVersion": "a/b/c"}, "apiVersion: 'a/b/c' is not a version such as v1 or apps/v1"),
        ({**manifest(), "apiVersion": "/v1"}, "apiVersion: '/v1' is not a version"),
        (
            {**manifest("Job"), "apiVersion": "batch.volcano.sh/v1alpha1"},
            "apiVersion: a Job of the group batch.volcano",
        ),
        ({"apiVersion": "v1", "metadata": {"name": "a"}}, ": kind is missing"),
        ({**manifest(), "kind": None}, ": kind is missing"),
        ({**manifest(), "kind": ["Pod"]}, "kind: must be a text, but is a list"),
        (manifest("DaemonSet"), "kind: the kind DaemonSet is not allowed; allowed are Pod, Service"),
        (manifest("Secret"), "kind: the kind Secret is not allowed"),
        ({"apiVersion": "v1", "kind": "Pod"}, ": metadata.name is missing"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": None}, ": metadata.name is missing"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": "web"}, "metadata: must be a mapping, but is a text"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, "metadata: metadata.name is missing"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": ""}}, "metadata: metadata.name is missing"),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 5}},
            "metadata.name: must be a text, but is a number",
        ),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}, "generateName cannot stand for it"),
        ([manifest()], ": must be a mapping, but is a list"),
        ("web", ": must be a mapping, but is a text"),
        (True, ": must be a mapping, but is true or false"),
        (0, ": must be a mapping, but is a number"),
    ],
)
def test_a_document_without_identity_is_refused(document: Any, problem: str) -> None:
    problems = refuse(document)
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize("name", ["a", "web-1", "a.b-c.d", "0", "a" * 253, "{{username}}", "x-{{safeUsername}}.y"])
def test_names_for_kubernetes_are_accepted(name: str) -> None:
    resource = parse(manifest("PersistentVolumeClaim", name))[0]
    assert resource.name == f"persistentvolumeclaim/{name}"
    assert len(resource.name) <= MAX_REFERENCE


@pytest.mark.parametrize(
    "name", ["Web", "a_b", "-a", "a-", "a..b", ".a", "a/b", "a b", "é", "a" * 254, "{{uid}}", "a\n", "{{username}}-"]
)
def test_names_that_kubernetes_refuses_are_refused(name: str) -> None:
    assert "is not a name for Kubernetes" in refuse(manifest(name=name))[0]


@pytest.mark.parametrize("text", ["", "---", "# nothing", "---\n---\n"])
@pytest.mark.conformance("F-02")
def test_a_file_without_documents_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match=r"^document 1, line 1: the file holds no document$"):
        parse_manifests(text)


class TestLists:
    def test_nested_lists_are_opened_and_items_know_their_line(self) -> None:
        text = textwrap.dedent("""\
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: a}
            ---
            apiVersion: v1
            kind: List
            items:
              - apiVersion: v1
                kind: ServiceList
                items:
                  - {apiVersion: v1, kind: Service, metadata: {name: b}}
              - apiVersion: v1
                kind: ConfigMap
                metadata: {name: c}
            """)
        found = [(resource.name, resource.document, resource.line) for resource in parse_manifests(text)]
        assert found == [("configmap/a", 1, 2 - 1), ("service/b", 2, 11), ("configmap/c", 2, 12)]

    @pytest.mark.parametrize(
        ("document", "problem"),
        [
            ({"apiVersion": "v1", "kind": "List", "items": []}, ": the file holds no resource"),
            ({"apiVersion": "v1", "kind": "List"}, ": the file holds no resource"),
            ({"apiVersion": "v1", "kind": "List", "items": {}}, "items: must be a list, but is a mapping"),
            ({"apiVersion": "v1", "kind": "List", "items": [None]}, "items[0]: must be a mapping, but is empty"),
            ({"kind": "List", "items": [manifest()]}, ": apiVersion is missing"),
            ({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}]}, "items[0]: apiVersion is missing"),
            ({"apiVersion": "v1", "kind": "List", "items": [manifest("Role")]}, "items[0].kind: the kind Role is not"),
        ],
    )
    def test_a_list_that_holds_nothing_of_use_is_refused(self, document: Any, problem: str) -> None:
        assert refuse(document)[0].startswith(problem)

    def test_rules_reach_the_items(self) -> None:
        pod = carrying("CronJob", {"hostIPC": True})
        path = "items[1].spec.jobTemplate.spec.template.spec.hostIPC"
        assert refuse({"apiVersion": "v1", "kind": "List", "items": [manifest(), pod]}) == [
            f"{path}: sharing the host's namespace is not allowed in this project"
        ]

    def test_a_file_holds_a_bounded_number_of_resources(self) -> None:
        items = [manifest(name=f"n{number}") for number in range(MAX_RESOURCES + 1)]
        assert len(parse({"apiVersion": "v1", "kind": "List", "items": items[1:]})) == MAX_RESOURCES
        assert "more than 500 resources" in refuse({"apiVersion": "v1", "kind": "List", "items": items})[0]


@pytest.mark.conformance("F-02", "F-13")
@pytest.mark.parametrize("kind", POD_CARRIERS)
class TestEveryPodCarryingKind:
    def refuse(self, kind: str, pod_spec: Any) -> list[str]:
        """The problems, with paths from the pod spec on."""
        prefix = ".".join(POD_CARRIERS[kind])
        problems = refuse(carrying(kind, pod_spec))
        assert all(problem.startswith(prefix) for problem in problems)
        return [problem.removeprefix(prefix).removeprefix(".") for problem in problems]

    @pytest.mark.parametrize("list_name", ["containers", "initContainers"])
    @pytest.mark.parametrize(
        ("name", "request_", "limit"),
        [
            ("cpu", "2", "1500m"),
            ("cpu", 1, 0.5),
            ("memory", "1Gi", "1G"),
            ("ephemeral-storage", "1k", 999),
            ("hugepages-2Mi", "4Mi", "2Mi"),
        ],
    )
    def test_a_limit_below_its_request_is_refused(
        self, kind: str, list_name: str, name: str, request_: Any, limit: Any
    ) -> None:
        resources = {"requests": {name: request_}, "limits": {name: limit}}
        assert self.refuse(kind, {list_name: [{"name": "a"}, {"resources": resources}]}) == [
            f"{list_name}[1].resources.limits.{name}: the limit {limit} is below the request {request_} (line 1)"
        ]

    @pytest.mark.parametrize("amount", ["lots", "", "1 Gi", None, True, [], {"a": 1}, "-1", -0.5, "100E"])
    def test_an_amount_that_is_none_is_refused(self, kind: str, amount: Any) -> None:
        for part in ("requests", "limits"):
            problems = self.refuse(kind, {"containers": [{"resources": {part: {"memory": amount}}}]})
            assert len(problems) == 1
            assert problems[0].startswith(f"containers[0].resources.{part}.memory: ")

    def test_reaching_the_host_is_refused_unless_the_project_allows_it(self, kind: str) -> None:
        host_process = {"windowsOptions": {"hostProcess": True}}
        spec = {
            **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC"), True),
            "securityContext": host_process,
            "containers": [{"securityContext": {"privileged": True}}],
            "initContainers": [{"securityContext": {"privileged": True}}],
            "ephemeralContainers": [{"securityContext": {"privileged": True, **host_process}}],
            "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
        }
        assert {problem.split(":")[0] for problem in self.refuse(kind, spec)} == {
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "securityContext.windowsOptions.hostProcess",
            "containers[0].securityContext.privileged",
            "initContainers[0].securityContext.privileged",
            "ephemeralContainers[0].securityContext.privileged",
            "ephemeralContainers[0].securityContext.windowsOptions.hostProcess",
            "volumes[0].hostPath",
        }
        assert len(parse(carrying(kind, spec), allow_privileged=True)) == 1

    def test_not_reaching_the_host_may_be_said(self, kind: str) -> None:
        context = {"privileged": False, "runAsUser": 0, "allowPrivilegeEscalation": True}
        spec = {"hostNetwork": False, "containers": [{"securityContext": context}], "volumes": [{"hostPath": None}]}
        assert len(parse(carrying(kind, spec))) == 1

    @pytest.mark.parametrize(
        ("pod_spec", "problem"),
        [
            ({"containers": None}, ": containers must be a list, but is empty"),
            ({"containers": "x"}, "containers: must be a list, but is a text"),
            ({"containers": {}}, "containers: must be a list, but is a mapping"),
            ({"containers": [None]}, "containers[0]: must be a mapping, but is empty"),
            ({"containers": [[]]}, "containers[0]: must be a mapping, but is a list"),
            ({"initContainers": 5}, "initContainers: must be a list, but is a number"),
            ({"containers": [{"resources": "x"}]}, "containers[0].resources: must be a mapping, but is a text"),
            ({"containers": [{"resources": {"limits": []}}]}, "containers[0].resources.limits: must be a mapping"),
            ({"containers": [{"securityContext": []}]}, "containers[0].securityContext: must be a mapping"),
            (
                {"containers": [{"securityContext": {"privileged": "yes"}}]},
                "containers[0].securityContext.privileged: must be true or false, without quotes, but is a text",
            ),
            ({"hostNetwork": 1}, "hostNetwork: must be true or false"),
            ({"containers": [{"image": 7}]}, "containers[0].image: must be a text, but is a number"),
            ({"containers": [{"image": " "}]}, "containers[0].image: image must not be empty"),
            ({"containers": [{"volumeMounts": {}}]}, "containers[0].volumeMounts: must be a list"),
            ({"containers": [{"volumeMounts": [{"subPath": 1}]}]}, "containers[0].volumeMounts[0].subPath: must be a"),
            (
                {"ephemeralContainers": [{"volumeMounts": [{"subPath": "/etc"}]}]},
                "ephemeralContainers[0].volumeMounts[0].subPath: subPath must be a relative path, but begins with /",
            ),
            (
                {"containers": [{"volumeMounts": [{"subPathExpr": "a/../b"}]}]},
                "containers[0].volumeMounts[0].subPathExpr: subPathExpr must not hold '..'",
            ),
            ({"volumes": "x"}, "volumes: must be a list, but is a text"),
            ({"volumes": [{"emptyDir": {"sizeLimit": "big"}}]}, "volumes[0].emptyDir.sizeLimit: 'big' is not a"),
            ({"volumes": [{"image": {"reference": ""}}]}, "volumes[0].image.reference: reference must not be empty"),
            ({"volumes": [{"persistentVolumeClaim": None}]}, "volumes[0]: persistentVolumeClaim needs a claimName"),
            ({"volumes": [{"persistentVolumeClaim": {}}]}, "volumes[0].persistentVolumeClaim: the claim's name"),
            (
                {"volumes": [{"persistentVolumeClaim": {"claimName": " "}}]},
                "volumes[0].persistentVolumeClaim.claimName: the claim's name (claimName) must not be empty",
            ),
            (
                {"volumes": [{"persistentVolumeClaim": {"claimName": 3}}]},
                "volumes[0].persistentVolumeClaim.claimName: must be a text, but is a number; put it in quotes",
            ),
            (
                {
                    "volumes": [
                        {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "x"}}}}}}
                    ]
                },
                "volumes[0].ephemeral.volumeClaimTemplate.spec.resources.requests.storage: 'x' is not a quantity",
            ),
            ({"resources": {"limits": {"cpu": "x"}}}, "resources.limits.cpu: 'x' is not a quantity"),
            (
                {"containers": [{"env": [{"valueFrom": {"resourceFieldRef": {"divisor": "x"}}}]}]},
                "containers[0].env[0].valueFrom.resourceFieldRef.divisor: 'x' is not a quantity",
            ),
        ],
    )
    def test_what_kubernetes_could_not_read_is_refused(self, kind: str, pod_spec: Any, problem: str) -> None:
        problems = self.refuse(kind, pod_spec)
        assert len(problems) == 1
        assert problems[0].startswith(problem)

    @pytest.mark.parametrize("spec", [3, "x", [], True])
    def test_a_spec_of_the_wrong_type_is_refused(self, kind: str, spec: Any) -> None:
        assert refuse(carrying(kind, spec))[0].startswith(".".join(POD_CARRIERS[kind]) + ": must be a mapping, but is")
        assert refuse(manifest(kind, spec=spec))[0].startswith("spec: must be a mapping, but is")

    @pytest.mark.conformance("F-09")
    def test_the_images_of_all_containers_and_volumes_are_found(self, kind: str) -> None:
        spec = {
            "containers": [{"image": "nginx"}, {"image": "host:5000/img"}, {"name": "without"}],
            "initContainers": [{"image": "busybox"}, {"image": "nginx"}],
            "ephemeralContainers": [{"image": "debug@sha256:0"}],
            "volumes": [{"image": {"reference": "models:v1"}}, {"persistentVolumeClaim": {"claimName": "home"}}],
        }
        for document in (carrying(kind, spec), {"apiVersion": "v1", "kind": "List", "items": [carrying(kind, spec)]}):
            resource = parse(document)[0]
            assert resource.images == ("busybox", "nginx", "host:5000/img", "debug@sha256:0", "models:v1")
            assert resource.claim_names == ("home",)

    @pytest.mark.conformance("F-12")
    @pytest.mark.parametrize(
        ("resources", "problem"),
        [
            ({"requests": {"nvidia.com/gpu": 1}}, "requests: needs a limit of the same amount"),
            (
                {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}},
                "requests: request and limit must be",
            ),
            (
                {"requests": {"amd.com/gpu": 2}, "limits": {"amd.com/gpu": 1}},
                "requests: request and limit must be equal",
            ),
            ({"limits": {"nvidia.com/gpu": "500m"}}, "limits: nvidia.com/gpu can only be given in whole numbers"),
            ({"limits": {"nvidia.com/gpu": -1}}, "limits: an amount cannot be negative"),
            ({"limits": {"nvidia.com/gpu": "one"}}, "limits: 'one' is not a quantity"),
        ],
    )
    def test_gpus_are_whole_and_never_shared(self, kind: str, resources: Any, problem: str) -> None:
        problems = self.refuse(kind, {"containers": [{"resources": resources}]})
        assert len(problems) == 1
        part, reason = problem.split(": ")
        assert problems[0].startswith(f"containers[0].resources.{part}")
        assert reason in problems[0]

    @pytest.mark.conformance("F-12")
    def test_the_gpus_of_a_pod_are_those_that_run_together(self, kind: str) -> None:
        def gpus(number: int, **fields: Any) -> dict[str, Any]:
            return {"resources": {"limits": {"nvidia.com/gpu": number, "cpu": 9}}, **fields}

        assert parse(carrying(kind, {"containers": [gpus(1), gpus(2)]}))[0].gpus == 3
        assert parse(carrying(kind, {"containers": [gpus(1)], "initContainers": [gpus(4), gpus(3)]}))[0].gpus == 4
        sidecar = gpus(2, restartPolicy="Always")
        assert parse(carrying(kind, {"containers": [gpus(1)], "initContainers": [sidecar, gpus(3)]}))[0].gpus == 5


@pytest.mark.conformance("F-12")
def test_gpus_are_counted_for_all_pods_that_run_at_once() -> None:
    container = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    template = {"template": {"spec": {"containers": [container]}}}
    assert parse(manifest("Deployment", spec={"replicas": 3, **template}))[0].gpus == 6
    assert parse(manifest("StatefulSet", spec={"replicas": 0, **template}))[0].gpus == 0
    assert parse(manifest("Job", spec={"parallelism": 4, **template}))[0].gpus == 8
    assert parse(manifest("CronJob", spec={"jobTemplate": {"spec": {"parallelism": 2, **template}}}))[0].gpus == 4
    assert refuse(manifest("Deployment", spec={"replicas": 2**31 - 1, **template})) == [
        ": asks for 4,294,967,294 GPUs in all"
    ]
    for replicas in (-1, 2**31, "3", 1.5, True):
        assert refuse(manifest("Deployment", spec={"replicas": replicas, **template}))[0].startswith("spec.replicas: ")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (
            manifest(
                "PersistentVolumeClaim", spec={"resources": {"requests": {"storage": "2Gi"}, "limits": {"storage": 1}}}
            ),
            "spec.resources.limits.storage: the limit 1 is below the request 2Gi (line 1)",
        ),
        (
            manifest("StatefulSet", spec={"volumeClaimTemplates": [{"metadata": {"name": ""}}]}),
            "spec.volumeClaimTemplates[0].metadata: metadata.name is missing",
        ),
        (
            manifest("StatefulSet", spec={"volumeClaimTemplates": [{}]}),
            "spec.volumeClaimTemplates[0]: metadata.name is missing",
        ),
        (
            manifest(
                "StatefulSet",
                spec={
                    "volumeClaimTemplates": [
                        {"metadata": {"name": "a"}, "spec": {"resources": {"requests": {"storage": "x"}}}}
                    ]
                },
            ),
            "spec.volumeClaimTemplates[0].spec.resources.requests.storage: 'x' is not a quantity",
        ),
    ],
)
def test_claims_have_names_and_amounts(document: Any, problem: str) -> None:
    problems = refuse(document)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_all_problems_come_in_one_answer_in_file_order() -> None:
    text = textwrap.dedent("""\
        kind: Pod
        metadata: {name: A}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: a}
        spec:
          containers:
            - resources: {limits: {cpu: x}, requests: {memory: y}}
        ---
        a: [
        """)
    with pytest.raises(ManifestError) as refusal:
        parse_manifests(text)
    places = [(problem.document, problem.line, problem.path) for problem in refusal.value.problems]
    assert places == [
        (1, 1, ""),
        (1, 2, "metadata.name"),
        (2, 9, "spec.containers[0].resources.limits.cpu"),
        (2, 9, "spec.containers[0].resources.requests.memory"),
        (3, 11, "a"),
    ]
    assert refusal.value.message == "document 1, line 1: apiVersion is missing (and 4 more)"
    assert refusal.value.status == 422
    assert refusal.value.details["errors"][1] == {
        "document": 1,
        "line": 2,
        "path": "metadata.name",
        "reason": refusal.value.problems[1].reason,
    }


def test_an_answer_holds_a_bounded_number_of_problems() -> None:
    containers = [{"image": 5} for _ in range(3 * MAX_PROBLEMS)]
    assert len(refuse(carrying("Pod", {"containers": containers}))) == MAX_PROBLEMS


def parse_or_refuse(text: str) -> list[ParsedResource] | ManifestError:
    try:
        return parse_manifests(text)
    except ManifestError as refusal:
        return refusal


def check_outcome(text: str) -> None:
    """Whatever the text: resources that can be stored, or a refusal that names document, line and reason."""
    outcome = parse_or_refuse(text)
    assert outcome
    if isinstance(outcome, list):
        for resource in outcome:
            assert msgspec.json.decode(resource.to_canonical_json()) == resource.parsed
        return
    assert msgspec.json.encode(outcome.details)
    for problem in outcome.problems:
        assert problem.document >= 1
        assert 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.reason


YAML_PIECES = st.sampled_from(
    [
        *("apiVersion: v1\n", "kind: Pod\n", "kind: List\n", "metadata: {name: a}\n", "metadata:\n", "  name: b\n"),
        *("spec:\n", "  containers:\n", "  - ", "image: x\n", "resources: {limits: {cpu: 1}}\n", "items:\n", "---\n"),
        *("...\n", "&a ", "*a", "<<: *a\n", "!!str ", "!x ", "|\n", ">-\n", "? ", ": ", "- ", "[", "]", "{", "}", ","),
        *("'", '"', "\\", "#", "%YAML 1.1\n", "%TAG ! x\n", "\t", "\n", " ", "\r\n", "\ufeff", "\x85", "\0", "\x07"),
        *("{{username}}", "~", "yes", "0x1F", ".inf", "1e999", "é", "😀", "\ud800", '"\\0"', '"\\x41"', "@", "`"),
    ]
)


@pytest.mark.conformance("F-02")
@given(st.lists(YAML_PIECES | st.text(max_size=3), max_size=40).map("".join) | st.text())
@example("a: &a [*a]\n{")
@example("? {{x}}\n: - [}")
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    check_outcome(text)


FIELDS = st.sampled_from(
    [
        *("apiVersion", "kind", "metadata", "name", "spec", "template", "jobTemplate", "containers", "initContainers"),
        *(
            "ephemeralContainers",
            "resources",
            "limits",
            "requests",
            "cpu",
            "nvidia.com/gpu",
            "securityContext",
            "image",
        ),
        *(
            "privileged",
            "volumes",
            "volumeMounts",
            "subPath",
            "hostPath",
            "persistentVolumeClaim",
            "claimName",
            "items",
        ),
        *(
            "volumeClaimTemplates",
            "replicas",
            "parallelism",
            "emptyDir",
            "sizeLimit",
            "hostNetwork",
            "env",
            "valueFrom",
        ),
    ]
)
LEAVES = st.sampled_from(["v1", "Pod", "List", "a", "1Gi", "", 0, 1, -1, 0.5, 2**63, True, False, None]) | st.text()
STRUCTURES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6), max_leaves=25
)
POD_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(
            st.dictionaries(st.sampled_from(["image", "resources", "securityContext", "volumeMounts"]), STRUCTURES),
            max_size=2,
        )
        | STRUCTURES,
        "volumes": STRUCTURES | st.lists(st.dictionaries(FIELDS, STRUCTURES, max_size=3), max_size=2),
        "initContainers": STRUCTURES,
        "securityContext": STRUCTURES,
    },
)


@pytest.mark.conformance("F-02")
@given(STRUCTURES)
def test_no_structure_raises_anything_but_a_refusal(document: Any) -> None:
    check_outcome(json.dumps(document, ensure_ascii=False))


@pytest.mark.conformance("F-02")
@given(st.sampled_from(list(POD_CARRIERS)), POD_SPECS | STRUCTURES)
def test_no_pod_spec_raises_anything_but_a_refusal(kind: str, pod_spec: Any) -> None:
    check_outcome(json.dumps(carrying(kind, pod_spec), ensure_ascii=False))


@pytest.mark.conformance("F-01")
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["C"])), st.text(st.characters(exclude_categories=["C"])))
)
def test_what_a_document_says_is_what_is_kept(data: dict[str, str]) -> None:
    document = manifest(data=data)
    assert parse(document)[0].parsed == document
