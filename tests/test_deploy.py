"""What deploy/ and compose.yaml say fits together, and fits the service."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app import VERSION
from app.main import create_app
from app.observation import PROBES, route_names
from app.settings import Settings
from tests.conftest import ROOT, Server

KUBERNETES = ROOT / "deploy/kubernetes"
FOLDERS = ("base", "overlays/small", "overlays/large")
VERSIONS = ("1.32", "1.34")
BUILDERS = (["kustomize", "build"], ["kubectl", "kustomize"])
BUILDER = next((builder for builder in BUILDERS if shutil.which(builder[0])), None)
needs_builder = pytest.mark.skipif(BUILDER is None, reason="neither kustomize nor kubectl is installed")
KINDS = {"ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}


def built(folder: str) -> dict[str, dict[str, Any]]:
    """The objects that a folder makes, by kind."""
    assert BUILDER is not None
    text = subprocess.run([*BUILDER, str(KUBERNETES / folder)], capture_output=True, text=True, check=True).stdout
    objects = list(yaml.safe_load_all(text))
    kinds = {thing["kind"]: thing for thing in objects}
    assert len(kinds) == len(objects)
    return kinds


def pod(objects: dict[str, dict[str, Any]]) -> Any:
    return objects["Deployment"]["spec"]["template"]


@needs_builder
@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the validator's own libraries
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_would_take_it(folder: str, version: str) -> None:
    import kubernetes_validate

    objects = built(folder)
    for thing in objects.values():
        kubernetes_validate.validate(thing, version, strict=True)
    objects["Deployment"]["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects["Deployment"], version, strict=True)


@needs_builder
def test_the_overlays_are_what_their_names_say() -> None:
    base, small, large = map(built, FOLDERS)
    assert set(base) == KINDS
    assert set(small) == KINDS - {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert small["Deployment"]["spec"]["replicas"] == 1 and "replicas" not in base["Deployment"]["spec"]
    assert set(large) == KINDS | {"Ingress"}
    assert (
        large["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > base["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    )
    assert pod(base)["spec"]["containers"][0]["image"] == f"chainrule:{VERSION}"


@needs_builder
@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_selects_the_pods_and_only_them(folder: str) -> None:
    objects = built(folder)
    labels = pod(objects)["metadata"]["labels"]
    assert labels
    selectors = [objects["Service"]["spec"]["selector"], objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]]
    selectors.append(objects["Deployment"]["spec"]["selector"]["matchLabels"])
    if "PodDisruptionBudget" in objects:
        selectors.append(objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    assert all(selector and selector.items() <= labels.items() for selector in selectors)


@needs_builder
@pytest.mark.parametrize("folder", FOLDERS)
def test_it_fits_the_service(folder: str, client: httpx.Client) -> None:
    objects = built(folder)
    container = pod(objects)["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert client.get(container[probe]["httpGet"]["path"]).status_code == 200
    annotations = pod(objects)["metadata"]["annotations"]
    assert client.get(annotations["prometheus.io/path"]).text.startswith("# HELP chainrule_")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": int(annotations["prometheus.io/port"])}
    assert objects["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    values = objects["ConfigMap"]["data"]
    assert {name.removeprefix("CHAINRULE_").lower() for name in values} <= set(Settings.model_fields)
    settings = Settings.model_validate(
        {name.removeprefix("CHAINRULE_").lower(): value for name, value in values.items()}
    )
    assert container["envFrom"] == [{"configMapRef": {"name": objects["ConfigMap"]["metadata"]["name"]}}]
    stopping = (
        container["lifecycle"]["preStop"]["sleep"]["seconds"] + settings.drain_seconds + settings.shutdown_seconds
    )
    assert stopping < pod(objects)["spec"]["terminationGracePeriodSeconds"]


@needs_builder
def test_the_ingress_shows_all_but_the_probes_and_the_metrics() -> None:
    paths = built("overlays/large")["Ingress"]["spec"]["rules"][0]["http"]["paths"]

    def shown(route: str) -> bool:
        whole = [entry["path"] for entry in paths if entry["pathType"] == "Exact"]
        starts = [entry["path"] for entry in paths if entry["pathType"] == "Prefix"]
        return route in whole or any(route == start or route.startswith(f"{start}/") for start in starts)

    routes = set(route_names(create_app().router.routes)) - {"other"}
    assert routes >= PROBES and {route for route in routes if not shown(route)} == PROBES


@needs_builder
def test_a_pod_answers_for_the_names_of_service_and_ingress() -> None:
    objects = built("overlays/large")
    with Server(**objects["ConfigMap"]["data"]) as server:
        for host in ("chainrule.default.svc.cluster.local", objects["Ingress"]["spec"]["rules"][0]["host"]):
            assert httpx.get(f"{server.url}/readyz", headers={"Host": host}).status_code == 200


@needs_builder
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_pods_may_do_little(folder: str) -> None:
    spec = pod(built(folder))["spec"]
    context = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert str(spec["securityContext"]["runAsUser"]) in (ROOT / "Dockerfile").read_text()


def test_compose_names_files_that_are_there() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"chainrule", "prometheus", "grafana"}
    mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    paths = [ROOT / mount for mount in mounts if mount.startswith(".")]
    assert len(paths) == 3 and all(path.exists() for path in paths)
    assert services["chainrule"]["image"] == f"chainrule:{VERSION}"
    settings = services["chainrule"]["environment"]
    assert {name.removeprefix("CHAINRULE_").lower() for name in settings} <= set(Settings.model_fields)
    assert all(
        re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for service in services.values() for port in service["ports"]
    )


def test_grafana_finds_prometheus_and_prometheus_the_service() -> None:
    def read(path: str) -> Any:
        return yaml.safe_load((ROOT / "deploy" / path).read_text())

    source = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    folder = read("grafana/provisioning/dashboards/chainrule.yaml")["providers"][0]["options"]["path"]
    mounts = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert any(
        mount.split(":")[1] == folder and (ROOT / Path(mount.split(":")[0]) / "chainrule.json").exists()
        for mount in mounts
    )
    assert read("prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"] == [{"targets": ["chainrule:8000"]}]


@needs_builder
def test_the_page_on_deployment_says_what_the_overlays_are() -> None:
    rows = (ROOT / "docs/deploy.md").read_text().partition("| | `small` | `base` | `large` |")[2].splitlines()[2:7]
    table = {name: cells for name, *cells in ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)}
    for k, folder in enumerate(("overlays/small", "base", "overlays/large")):
        objects = built(folder)
        scaler = objects.get("HorizontalPodAutoscaler", {}).get("spec")
        pods = (
            f"{scaler['minReplicas']} to {scaler['maxReplicas']}"
            if scaler
            else str(objects["Deployment"]["spec"]["replicas"])
        )
        values, resources = objects["ConfigMap"]["data"], pod(objects)["spec"]["containers"][0]["resources"]
        memory = [
            resources[name]["memory"].replace("Mi", " MiB").replace("Gi", " GiB") for name in ("requests", "limits")
        ]
        assert table["pods"][k] == pods
        assert table["workers in each"][k] == values.get("CHAINRULE_WORKERS", "1")
        assert table["largest body"][k] == f"{int(values['CHAINRULE_MAX_BODY_BYTES']) // 2**20} MiB"
        assert table["memory asked for, at most"][k] == ", ".join(memory)
        assert bool(table["ingress"][k]) == ("Ingress" in objects)


@needs_builder
def test_the_overlay_of_your_own_on_the_page_on_deployment(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path, dirs_exist_ok=True)
    mine = tmp_path / "overlays/mine"
    mine.mkdir()
    text = (ROOT / "docs/deploy.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (mine / "kustomization.yaml").write_text(text)
    objects = built(str(mine))
    assert set(objects) == KINDS | {"Ingress", "Secret"}
    container, data = pod(objects)["spec"]["containers"][0], objects["ConfigMap"]["data"]
    assert container["image"] == f"registry.example.org/chainrule:{VERSION}"
    assert container["envFrom"][1]["secretRef"]["name"] == objects["Secret"]["metadata"]["name"]
    known = {f"CHAINRULE_{name.upper()}" for name in Settings.model_fields}
    assert {*data, *objects["Secret"]["data"]} <= known and data["CHAINRULE_WORKERS"] == "2"
    Settings(trusted_proxies=data["CHAINRULE_TRUSTED_PROXIES"], rate_limit=data["CHAINRULE_RATE_LIMIT"])
    ingress = objects["Ingress"]["spec"]
    assert [ingress["rules"][0]["host"]] == ingress["tls"][0]["hosts"] == ["lab.example.org"]
