"""The files in deploy/ name only metrics and settings that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from avatars.errors import FaceFinderMissing
from pipeline.metrics import EngineMetrics
from portal.settings import Settings

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
NAME = re.compile(r"vivavoce_[a-z_]+")
VARIABLE = re.compile(r"VIVAVOCE_([A-Z_]+)")


def queries() -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (line for line in (DEPLOY / "alerts.yaml").read_text(encoding="utf-8").splitlines() if NAME.search(line))


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    """If a metric had been renamed, a panel would stay empty and an alert silent."""
    metrics = EngineMetrics()
    metrics.observe_turn({"first_audio": 5.0})
    exposition = metrics.exposition().decode()
    known = {sample.name for family in text_string_to_metric_families(exposition) for sample in family.samples}
    known |= {
        family.name + "_total" for family in text_string_to_metric_families(exposition) if family.type == "counter"
    }
    asked = {name for query in queries() for name in NAME.findall(query)}
    assert len(asked) > 6
    assert asked <= known


@pytest.mark.parametrize("name", ["vivavoce.service", "vivavoce-worker.service", "compose.yaml"])
def test_they_set_settings_that_exist(name: str) -> None:
    """The portal only warns of an unknown variable, so a wrong name would be noticed late."""
    named = {found.lower() for found in VARIABLE.findall((DEPLOY / name).read_text(encoding="utf-8"))}
    assert named
    assert named <= {*Settings.model_fields, "data"}


def test_nginx_lets_uploads_of_the_portals_size_in() -> None:
    """nginx's default limit is one megabyte, and its answer would not be ours."""
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
    assert int(megabytes) * 1_000_000 >= Settings.model_fields["max_upload_bytes"].default


def test_a_fresh_server_gets_the_libraries_that_finding_faces_needs() -> None:
    """Without these libraries no avatar can be made; a server, a Space or a slim image lacks them."""
    (packages,) = re.findall(r"apt install (.+)", FaceFinderMissing("").hint)
    for place in (
        "docs/deploying.md",
        "docs/zh/deploying.md",
        "README.md",
        "README.zh.md",
        "Dockerfile",
        "packages.txt",
    ):
        named = re.findall(r"[\w-]+", (DEPLOY.parent / place).read_text(encoding="utf-8"))
        assert {*packages.split()} <= {*named}, place


def test_no_alert_sounds_once_the_last_viewer_has_left() -> None:
    """Events count for five more minutes. Divided by no sessions, a single late picture would raise an alarm."""
    rules = (DEPLOY / "alerts.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"vivavoce_sessions", rules)) == len(
        re.findall(r"clamp_min\(sum\(vivavoce_sessions\), 1\)", rules)
    )
