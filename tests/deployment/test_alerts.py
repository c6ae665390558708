"""Alert rules, dashboard, scrape jobs and runbooks: all that they name is there, in processes as they are."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from typer.main import get_command

from operations.cli import app
from operations.doctor.examine import CHECKS
from tests.deployment.compose import ROOT, filled_in
from tests.deployment.observed import families, samples
from tests.deployment.promql import read

OBSERVED = ROOT / "operations" / "observability"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((OBSERVED / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((OBSERVED / "dashboard.json").read_text())
PANELS: list[tuple[str, str]] = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]
SCRAPED = yaml.safe_load((OBSERVED / "prometheus.yml").read_text())["scrape_configs"]
JOBS = {one["job_name"] for one in SCRAPED}
# What Prometheus itself adds to every sample, and its own metric of whether a target answered.
ADDED = {"job", "instance"}
UP = {"up": {label: set[str]() for label in ADDED}}
SAMPLES = UP | samples()


def check(expr: str) -> None:
    """Every metric, label and plain value of the expression is one that a process shows."""
    asked = read(expr)
    assert asked.selectors, f"nothing is asked for: {expr}"
    for selector in asked.selectors:
        assert selector.name in SAMPLES, f"no process shows {selector.name}"
        labels = SAMPLES[selector.name]
        for matcher in selector.matchers:
            if matcher.label == "job":
                assert any(re.fullmatch(matcher.value, job) for job in JOBS), matcher
                continue
            assert matcher.label in labels, f"{selector.name} has no label {matcher.label}"
            assert set(matcher.values) <= labels[matcher.label], f"{selector.name} is never {matcher}"
    known = ADDED | {"le"} | {label for one in asked.selectors for label in SAMPLES[one.name]}
    assert asked.labels <= known, f"grouped by what no metric of it has: {asked.labels - known}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    check(rule["expr"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_it_means_and_leads_to_its_page(rule: dict[str, Any]) -> None:
    name, notes = rule["alert"], rule["annotations"]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert notes["summary"].strip()
    assert notes["description"].strip()
    assert notes["runbook_url"] == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    parts = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert parts == ["What it means", "What users notice", "Look here", "Mend it", "Afterwards"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_names_labels_that_its_expression_keeps(rule: dict[str, Any]) -> None:
    """``sum by (pool)`` throws all others away; Prometheus would print nothing in their place."""
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    asked = read(rule["expr"])
    kept = asked.labels or {label for one in asked.selectors for label in SAMPLES[one.name]} | ADDED
    assert named <= kept, f"{rule['alert']} does not keep {named - kept}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_share_is_of_a_sum_that_holds_it(rule: dict[str, Any]) -> None:
    """What never happened has no series, and nothing is greater than nothing: where all attempts fail, ``failed >
    succeeded`` is silent."""
    for part in re.split(r"\b(?:and|or)\b", rule["expr"]):
        smaller, is_compared, larger = part.partition(">")
        if not is_compared or "rate(" not in larger:
            continue
        (of,), (whole,) = read(smaller).selectors, read(larger).selectors
        assert of.name == whole.name
        narrowed = {one.label: set(one.values) for one in of.matchers if one.how in {"=", "=~"}}
        for matcher in whole.matchers:
            if matcher.how in {"=", "=~"}:
                assert narrowed[matcher.label] <= set(matcher.values), f"{rule['alert']}: {matcher}"
            else:
                assert matcher in of.matchers


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_quantile_is_compared_with_a_bound_of_a_bucket(rule: dict[str, Any]) -> None:
    """Between bounds Prometheus guesses; above the last but one it can't tell."""
    for part in re.split(r"\b(?:and|or)\b", rule["expr"]):
        if "histogram_quantile" in part:
            (buckets,) = (one.name for one in read(part).selectors)
            bounds = {float(bound) for bound in SAMPLES[buckets]["le"]} - {float("inf")}
            asked = float(part.rpartition(">")[2])
            assert asked in bounds - {max(bounds)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_one_bad_scrape_is_no_alarm(rule: dict[str, Any]) -> None:
    """Whoever looks at the moment waits a while; what looks back, or asks for how long already, has waited."""
    looks_back = all(re.search(r"increase\(|_age_seconds|_unassigned_seconds", part) for part in _sides(rule["expr"]))
    assert "for" in rule or looks_back


def _sides(expr: str) -> list[str]:
    return re.split(r"\bor\b", expr)


def test_what_is_absent_keeps_its_labels() -> None:
    """``absent`` tells the labels of a plain selector, and none of anything else."""
    asked = [one for rule in RULES for one in re.findall(r"absent\(([^()]*)\)", rule["expr"])]
    assert asked
    assert all(re.fullmatch(r"\w+\{[^}]*\}", one) for one in asked), asked


def test_prometheus_would_parse_them_all() -> None:
    """By a parser of the whole language; ``read`` knows less of it."""
    for expr in (*(rule["expr"] for rule in RULES), *(expr for _, expr in PANELS)):
        promql_parser.parse(expr)


def test_every_page_is_an_alerts() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in RULES}


def test_every_alert_is_there_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 20


@pytest.mark.parametrize(
    ("title", "expr"), PANELS, ids=[f"{title}-{number}" for number, (title, _) in enumerate(PANELS)]
)
def test_a_panel_asks_for_what_there_is(title: str, expr: str) -> None:
    assert title
    check(expr)


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    shown = {selector.name for _, expr in PANELS for selector in read(expr).selectors}
    ours = {name for name in families() if name.startswith("openv_")} - {
        *("openv_build_info", "openv_worker_info", "openv_gpu_info")  # words, not numbers
    }
    plain = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in shown}
    assert ours - plain == set()


def test_the_dashboard_is_laid_out() -> None:
    """Its panels have numbers of their own and none lies on another."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Queue", "Streams", "Gateway", "Workers", "Webhooks", "Processes", "Admin API"]


def test_every_sample_of_ours_is_documented() -> None:
    told = set(re.findall(r"`(openv_\w+)`", (ROOT / "docs" / "observability.md").read_text()))
    ours = {name for name in families() if name.startswith("openv_")}
    assert {name.removesuffix("_total") for name in told} == ours


def test_prometheus_asks_every_part_of_the_compose_file_at_its_port() -> None:
    services = filled_in()["services"]
    ports = {name: one["environment"]["OPENV_METRICS_PORT"] for name, one in services.items() if _shows(one)}
    asked: dict[str, int] = {}
    for job in SCRAPED:
        for found in job.get("dns_sd_configs", []):
            asked |= dict.fromkeys(found["names"], found["port"])
    assert asked == ports
    assert {"gateway", "streams", "worker", "worker-gpu", "worker-runpod", "admin"} <= ports.keys()


def _shows(service: dict[str, Any]) -> bool:
    return "OPENV_METRICS_PORT" in service.get("environment", {})


def test_grafana_finds_what_the_dashboard_asks() -> None:
    folder = OBSERVED / "grafana" / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "openv.yml").read_text())["datasources"]
    asked = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert asked <= {one["uid"] for one in sources}
    services = filled_in()["services"]
    for source in sources:
        host = re.fullmatch(r"http://([a-z]+):\d+", source["url"])
        assert host is not None
        assert host[1] in services
    (provider,) = yaml.safe_load((folder / "dashboards" / "openv.yml").read_text())["providers"]
    targets = [one["target"] for one in services["grafana"]["configs"]]
    assert any(target.startswith(provider["options"]["path"] + "/") for target in targets)


COMMAND = re.compile(r"(?:^ {4}|`)(openv [a-z][^`\n]*)", re.MULTILINE)


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: str(page.stem))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    """As far as a parser tells: the words, the options, and that nothing is missing."""
    for line in COMMAND.findall(page.read_text()):
        words = shlex.split(line)[1:]
        command: Any = get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"`{line}`: no such command"
        command.make_context("openv", words)  # raises for an option that it does not have, or one that is missing


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: str(page.stem))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"\bopenv_[a-z_]+[a-z]", text)) <= SAMPLES.keys() | families()
    for other in re.findall(r"\]\(([^)#]+)\)", text):
        assert (RUNBOOKS / other).exists(), other
    assert set(re.findall(r"--only (\w+)", text)) <= set(CHECKS)
