"""Secrets come from existing ones only, each reaches those programs that need it, and the agent session's reach none."""

import json
import re
import tomllib

import chart
import pytest
from chart import ROOT

# ANTHROPIC_API_KEY is what a session may have instead of its token.
AGENT_SIDE = {"CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GIT_USER_NAME", "GIT_USER_EMAIL", "GEMINI_API_KEY", "LINEAR_API_KEY", "SENTRY_AUTH_TOKEN"}


def names_of(documents):
    for name, _, spec in chart.pod_specs(documents):
        for container in chart.containers(spec):
            for entry in container.get("env", []):
                yield name, entry["name"]
                reference = entry.get("valueFrom", {}).get("secretKeyRef", {})
                yield name, reference.get("key")


def test_no_pod_has_a_variable_of_the_agents_session(files):
    found = [(pod, name) for pod, name in names_of(chart.render(files)) if name and name.upper() in AGENT_SIDE]
    assert found == []
    # Nowhere else either: not in a ConfigMap, an argument, an annotation.
    text = chart.render_text(files)
    assert [name for name in AGENT_SIDE if name in text] == []


def test_the_check_for_them_can_fail():
    documents = chart.minimal(producer__sidecars=[{"name": "agent", "image": "a:1", "env": [{"name": "LINEAR_API_KEY", "value": "x"}]}])
    assert ("Deployment/fleet-harvest-fleet-producer", "LINEAR_API_KEY") in list(names_of(documents))


def test_the_lists_of_refused_names_are_the_programs():
    helper = (chart.CHART / "templates" / "_checks.tpl").read_text()
    session, own = (set(re.findall(r'"([A-Z_]+)"', re.search(rf"\${name} := list (.*) -", helper)[1])) for name in ("session", "own"))
    source = (ROOT / "shared" / "settings" / "src" / "secrets.rs").read_text()

    def constant(name):
        return set(re.findall(r'"([A-Z_]+)"', re.search(rf"const {name}: [^=]+=\s*\[(.*?)\]", source, re.S)[1]))

    assert constant("SESSION") == session <= AGENT_SIDE
    assert constant("FLEET") <= own
    beginnings = {text for part in re.findall(r'regexMatch "\^\(([^)]*)\)"', helper) for text in part.split("|")}
    assert constant("SESSION_PREFIXES") | constant("FLEET_PREFIXES") == beginnings


@pytest.mark.parametrize("name", sorted(AGENT_SIDE))
def test_each_of_them_is_refused_wherever_it_is_given(name):
    for place in ("buildSecrets", "git__existingSecrets"):
        with pytest.raises(chart.Refused, match="belongs to the agent's session"):
            chart.minimal(**{place: [{"name": "s", "keys": [{"variable": name, "key": "k"}]}]})
    for place in ("extraEnv", "producer__extraEnv", "workerDefaults__extraEnv", "workers__general__extraEnv"):
        with pytest.raises(chart.Refused, match="belongs to the agent's session"):
            chart.minimal(**{place: [{"name": name, "value": "x"}]})


def test_the_chart_makes_no_secret_and_holds_no_secret_value(files):
    documents = chart.render(files)
    assert chart.of_kind(documents, "Secret") == []
    for _, _, spec in chart.pod_specs(documents):
        for name, entry in chart.variables(spec).items():
            if re.search(r"TOKEN|KEY|PASSWORD|SECRET|HEADERS", name):
                assert "secretKeyRef" in entry.get("valueFrom", {}), name


def test_each_program_gets_what_it_needs_and_no_more():
    documents = chart.render(chart.CASES["production"])
    given = {labels["app.kubernetes.io/component"]: set(chart.variables(spec)) for _, labels, spec in chart.pod_specs(documents)}
    for component, names in given.items():
        assert {"HARVEST_FLEET", "AMQP_URL", "DAYTONA_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"} <= names, component
    git, build = {"GITHUB_TOKEN", "PLATFORM_GIT_TOKEN"}, {"NPM_TOKEN"}
    assert git | build <= given["worker"] and "HARVEST_FLEET_FILE" not in given["worker"]
    assert git <= given["operator"] and not build & given["operator"]
    assert not (git | build) & given["producer"]
    assert "HARVEST_FLEET_FILE" in given["producer"] & given["operator"]


def test_harvestctl_reads_the_rules_that_workers_have(tmp_path):
    documents = chart.render(chart.CASES["production"])
    rules = {"GITHUB_TOKEN": {"git": ["https://github.com/acme/"]}, "NPM_TOKEN": {"repositories": ["acme/shop"]},
             "PLATFORM_GIT_TOKEN": {"git": ["https://git.example.com/platform/"]}}
    written = [tomllib.loads(one["data"]["worker.toml"])["secrets"] for one in chart.of_kind(documents, "ConfigMap") if "worker.toml" in one["data"]]
    assert written == [rules] * 2
    mounted = {spec["volumes"][0]["name"]: spec for _, labels, spec in chart.pod_specs(documents) if labels["app.kubernetes.io/component"] == "operator"}
    assert mounted and all("worker.toml" in json.dumps(spec["volumes"]) for spec in mounted.values())


@pytest.mark.parametrize("name", ["RABBITMQ_PASSWORD", "OTEL_EXPORTER_OTLP_METRICS_HEADERS", "amqp_password"])
def test_what_opens_the_fleet_is_no_secret_of_jobs_but_may_be_a_variable(name):
    with pytest.raises(chart.Refused, match="opens the fleet itself"):
        chart.minimal(buildSecrets=[{"name": "s", "keys": [{"variable": name, "key": "k"}]}])
    chart.minimal(extraEnv=[{"name": name, "value": "x"}])


def test_the_producers_daytona_key_can_be_left_out():
    documents = chart.render(chart.CASES["everything"])
    given = {labels["app.kubernetes.io/component"]: set(chart.variables(spec)) for _, labels, spec in chart.pod_specs(documents)}
    assert "DAYTONA_API_KEY" not in given["producer"]
    assert "DAYTONA_API_KEY" in given["worker"] & given["operator"]


def test_a_secrets_key_may_have_another_name_than_its_variable():
    spec = chart.one(chart.render(chart.CASES["production"]), "Deployment", "-worker-general")["spec"]["template"]["spec"]
    assert chart.variables(spec)["PLATFORM_GIT_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "platform-git", "key": "token"}
    assert chart.variables(spec)["GITHUB_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "harvest-git", "key": "GITHUB_TOKEN"}


def test_spans_say_which_pod_they_are_of():
    spec = chart.one(chart.render(chart.CASES["production"]), "Deployment", "-worker-general")["spec"]["template"]["spec"]
    variables = chart.variables(spec)
    attributes = variables["OTEL_RESOURCE_ATTRIBUTES"]["value"]
    names = list(variables)
    for used in re.findall(r"\$\(([A-Z0-9_]+)\)", attributes):
        assert "fieldRef" in variables[used]["valueFrom"]
        assert names.index(used) < names.index("OTEL_RESOURCE_ATTRIBUTES")
    assert "k8s.pod.name=$(K8S_POD_NAME)" in attributes and "deployment.environment.name=production" in attributes
