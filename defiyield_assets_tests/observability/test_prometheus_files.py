"""What deploy/prometheus ships: rules that fire and are quiet, queries that parse, figures that exist, a runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from defiyield_assets.cli.watch_arguments import PORT
from defiyield_assets.observability.families import FAMILIES
from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.observability.exposition import promtool

FOLDER = PROJECT_ROOT / "deploy" / "prometheus"
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
QUERIES = {f"{panel['title']} {one['refId']}": one["expr"] for panel in DASHBOARD["panels"] for one in panel["targets"]}
NAME = re.compile(r"\bdefiyield_[a-z0-9_]+")
MATCHED = re.compile(r"\b(defiyield_[a-z0-9_]+)\{([^}]*)\}")
RUNBOOK = PROJECT_ROOT / "docs" / "how-to" / "observe.md"


def test_promtool_accepts_rules_and_configuration() -> None:
    assert "SUCCESS" in promtool("check", "rules", "alerts.yml", folder=FOLDER)
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", folder=FOLDER)


def test_every_alert_fires_and_is_quiet_where_it_should() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    names = [test["name"] for test in tests]
    for alert in ALERTS:
        assert f"{alert['alert']} fires" in names
        assert f"{alert['alert']} is quiet" in names
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml", folder=FOLDER)


def test_queries_of_the_dashboard_parse(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(QUERIES.values())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", "rules.yml", folder=tmp_path)


@pytest.mark.parametrize(("name", "query"), [*QUERIES.items(), *((one["alert"], one["expr"]) for one in ALERTS)])
def test_figures_and_labels_that_are_asked_for_are_told(name: str, query: str) -> None:
    asked = {word.removeprefix("defiyield_") for word in NAME.findall(query)}
    assert asked or 'job="defiyield"' in query
    assert asked <= set(FAMILIES), name
    for family, matchers in MATCHED.findall(query):
        labels = set(re.findall(r"(\w+)=", matchers))
        assert labels <= set(FAMILIES[family.removeprefix("defiyield_")].labels), name


def test_every_alert_says_how_grave_it_is_and_has_its_paragraph_in_the_runbook() -> None:
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)
    headings = re.findall(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in ALERTS)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"].endswith(".")
        assert alert["annotations"]["runbook_url"] == f"docs/how-to/observe.md#{alert['alert'].lower()}"


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels)


def test_the_example_scrapes_the_default_port() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert scraped[0]["static_configs"][0]["targets"] == [f"127.0.0.1:{PORT}"]
