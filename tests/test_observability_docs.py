"""docs/observability.md and the dashboard name what there is, and all of it."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, Server

PAGE = (ROOT / "docs/observability.md").read_text()
DASHBOARD = ROOT / "deploy/grafana/dashboards/chainrule.json"


def described(table: str) -> list[list[str]]:
    """The cells of the table whose head begins with this."""
    rows = PAGE.partition(f"| {table}")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r" \|(?= )", row.strip("|"))] for row in rows]


def metrics(client: httpx.Client) -> dict[str, set[str]]:
    """The labels of each metric, by its name as an expression has it; a histogram's without their endings."""
    client.post("/v1/step", content=b"{")
    families = text_string_to_metric_families(client.get("/metrics").text)
    found: dict[str, set[str]] = {}
    for family in families:
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name + ("_total" if family.type == "counter" else "")] = labels
    return found


def test_every_metric_is_described_with_its_labels(client: httpx.Client) -> None:
    there = metrics(client)
    documented = {
        name: set(labels.split(", ")) - {""}
        for names, labels, _ in described("metric |")
        for name in re.findall(r"`(\w+)`", names)
    }
    assert documented == there


def test_every_metric_of_an_expression_exists(client: httpx.Client) -> None:
    there = metrics(client)
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    answers = [cells[1] for cells in described("question |")]
    assert len(panels) > 15 and len(answers) > 3
    used = set()
    for expression in [*panels, *answers]:
        names = re.findall(r"\b(?:chainrule|process)_\w+", expression)
        assert names, expression
        for name in names:
            whole = re.sub(r"_(bucket|sum|count)$", "", name)
            assert whole in there, name
            used.add(whole)
        for labels in re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"\{(\w+)=", expression):
            assert set(labels.split(", ")) - {"le"} <= there[re.sub(r"_(bucket|sum|count)$", "", names[0])], expression
    assert {name for name in there if name.startswith("chainrule_")} <= used


def test_the_dashboard_has_a_place_and_a_name_for_everything() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["uid"] == "chainrule"
    places = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert panel["title"] and at["x"] + at["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_field_of_a_request_line_is_described(textbook: dict[str, Any]) -> None:
    documented = {name for names, _ in described("field of a request's line") for name in re.findall(r"`(\w+)`", names)}
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    with Server(CHAINRULE_LOG_FORMAT="json") as server:
        httpx.post(f"{server.url}/v1/step", content=b"{", headers=trace)
        lines = [json.loads(line) for line in server.stop().splitlines()]
    line = next(line for line in lines if line["event"] == "request")
    assert documented == set(line)


def test_the_settings_of_the_page_exist() -> None:
    from app.settings import Settings

    known = {f"CHAINRULE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"CHAINRULE_[A-Z_]+", PAGE))
    assert named and named <= known
    assert Path(ROOT / "docs/decisions/0006-counting.md").exists()
