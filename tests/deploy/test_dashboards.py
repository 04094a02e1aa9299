"""The alert rules and the dashboard ask for what an instance tells: each metric and label is in its /metrics."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import make_super_admin, make_token
from tests.instance import Instance

_ROOT = Path(__file__).parents[2]
ALERTS = _ROOT / "deploy" / "prometheus" / "holdfast-alerts.yml"
DASHBOARD = _ROOT / "deploy" / "grafana" / "holdfast.json"
# What Prometheus itself adds to each sample, and the name under which it keeps our label `job`.
_OF_PROMETHEUS = {"instance", "job", "exported_job", "le"}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


class Selected(msgspec.Struct, frozen=True):
    """A metric that an expression asks for, and the labels by which it is chosen or grouped."""

    where: str
    metric: str
    labels: frozenset[str]


def _alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return content


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in _alerts():
        yield rule["alert"], rule["expr"]
    for panel in _dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def _selected() -> Iterator[Selected]:
    for where, text in _expressions():
        yield from _selectors(where, promql_parser.parse(text), frozenset())
    for variable in _dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert match, variable["query"]
            yield Selected(variable["name"], match[1], frozenset({match[2]}))


def _selectors(where: str, expression: Any, grouped: frozenset[str]) -> Iterator[Selected]:
    """The selectors of an expression, with the labels of the groupings around each."""
    match expression:
        case promql_parser.VectorSelector():
            labels = {matcher.name for matcher in expression.matchers.matchers}
            yield Selected(where, str(expression.name), grouped | labels)
        case promql_parser.MatrixSelector():
            yield from _selectors(where, expression.vector_selector, grouped)
        case promql_parser.AggregateExpr():
            labels = set(expression.modifier.labels) if expression.modifier else set()
            yield from _selectors(where, expression.expr, grouped | labels)
        case promql_parser.BinaryExpr():
            yield from _selectors(where, expression.lhs, grouped)
            yield from _selectors(where, expression.rhs, grouped)
        case promql_parser.Call():
            for argument in expression.args:
                yield from _selectors(where, argument, grouped)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _selectors(where, expression.expr, grouped)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            return
        case _:
            raise AssertionError(f"{where}: the test does not know {expression}")


async def test_every_metric_and_label_is_in_the_metrics_of_an_instance(instance: Instance) -> None:
    client = instance.client(await make_token(instance.database, await make_super_admin(instance.database)))
    assert (await client.get("/me")).status_code == 200
    text = (await client.get(f"{instance.base_url}/metrics")).text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for suffix in _SUFFIXES.get(family.type, ()):
            labels[family.name + suffix] = {label for sample in family.samples for label in sample.labels}
    problems = []
    for selected in _selected():
        if selected.metric == "up":
            continue
        if selected.metric not in labels:
            problems.append(f"{selected.where}: no instance tells {selected.metric}")
        # A counter that has counted nothing yet shows no labels.
        elif labels[selected.metric] and not selected.labels <= labels[selected.metric] | _OF_PROMETHEUS:
            unknown = sorted(selected.labels - labels[selected.metric] - _OF_PROMETHEUS)
            problems.append(f"{selected.where}: {selected.metric} has no label {', '.join(unknown)}")
    assert not problems, "\n" + "\n".join(problems)


def test_the_expressions_are_found() -> None:
    metrics = {selected.metric for selected in _selected()}
    assert {"up", "holdfast_requests_total", "holdfast_jobs_total", "holdfast_index_reads_total"} <= metrics
    assert len(list(_selected())) > 35


@pytest.mark.parametrize("rule", _alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_compares_is_graded_and_has_its_paragraph(rule: dict[str, Any]) -> None:
    assert isinstance(promql_parser.parse(rule["expr"]), promql_parser.BinaryExpr), "an alert compares with a number"
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in _runbooks(page), f"{page} has no runbook for {rule['alert']}"
    for part in (r"\*\*Meaning\.\*\*", r"\*\*Look at\b", r"\*\*(Do\b|Look at, do)"):
        assert re.search(part, _runbooks(page)[rule["alert"]]), f"the runbook of {rule['alert']} lacks {part}"


def test_every_runbook_is_of_an_alert() -> None:
    assert set(_runbooks("docs/runbooks.md")) == {rule["alert"] for rule in _alerts()}


def _runbooks(page: str) -> dict[str, str]:
    """The text below each heading."""
    _, *parts = re.split(r"^## (\w+)$", (_ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_dashboard_is_whole() -> None:
    dashboard = _dashboard()
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places), "two panels lie on one another"
    known = {"__rate_interval", *(variable["name"] for variable in dashboard["templating"]["list"])}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) <= known


def test_promtool_accepts_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    checked = subprocess.run([promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
