"""What is in contrib/ asks for metrics, labels and figures that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from faces.visitor import visiting
from metrics.scrape import Scrape
from worksong import Job, Worker
from worksong.metrics import Metrics

CONTRIB = Path(__file__).parents[2] / "contrib"
METRIC = re.compile(r"\bworksong_\w+")
SELECTOR = re.compile(r"\b(worksong_\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
OF_PROMETHEUS = {"job", "instance", "le"}
"""Labels that a scrape adds, and that of histograms."""


@pytest.fixture(scope="module")
def scrape() -> Scrape:
    """All metrics of a worker that has run something."""
    worker = Worker(name="contrib")

    def fail() -> None:
        raise ValueError("no")

    worker.register("fail", fail, max_fails=1)
    metrics = Metrics(worker)
    worker.perform(Job("fail"))
    worker.run(burst=True)
    return Scrape(metrics.text()[0].decode())


def expressions() -> Iterator[str]:
    """Every question that the dashboard and the rules ask Prometheus."""
    dashboard = json.loads((CONTRIB / "grafana/worksong.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    rules = yaml.safe_load((CONTRIB / "prometheus/worksong.rules.yml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    yield from (each["query"]["query"] for each in dashboard["templating"]["list"][1:])


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_question_is_about_metrics_that_there_are(scrape: Scrape, expression: str) -> None:
    labels: dict[str, set[str]] = {}
    for family in scrape.families.values():
        for name in (family.name, *(f"{family.name}{end}" for end in ("_total", "_bucket", "_sum", "_count", "_info"))):
            labels[name] = {label for sample in family.samples for label in sample.labels} | OF_PROMETHEUS
    asked = METRIC.findall(expression)
    assert asked
    assert set(asked) <= set(labels), expression
    for name, selector in SELECTOR.findall(expression):
        assert {label for label, _ in LABEL.findall(selector)} <= labels[name], expression
    known = set.union(*(labels[name] for name in asked))
    for group in GROUPING.findall(expression):
        assert {label.strip() for label in group.split(",")} <= known, expression


def test_every_rule_says_what_is_wrong() -> None:
    rules = yaml.safe_load((CONTRIB / "prometheus/worksong.rules.yml").read_text())["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_outcomes_and_states_are_called_as_here(scrape: Scrape) -> None:
    text = "\n".join(expressions())
    outcomes = {sample.labels["outcome"] for sample in scrape.families["worksong_jobs"].samples}
    for values in re.findall(r'outcome(?:=~|!=|=)"([^"]*)"', text):
        assert set(values.split("|")) <= outcomes
    for state in re.findall(r'state="([^"]*)"', text):
        assert scrape.has("worksong_backend_jobs", state=state)


async def test_the_autoscaler_asks_for_figures_that_there_are() -> None:
    documents: list[Any] = list(yaml.safe_load_all((CONTRIB / "keda/scaledobject.yaml").read_text()))
    triggers = documents[-1]["spec"]["triggers"]
    async with visiting(Worker(name="contrib")) as visitor:
        for trigger in triggers:
            path = trigger["metadata"]["url"].partition("/api/v1")[2]
            found = await visitor.json(path)
            assert isinstance(found[trigger["metadata"]["valueLocation"]], (int, float))


def test_the_guide_lists_every_metric_with_its_kind_and_its_labels(scrape: Scrape) -> None:
    guide = (CONTRIB.parent / "docs" / "guides" / "monitoring.md").read_text()
    rows = re.findall(r"^\| `(worksong_\w+)` \| (\w+) \|([^|]*)\|", guide, re.MULTILINE)
    written = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family for family in scrape.families.values()
    }
    assert set(written) == set(families)
    for name, (kind, labels) in written.items():
        assert families[name].type == ("gauge" if kind == "info" else kind), name
        for sample in families[name].samples:
            assert set(sample.labels) - OF_PROMETHEUS == labels, name
