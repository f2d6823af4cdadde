"""Alerts and dashboard ask for metrics that exist, in PromQL that Prometheus takes, and the alerts fire when they should.

docs/metrics.md is compared with the programs' real /metrics by a test of its own; here names and labels are compared with it."""

import json
import re
import subprocess

import chart
import pytest
import yaml
from chart import ROOT, TOOLS

# Labels that do not come from the programs: from the PodMonitor, from Prometheus, from histograms.
ADDED = {"fleet", "pool", "namespace", "pod", "job", "instance", "le"}
# Words of PromQL that look like labels where a list of them is expected.
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def documented():
    """name -> (type, labels) of the tables of docs/metrics.md."""
    found = {}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and (name := re.fullmatch(r"`(harvest_\w+)`", cells[0])):
            found[name[1]] = (cells[1], set(re.findall(r"`(\w+)`", cells[3].split(":")[0])))
    assert len(found) > 10
    return found


def problems_of(expression, metrics):
    """What an expression asks for that no program has."""
    problems = []
    # Quoted values may hold anything.
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    known_labels = set(ADDED)
    for name, labels in re.findall(r"\b(harvest_\w+)(?:\{([^}]*)\})?", bare):
        base, kind = name, None
        for suffix in ("_bucket", "_sum", "_count"):
            if name not in metrics and name.endswith(suffix):
                base, kind = name.removesuffix(suffix), "histogram"
        if base not in metrics or (kind and metrics[base][0] != kind) or (not kind and metrics[base][0] == "histogram"):
            problems.append(f"there is no metric {name}")
            continue
        known_labels |= metrics[base][1]
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels):
            if label not in metrics[base][1] | ADDED:
                problems.append(f"{name} has no label {label}")
    for grouping in GROUPING.findall(bare):
        for label in filter(None, map(str.strip, grouping.split(","))):
            if label not in known_labels:
                problems.append(f"no metric here has a label {label}")
    return problems


def rules(files=chart.CASES["production"], **sets):
    (group,) = chart.one(chart.render(files, **sets), "PrometheusRule")["spec"]["groups"]
    return group["rules"]


def dashboard():
    config_map = chart.one(chart.render(chart.CASES["production"]), "ConfigMap", "-dashboard")
    return json.loads(config_map["data"]["harvest-fleet.json"])


def dashboard_expressions():
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            # label_values(metric, label)
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            yield variable["name"], f"count by ({label}) ({metric})"


def test_alerts_ask_for_what_there_is(files):
    metrics = documented()
    for document in chart.of_kind(chart.render(files), "PrometheusRule"):
        for rule in document["spec"]["groups"][0]["rules"]:
            assert problems_of(rule["expr"], metrics) == [], rule


def test_the_dashboard_asks_for_what_there_is():
    metrics = documented()
    asked = set()
    for title, expression in dashboard_expressions():
        assert problems_of(expression, metrics) == [], title
        asked |= {name for name in metrics if name in expression}
    assert asked == set(metrics), "a metric that no panel shows"


@pytest.mark.parametrize("expression", [
    "sum(harvest_invented_total)", "harvest_targets_total", "harvest_queue_wait_seconds", "harvest_targets_bucket", 'harvest_ticks_total{outcome="x"}',
    "sum by (stage) (harvest_attempts_total)", 'rate(harvest_retries_total{failure="a", repository="b"}[5m])'])
def test_an_invented_name_is_found(expression):
    assert problems_of(expression, documented())


def test_alerts_are_those_of_the_documentation():
    """Each expression of docs/metrics.md, but for what selects the fleet and sums pods up."""
    table = (ROOT / "docs" / "metrics.md").read_text().split("## What to alert on")[1]
    expected = set()
    for line in table.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) == 4:
            for expression in re.findall(r"`([^`]+)`", cells[2].split(":")[0]):
                names = tuple(re.findall(r"harvest_\w+", expression))
                values = tuple(re.findall(r'"([^"]+)"', expression.replace("\\|", "|")))
                if names:
                    expected.add((names, values))
    assert len(expected) >= 10
    made = {(tuple(re.findall(r"harvest_\w+", rule["expr"])), tuple(re.findall(r'"([^"]+)"', rule["expr"].replace('fleet="prod"', "")))) for rule in rules()}
    assert made == expected


def promtool(*arguments, cwd):
    return subprocess.run([TOOLS / "promtool", *arguments], capture_output=True, text=True, cwd=cwd, timeout=60)


def test_prometheus_takes_the_rules(files, tmp_path):
    for document in chart.of_kind(chart.render(files), "PrometheusRule"):
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document["spec"]))
        done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_dashboards_expressions(tmp_path):
    """As recording rules, with Grafana's variables filled in."""
    made = [{"record": f"panel:{index}", "expr": expression.replace("$__rate_interval", "5m").replace("$fleet", "prod")}
            for index, (_, expression) in enumerate(dashboard_expressions())]
    assert len(made) > 15
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))
    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


GOOD = {
    'harvest_producer_active{fleet="prod", pod="a"}': "1x300",
    'harvest_producer_active{fleet="prod", pod="b"}': "0x300",
    'harvest_last_tick_timestamp_seconds{fleet="prod"}': "0+60x300",
    'harvest_ticks_total{fleet="prod", result="fired"}': "0+1x300",
    'harvest_config_problems{fleet="prod"}': "0x300",
    'harvest_attempts_total{fleet="prod", outcome="built", failure=""}': "0+1x300",
    'harvest_retries_total{fleet="prod", failure=""}': "0+1x300",
    'harvest_worker_slots{fleet="prod", pod="w"}': "4x300",
    'harvest_worker_slots_used{fleet="prod", pod="w"}': "3x300",
    'harvest_sandboxes_swept_total{fleet="prod"}': "0x300",
    'harvest_sandbox_cold_start_seconds_bucket{fleet="prod", le="15"}': "0+10x300",
    'harvest_sandbox_cold_start_seconds_bucket{fleet="prod", le="+Inf"}': "0+10x300",
    # Another fleet in the same Prometheus, in every kind of trouble.
    'harvest_producer_active{fleet="other"}': "0x300",
    'harvest_config_problems{fleet="other"}': "5x300",
    'harvest_dead_letters_total{fleet="other", failure="internal"}': "0+1x300",
}
# A program starts, shows 0 (tests/it/e2e/metrics.rs), and later the first one happens. A series that began at 1 would raise nothing.
FIRST = "_x200 0x20 1x80"
# Alert -> what differs from GOOD; None takes a series away.
BAD = {
    "HarvestFleetNoActiveProducer": [{'harvest_producer_active{fleet="prod", pod="a"}': "0x300"},
                                     {'harvest_producer_active{fleet="prod", pod="a"}': None, 'harvest_producer_active{fleet="prod", pod="b"}': None}],
    "HarvestFleetNoTick": [{'harvest_last_tick_timestamp_seconds{fleet="prod"}': "600x300"}],
    "HarvestFleetTicksSkipped": [{'harvest_ticks_total{fleet="prod", result="skipped"}': FIRST}],
    "HarvestFleetFileWrong": [{'harvest_config_problems{fleet="prod"}': "1x300"}],
    "HarvestFleetDeadLetters": [{'harvest_dead_letters_total{fleet="prod", failure="install.failed"}': FIRST}],
    "HarvestFleetInternalFailures": [{'harvest_attempts_total{fleet="prod", outcome="failed", failure="worker.crashed"}': FIRST}],
    "HarvestFleetSharedTrouble": [{'harvest_retries_total{fleet="prod", failure="daytona.unavailable"}': "0+1x300"},
                                  {'harvest_retries_total{fleet="prod", failure="clone.auth"}': "0+1x300"}],
    "HarvestFleetKeyRefused": [{'harvest_daytona_key_refused{fleet="prod", pod="w"}': "1x300"}],
    "HarvestFleetNoRoom": [{'harvest_attempts_total{fleet="prod", outcome="over_quota", failure=""}': FIRST}],
    "HarvestFleetAllSlotsUsed": [{'harvest_worker_slots_used{fleet="prod", pod="w"}': "4x300"}],
    "HarvestFleetSlowStarts": [{'harvest_sandbox_cold_start_seconds_bucket{fleet="prod", le="15"}': "0+9x300",
                                'harvest_sandbox_cold_start_seconds_bucket{fleet="prod", le="60"}': "0+10x300"}],
    "HarvestFleetSandboxesLeftBehind": [{'harvest_sandboxes_swept_total{fleet="prod"}': FIRST}],
    "HarvestFleetSandboxesStuck": [{'harvest_sandboxes_stuck{fleet="prod"}': "1x300"}],
    "HarvestFleetRetirementsHeld": [{'harvest_targets_retirements_held{fleet="prod"}': "3x300"}],
}


def test_every_alert_fires_when_it_should_and_only_then(tmp_path):
    made = rules()
    assert {rule["alert"] for rule in made} == set(BAD)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "harvest", "rules": made}]}))
    cases = [({}, None)] + [(change, alert) for alert, changes in BAD.items() for change in changes]
    tests = []
    for change, firing in cases:
        series = {name: values for name, values in {**GOOD, **change}.items() if values}
        checks = []
        for rule in made:
            expected = []
            if rule["alert"] == firing:
                labels = {**rule["labels"], **({"failure": re.search(r'failure="([^"]+)"', next(iter(change)))[1]} if "by (failure)" in rule["expr"] else {})}
                summary = rule["annotations"]["summary"].replace("{{ $labels.failure }}", labels.get("failure", ""))
                expected = [{"exp_labels": labels, "exp_annotations": {"summary": summary}}]
            checks.append({"eval_time": "240m", "alertname": rule["alert"], "exp_alerts": expected})
        tests.append({"name": f"{firing}", "interval": "1m", "alert_rule_test": checks,
                      "input_series": [{"series": name, "values": values} for name, values in series.items()]})
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}, width=999))
    done = promtool("test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tick_that_alerts_wait_for_is_the_files():
    def expression(**sets):
        return next(rule["expr"] for rule in rules(**sets) if rule["alert"] == "HarvestFleetNoTick")

    assert expression().endswith("> 2 * 1800")
    assert expression(fleetFile__defaults={"every": "2h"}).endswith("> 2 * 7200")
    assert expression(files=chart.CASES["everything"]).endswith("> 2 * 3600")


def test_alerts_can_be_left_out_labelled_and_linked():
    made = rules(chart.CASES["everything"])
    names = [rule.get("alert", rule.get("record")) for rule in made]
    assert "HarvestFleetAllSlotsUsed" not in names and "harvest:slots:sum" in names
    for rule in made[:-1]:
        assert rule["annotations"]["runbook_url"].startswith("https://docs.example.com/runbook.md#")
        assert 'namespace="harvest"' in rule["expr"] and "fleet=" not in rule["expr"]
    anchors = {rule["annotations"]["runbook_url"].split("#")[1] for rule in made[:-1]}
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in (ROOT / "docs" / "runbook.md").read_text().splitlines() if line.startswith("#")}
    assert anchors <= headings
    assert all(rule["labels"]["team"] == "platform" for rule in rules())


def test_the_monitor_selects_the_pods_that_have_metrics():
    documents = chart.render(chart.CASES["production"])
    spec = chart.one(documents, "PodMonitor")["spec"]
    selector = spec["selector"]
    (expression,) = selector["matchExpressions"]
    selected = {name for name, labels, pod in chart.pod_specs(documents)
                if selector["matchLabels"].items() <= labels.items() and labels[expression["key"]] in expression["values"]}
    serving = {name for name, _, pod in chart.pod_specs(documents) if chart.own_container(pod).get("ports")}
    assert selected == serving and len(serving) == 3
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] == "http" and endpoint["path"] == "/metrics"
    assert {"targetLabel": "fleet", "replacement": "prod"} in endpoint["relabelings"]
    # Prometheus's spelling of a pod's label harvest-fleet/pool.
    assert {"sourceLabels": ["__meta_kubernetes_pod_label_harvest_fleet_pool"], "targetLabel": "pool"} in endpoint["relabelings"]
    assert spec["namespaceSelector"] == {"matchNames": ["harvest"]}


def test_the_dashboard_is_one_that_grafana_reads():
    config_map = chart.one(chart.render(chart.CASES["production"]), "ConfigMap", "-dashboard")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    whole = dashboard()
    assert whole["uid"] and whole["title"]
    ids = [panel["id"] for panel in whole["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"] for variable in whole["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(whole["panels"]))) == variables
    taken = set()
    for panel in whole["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
