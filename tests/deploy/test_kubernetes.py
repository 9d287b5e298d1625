"""The Kubernetes files: valid by the API's schemas, and in agreement with the server's flags and metrics."""

from pathlib import Path

import pytest
import yaml
from stylewire_server.settings import ServeSettings

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"

API = "1.30"

RESOURCES = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]


def load(name: str) -> dict:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", RESOURCES)
def test_each_file_is_valid_by_the_schema_of_the_api(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed").validate
    validate(load(name), API, strict=True)


def test_the_kustomization_names_every_file() -> None:
    assert set(RESOURCES) == {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}


def test_the_deployment_uses_flags_that_the_server_has() -> None:
    pod = load("deployment.yaml")["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    flags = dict(argument.removeprefix("--").split("=") for argument in server["args"])
    fields = {name.replace("_", "-") for name in ServeSettings.model_fields}
    assert set(flags) <= fields
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert ports == {"grpc": ServeSettings.model_fields["port"].default, "metrics": int(flags["metrics-port"])}
    # A pod is killed only after its calls had their time.
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > float(flags["grace"]) + pause
    mounted = {mount["mountPath"] for mount in server["volumeMounts"]}
    for flag in ("tls-cert", "tls-key", "tokens", "data-dir"):
        assert any(Path(flags[flag]).is_relative_to(path) for path in mounted), flag


def test_selectors_choose_the_pods() -> None:
    labels = load("deployment.yaml")["spec"]["template"]["metadata"]["labels"].items()
    for name, path in (
        ("deployment.yaml", ("selector", "matchLabels")),
        ("service.yaml", ("selector",)),
        ("disruption.yaml", ("selector", "matchLabels")),
        ("network.yaml", ("podSelector", "matchLabels")),
    ):
        found = load(name)["spec"]
        for key in path:
            found = found[key]
        assert found.items() <= labels, name
