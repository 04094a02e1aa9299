"""The manifests of Kubernetes: valid by its schemas, and true of Holdfast: its settings, routes, ports, commands."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from holdfast.app import describe_api
from holdfast.cli.main import application
from holdfast.core.errors import InvalidInputError
from holdfast.db.address import parse_address
from holdfast.features.config_files.manifests import KINDS, parse_manifests
from holdfast.settings import Settings, load_settings
from holdfast.worker.registry import PERIODIC_JOBS

_FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
# The oldest and the newest release that the manifests are held against.
_RELEASES = ("1.28", kubernetes_validate.latest_version())
# Of programs beside Kubernetes, whose schemas are not its own.
_FOREIGN = {"kustomization.yaml", "prometheus.example.yaml"}
_SECRET = "a secret of the tests, long enough to be one"
# The server ends its requests within this time (holdfast.cli.serve).
_SHUTDOWN_SECONDS = 20

Manifest = dict[str, Any]


def _read(name: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all((_FOLDER / name).read_text(encoding="utf-8")) if each]


def _manifests() -> list[tuple[str, Manifest]]:
    """Each object, with its file."""
    return [(path.name, each) for path in sorted(_FOLDER.glob("*.yaml")) for each in _read(path.name)]


def _of_kind(kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for _, each in _manifests() if each["kind"] == kind}


def _one(kind: str) -> Manifest:
    (found,) = _of_kind(kind).values()
    return found


def _pods() -> dict[str, Manifest]:
    """The pod of each deployment, by the deployment's name."""
    return {name: each["spec"]["template"] for name, each in _of_kind("Deployment").items()}


def _containers() -> list[tuple[str, Manifest]]:
    return [
        (f"{name}/{container['name']}", container)
        for name, pod in _pods().items()
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])
    ]


@pytest.mark.parametrize("release", _RELEASES)
def test_kubernetes_knows_every_field(release: str) -> None:
    validated = 0
    for name, manifest in _manifests():
        if name not in _FOREIGN:
            kubernetes_validate.validate(manifest, release, strict=True)
            validated += 1
    assert validated >= 11


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    deployment = _of_kind("Deployment")["holdfast-server"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(deployment, _RELEASES[-1], strict=True)


def test_the_kustomization_names_every_file_but_the_examples() -> None:
    (kustomization,) = _read("kustomization.yaml")
    files = {path.name for path in _FOLDER.glob("*.yaml") if ".example." not in path.name} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    (image,) = kustomization["images"]
    assert {container["image"] for _, container in _containers()} == {image["name"]}
    assert kustomization["namespace"] == _one("Namespace")["metadata"]["name"]


def test_the_environment_is_one_that_holdfast_starts_with() -> None:
    secret = _one("Secret")["stringData"]
    given = {**_one("ConfigMap")["data"], **secret}
    with pytest.raises(InvalidInputError, match="HOLDFAST_SECRET"):
        load_settings(given)
    settings = load_settings(given | {"HOLDFAST_SECRET": _SECRET})
    assert settings.mode == "production"
    assert not settings.worker_in_server
    assert parse_address(settings.database_url).dialect_name == "postgresql"
    for name, container in _containers():
        sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
        assert sources == [_one("ConfigMap")["metadata"]["name"], _one("Secret")["metadata"]["name"]], name
    for name, pod in _pods().items():
        # A Service called holdfast would set HOLDFAST_PORT and others, with which no server starts.
        assert pod["spec"]["enableServiceLinks"] is False, name
    with pytest.raises(InvalidInputError):
        load_settings(given | {"HOLDFAST_SECRET": _SECRET, "HOLDFAST_SERVICE_HOST": "10.0.0.1"})


def test_the_pools_of_all_pods_fit_into_the_number_that_is_told() -> None:
    text = (_FOLDER / "configmap.yaml").read_text(encoding="utf-8")
    most = int(_one("ConfigMap")["data"]["HOLDFAST_POOL_MAX_OPEN"])
    surges = {
        name: each["spec"]["strategy"]["rollingUpdate"]["maxSurge"] for name, each in _of_kind("Deployment").items()
    }
    pods = sum(each["spec"]["replicas"] + surges[name] for name, each in _of_kind("Deployment").items())
    assert f"{pods} x {most} = {pods * most}" in text.replace("\n  # ", " ")


def test_commands_are_those_of_the_image() -> None:
    commands = get_command(application)
    names = set(commands.list_commands(None))  # type: ignore[attr-defined]
    for name, container in _containers():
        assert "command" not in container, f"{name}: the image has its entry point"
        assert container["args"][0] in names, name
    recipe = (_FOLDER.parent / "container" / "Containerfile").read_text(encoding="utf-8")
    user = _pods()["holdfast-server"]["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in recipe


@pytest.mark.parametrize("name", sorted(_pods()))
def test_pods_have_no_rights(name: str) -> None:
    spec = _pods()[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsUser"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in (*spec["initContainers"], *spec["containers"]):
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]["memory"]
        assert container["resources"]["limits"]["memory"]
        # Python and SQLite put temporary files there.
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert {"/tmp", _one("ConfigMap")["data"]["HOLDFAST_DATA_DIR"]} == set(mounts)  # noqa: S108
        assert set(mounts.values()) == {volume["name"] for volume in spec["volumes"]}
    claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
    assert claims == {_one("PersistentVolumeClaim")["metadata"]["name"]}
    assert _one("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert _one("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", sorted(_pods()))
def test_probes_point_at_routes_and_ports_that_there_are(name: str) -> None:
    routes = set(describe_api(Settings())["paths"])
    (container,) = _pods()[name]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens_on = int(_one("ConfigMap")["data"]["HOLDFAST_PORT"])
    if container["args"][0] == "worker":
        listens_on = int(container["args"][container["args"].index("--metrics-port") + 1])
    assert ports == {"http": listens_on}
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        assert path in routes
    # The one that restarts must not be the one that asks the database.
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] >= 30


def test_nothing_is_cut_off_at_the_end_of_a_pod() -> None:
    server = _pods()["holdfast-server"]["spec"]
    sleep = server["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep[0] == "sleep"
    assert server["terminationGracePeriodSeconds"] > int(sleep[1]) + _SHUTDOWN_SECONDS
    for name, deployment in _of_kind("Deployment").items():
        update = deployment["spec"]["strategy"]["rollingUpdate"]
        assert update == {"maxUnavailable": 0, "maxSurge": 1}, name
        assert deployment["spec"]["replicas"] >= 2, name


def test_budgets_let_a_node_be_drained_and_leave_one_pod() -> None:
    for name, deployment in _of_kind("Deployment").items():
        budget = _of_kind("PodDisruptionBudget")[name]["spec"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert budget["selector"]["matchLabels"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert 1 <= budget["maxUnavailable"] < deployment["spec"]["replicas"]


def test_requests_reach_the_servers_and_nothing_else() -> None:
    service = _one("Service")["spec"]
    reached = [
        name for name, pod in _pods().items() if service["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert reached == ["holdfast-server"]
    (port,) = service["ports"]
    assert port["targetPort"] == "http"
    ((rule,), backend) = (_one("Ingress")["spec"]["rules"], _one("Service")["metadata"]["name"])
    paths = {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
    assert paths == {"/api": {"name": backend, "port": {"name": port["name"]}}}
    policy = _one("NetworkPolicy")["spec"]
    for pod in _pods().values():
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    opened = {each["port"] for rule in policy["egress"] for each in rule["ports"]}
    assert {53, 5432, 3306, 443} == opened
    assert [each["port"] for each in policy["ingress"][0]["ports"]] == ["http"]


def test_prometheus_finds_every_pod_under_the_name_that_the_alerts_expect() -> None:
    (monitor,) = _read("prometheus.example.yaml")
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    for pod in _pods().values():
        labels = pod["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert labels[monitor["spec"]["jobLabel"]] == "holdfast"


def test_holdfast_itself_would_take_them_as_a_config_file() -> None:
    taken = []
    for path in sorted(_FOLDER.glob("*.yaml")):
        if all(manifest["kind"].lower() in KINDS for manifest in _read(path.name)):
            taken += [parsed.name for parsed in parse_manifests(path.read_text(encoding="utf-8"))]
    assert {"deployment/holdfast-server", "deployment/holdfast-worker", "service/holdfast"} <= set(taken)


def test_the_worker_does_by_itself_what_has_no_cron_job_here() -> None:
    assert not _of_kind("CronJob")
    for name in ("backup", "drill", "cleanup_soft_deleted", "cleanup_audit_logs"):
        assert any(name in job for job in PERIODIC_JOBS), name
