"""compose.yaml, the Grafana dashboard and the Prometheus configuration: valid, and true of the servers."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from stylewire import Client
from stylewire_server.testing import until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

SELECTOR = re.compile(r"(stylewire_\w+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def exposition(start_server: Callable, photo: Path, style_picture: Path) -> str:
    """The metrics of a server that has made a picture and refused one."""
    running = start_server("--model", "lite", "--metrics-port", "0", "--log-format", "json")
    try:
        with Client(running.target, timeout=60) as client:
            client.stylize(photo, style_picture)
        line = until(lambda: [line for line in running.log if "metrics on" in line], "the metrics' address is logged")[
            0
        ]
        address = json.loads(line)["message"].removeprefix("metrics on ")
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read().decode()
    finally:
        running.stop()


def queries() -> list[tuple[str, str]]:
    """(title of the panel, query) of the dashboard."""
    dashboard = json.loads((DEPLOY / "grafana" / "stylewire.json").read_text())
    return [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.mark.parametrize(("title", "query"), queries())
def test_each_query_names_metrics_and_labels_that_exist(title: str, query: str, exposition: str) -> None:
    found = SELECTOR.findall(query)
    assert found
    for metric, labels in found:
        lines = [line for line in exposition.splitlines() if re.match(rf"{metric}[{{ ]", line)]
        assert lines, f"{title}: no server has {metric}"
        for label in re.findall(r"(\w+)=", labels):
            # Prometheus adds `job` itself.
            assert label == "job" or f'{label}="' in lines[0], f"{title}: {metric} has no label {label}"
    for labels in re.findall(r"by \(([^)]*)\)", query):
        for label in map(str.strip, labels.split(",")):
            assert any(f'{label}="' in line for line in exposition.splitlines()), f"{title}: {label}"


def test_compose_follows_the_specification() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_scrapes_the_services_of_compose() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    for target in job["static_configs"][0]["targets"]:
        host, _, port = target.partition(":")
        assert port in compose["services"][host]["command"]
    nginx = (DEPLOY / "nginx.conf").read_text()
    envoy = (DEPLOY / "envoy.yaml").read_text()
    for name in ("stylewire-1", "stylewire-2"):
        assert f"server {name}:50051" in nginx
        assert f"address: {name}, port_value: 50051" in envoy
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            path = volume.split(":")[0]
            assert not path.startswith("./") or (DEPLOY / path).exists(), path
