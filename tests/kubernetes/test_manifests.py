"""docs/deploy/kubernetes: rendered by kustomize, against the published schemas and against Muster itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # `make kubernetes` puts it on the path
import pytest
import yaml

from shared.settings import CoordinatorSettings, ModelSettings, SearchSettings, Settings, WorkerSettings, fields
from shared.version import VERSION
from tests.support import fakes
from tests.support.fakes import Network, Suite

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "deploy" / "kubernetes"
KUBECTL = ROOT / "build" / "kubernetes" / "bin" / "kubectl"
KUSTOMIZATIONS = ("base", "production")
OLDEST = "1.30"  # as the page says
SERVICES = ("coordinator", "researcher", "analyzer", "reporter")
KINDS: dict[str, tuple[type[Settings], ...]] = {
    "coordinator": (CoordinatorSettings, ModelSettings),
    "researcher": (WorkerSettings, SearchSettings, ModelSettings),
    "analyzer": (WorkerSettings, ModelSettings),
    "reporter": (WorkerSettings, ModelSettings),
}
HELPERS = {"POD_IP"}  # what only other variables are made of

Resource = dict[str, Any]


def render(name: str) -> list[Resource]:
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(FOLDER / name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # what kustomize will not take for ever
    return list(yaml.safe_load_all(done.stdout))


RENDERED = {name: render(name) for name in KUSTOMIZATIONS}
EVERY = [
    pytest.param(resource, id=f"{name}-{resource['kind']}-{resource['metadata']['name']}")
    for name, resources in RENDERED.items()
    for resource in resources
]
PODS = [
    pytest.param(resource, id=f"{name}-{resource['metadata']['name']}")
    for name, resources in RENDERED.items()
    for resource in resources
    if resource["kind"] == "Deployment"
]


def find(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def spec_of(deployment: Resource) -> tuple[Resource, Resource]:
    """The pod's spec, and its container's."""
    pod: Resource = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def selectors(resource: Resource) -> Iterator[dict[str, str]]:
    """Every selector of pods in the same namespace, wherever it stands."""
    for key, value in resource.items():
        values = value if isinstance(value, list) else [value]
        if key in ("podSelector", "labelSelector", "selector") and isinstance(value, dict):
            labels = value.get("matchLabels", {} if key != "selector" else value)
            if not any(name.startswith("muster-") for name in labels):  # of others' pods
                yield labels
            continue
        for each in values:
            if isinstance(each, dict):
                yield from selectors(each)


def is_in(labels: dict[str, str], of: dict[str, str]) -> bool:
    return labels.items() <= of.items()


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", EVERY)
def test_resource_fits_the_published_schema(resource: Resource, version: str) -> None:
    """Strictly: a field that Kubernetes does not know is refused."""
    kubernetes_validate.validate(resource, version, strict=True)


def test_an_unknown_field_would_be_refused() -> None:
    resource = find(RENDERED["base"], "Deployment")["coordinator"]
    wrong = {**resource, "spec": {**resource["spec"], "replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_the_page_names_the_oldest_version() -> None:
    assert f"Kubernetes {OLDEST} or newer" in (FOLDER / "README.md").read_text()


def test_every_file_is_used() -> None:
    """By a kustomization that a rendered one leads to, or by a person: then the page names it."""
    page, seen = (FOLDER / "README.md").read_text(), {FOLDER / "README.md"}
    waiting = [FOLDER / name for name in KUSTOMIZATIONS]
    while waiting:
        folder = waiting.pop().resolve()
        seen.add(folder / "kustomization.yaml")
        read = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = [*read.get("resources", []), *read.get("components", [])]
        named += [patch["path"] for patch in read.get("patches", []) if "path" in patch]
        named += [env for made in read.get("configMapGenerator", []) for env in made.get("envs", [])]
        for path in (folder / name for name in named):
            waiting.append(path) if path.is_dir() else seen.add(path)
    rest = {path for path in FOLDER.rglob("*") if path.is_file()} - seen

    assert sorted(path.name for path in rest if path.name not in page) == []
    assert {path.resolve() for path in seen} >= set(FOLDER.rglob("kustomization.yaml"))


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_selectors_and_targets_are_there(name: str) -> None:
    """A selector that matches no pod is no error to Kubernetes: a policy would guard nothing."""
    resources = RENDERED[name]
    deployments = find(resources, "Deployment")
    pods = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in deployments.values()]

    assert set(deployments) == set(SERVICES)
    assert [labels for each in resources for labels in selectors(each) if not any(is_in(labels, p) for p in pods)] == []
    for deployment in deployments.values():
        own = deployment["spec"]["selector"]["matchLabels"]
        assert sum(is_in(own, labels) for labels in pods) == 1
    for service in find(resources, "Service").values():
        behind = [d for d in deployments.values() if is_in(service["spec"]["selector"], labels_of(d))]
        (port,) = service["spec"]["ports"]
        assert {p["name"]: p["containerPort"] for d in behind for p in spec_of(d)[1]["ports"]} == {
            port["targetPort"]: port["port"]
        }
    for scaler in find(resources, "HorizontalPodAutoscaler").values():
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    for ingress in find(resources, "Ingress").values():
        (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
        assert path["backend"]["service"]["name"] in find(resources, "Service")
    budgets = find(resources, "PodDisruptionBudget")
    assert set(budgets) == set(SERVICES)


def labels_of(deployment: Resource) -> dict[str, str]:
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


@pytest.mark.parametrize("deployment", PODS)
def test_pod_is_locked_down(deployment: Resource) -> None:
    """As hard as the containers of the compose file, and as the namespace demands."""
    pod, container = spec_of(deployment)

    assert pod["securityContext"]["runAsNonRoot"]
    assert f"--uid {pod['securityContext']['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert container["resources"]["limits"]["memory"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("deployment", PODS)
def test_image_is_of_this_version(deployment: Resource) -> None:
    assert re.fullmatch(rf"([\w.]+/)?muster:{re.escape(VERSION)}", spec_of(deployment)[1]["image"])


@pytest.mark.parametrize("deployment", PODS)
async def test_probes_ask_routes_that_exist(deployment: Resource) -> None:
    """Without a key, at the port where the service listens."""
    _, container = spec_of(deployment)
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}

    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/health",
        "liveness": "/health",
        "readiness": "/ready",
    }
    assert {probe["port"] for probe in probes.values()} == {container["ports"][0]["name"]}
    async with Suite(Network(), fakes.RESEARCHER, api_key="a-key-of-the-coordinator") as suite:
        for probe in probes.values():
            assert (await suite.client.get(probe["path"], headers={"Authorization": ""})).status_code == 200


@pytest.mark.parametrize("deployment", PODS)
def test_environment_is_settings_that_load(deployment: Resource, tmp_path: Path, monkeypatch: Any) -> None:
    """Each is one of this service's, and none of them is refused."""
    name = deployment["metadata"]["name"]
    resources = next(r for r in RENDERED.values() if deployment in r)
    _, container = spec_of(deployment)
    maps = find(resources, "ConfigMap")
    env = {}
    for source in container["envFrom"]:
        env |= maps[source["configMapRef"]["name"]]["data"]
    env |= {each["name"]: each.get("value", "postgresql://muster@db/muster") for each in container["env"]}
    known = {field.upper() for kind in KINDS[name] for field in fields(kind)}
    known |= {f"{field}_FILE" for field in known} | HELPERS
    (tmp_path / "key").write_text("a-key")

    assert set(env) - known == set()
    for key, value in env.items():
        value = str(tmp_path / "key") if key.endswith("_FILE") else value.replace("$(POD_IP)", "10.1.2.3")
        monkeypatch.setenv(key, value)
    for kind in KINDS[name]:
        kind(_env_file=None)


@pytest.mark.parametrize("deployment", PODS)
def test_secrets_are_those_of_the_page(deployment: Resource) -> None:
    """A worker gets no key but its own; a file that a setting names is mounted there."""
    pod, container = spec_of(deployment)
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    (mount,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    refs = [e["valueFrom"]["secretKeyRef"] for e in container["env"] if "secretKeyRef" in e.get("valueFrom", {})]
    keys = {item["key"] for item in secret["items"]} | {ref["key"] for ref in refs}
    page = (FOLDER / "README.md").read_text()

    files = {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
    assert files == {f"{mount}/{item['path']}" for item in secret["items"]}
    assert {secret["secretName"], *(ref["name"] for ref in refs)} == {"muster"}
    if deployment["metadata"]["name"] != "coordinator":
        assert keys == {"worker_key"}
    assert [key for key in keys if f"--from-literal={key}=" not in page] == []


def test_scalers_ask_for_a_documented_metric() -> None:
    """By the name that the rules for Prometheus' adapter give it."""
    metrics = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    (rule,) = yaml.safe_load((FOLDER / "autoscaling/prometheus-adapter.yaml").read_text())["rules"]["external"]
    scalers = find(RENDERED["production"], "HorizontalPodAutoscaler")
    asked = {
        metric["external"]["metric"]["name"]
        for scaler in scalers.values()
        for metric in scaler["spec"]["metrics"]
        if metric["type"] == "External"
    }

    assert set(scalers) == set(SERVICES)
    assert asked == {rule["name"]["as"]}
    assert rule["seriesQuery"].split("{")[0] in metrics
    assert asked <= set(metrics)
    assert all("replicas" not in d["spec"] for d in find(RENDERED["production"], "Deployment").values())


def test_a_pod_has_time_to_stop() -> None:
    """To be passed over by Services, to end what it has begun, and to stop."""
    for deployment in find(RENDERED["base"], "Deployment").values():
        pod, container = spec_of(deployment)
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        drain = CoordinatorSettings.model_fields["drain_seconds"].default
        assert pod["terminationGracePeriodSeconds"] >= pause + drain + 15
