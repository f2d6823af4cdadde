"""What cannot be installed is refused before it is, by both Helms, with words that say what to do."""

import json

import chart
import pytest

POOL = {"queues": ["resume", "ondemand", "refresh"]}
# Values over minimal.yaml, and what the message must hold.
REFUSED = [
    # Types, names and ranges: the schema.
    ({"flet": "demo"}, ["flet"]),
    ({"producer.replica": 3}, ["/producer|producer:", "replica"]),
    ({"producer.replicas": 0}, ["producer.replicas|/producer/replicas", "1"]),
    ({"workers.general.slot": 3}, ["workers.general|/workers/general", "slot"]),
    ({"workers.general.slots": "four"}, ["slots", "integer"]),
    ({"workers.general.queues": ["refreshed"]}, ["queues", "resume", "ondemand", "refresh"]),
    ({"workers.general.queues": []}, ["queues", "1|one"]),
    ({"workers.Big_Pool": POOL}, ["Big_Pool"]),
    ({"workers.a-name-too-long-to-fit": POOL}, ["a-name-too-long-to-fit"]),
    ({"workerDefaults.scaling.mode": "hpa"}, ["scaling", "none", "keda"]),
    ({"workerDefaults.scaling.polingInterval": 3}, ["polingInterval"]),
    ({"workerDefaults.resources": {"limit": {"memory": "1Gi"}}}, ["limit"]),
    ({"settings.worker.drain.deadlin": "5m"}, ["drain", "deadlin"]),
    ({"settings.worker.drian": {"deadline": "5m"}}, ["drian"]),
    ({"settings.worker.sandboxes": {"max": 3, "reserve_snapshots": 1}}, ["settings.worker.sandboxes.max is settings.quota.sandboxes now", "settings.worker.sandboxes.reserve_snapshots is settings.quota.reserve_snapshots now"]),
    ({"settings.lease.beat": 30}, ["beat", "string"]),
    ({"settings.lease.beat": "30"}, ["beat", "pattern"]),
    ({"settings.worker.slots": 8}, ["settings.worker|/settings/worker", "slots"]),
    ({"settings.worker.http": {"listen": "0.0.0.0:9"}}, ["http"]),
    ({"settings.producer.retry": {"max_attempts": 2}}, ["retry"]),
    ({"settings.worker.lease": {"beat": "20s"}}, ["lease"]),
    ({"settings.worker.telemetry.log_format": "text"}, ["log_format", "auto", "json", "pretty"]),
    ({"fleetFile.repositories": [{"nme": "a/b"}]}, ["nme"]),
    ({"fleetFile.repositories": [{"branch": "main"}]}, ["name"]),
    ({"fleetFile.repositories": [{"name": "a/b", "keep": 21}]}, ["keep", "20"]),
    ({"fleetFile.repositories": [{"name": "a/b", "every": "30m"}]}, ["every"]),
    ({"image.pullPolicy": "Sometimes"}, ["pullPolicy", "IfNotPresent"]),
    ({"producer.image.digest": "sha256:abc"}, ["digest"]),
    ({"git.existingSecrets": [{"name": "git", "keys": ["NOT-A-NAME"]}]}, ["keys"]),
    ({"git.existingSecrets": [{"keys": ["GITHUB_TOKEN"]}]}, ["name"]),
    ({"git.existingSecrets": [{"name": "git", "value": "ghp_123", "keys": ["GITHUB_TOKEN"]}]}, ["value"]),
    ({"daytona.apiKey": "dtn_123"}, ["apiKey"]),
    ({"amqp.url": "amqp://guest:guest@localhost"}, ["url"]),
    ({"otlp.protocol": "http/json"}, ["protocol", "grpc", "http/protobuf"]),
    ({"networkPolicy.amqpPorts": [70000]}, ["amqpPorts", "65"]),
    ({"commonLabels": {"a": 1}}, ["commonLabels", "string"]),
    ({"metrics.prometheusRule.disabled": ["NoTick"]}, ["disabled"]),
    # Rules over several values, and those whose message should say more: the templates.
    ({"fleet": ""}, ["fleet is missing", "1 to 10 characters"]),
    ({"fleet": "Prod"}, ['fleet is "Prod"', "starting with a letter"]),
    ({"fleet": "1st"}, ['fleet is "1st"']),
    ({"fleet": "eleven-char"}, ['fleet is "eleven-char"']),
    ({"fleetFile.repositories": []}, ["fleetFile is empty", "--set-file fleetFile.text=fleet.toml"]),
    ({"fleetFile.text": "[defaults]"}, ["fleetFile: give only one of"]),
    ({"fleetFile.repositories": [], "fleetFile.text": "x=1", "fleetFile.defaults": {"keep": 1}}, ["fleetFile.defaults goes with fleetFile.repositories only"]),
    ({"amqp.existingSecret.name": ""}, ["RabbitMQ is missing", "amqp.existingSecret.name", "amqp.clusterOperator.name"]),
    ({"amqp.clusterOperator.name": "rabbit"}, ["RabbitMQ is given twice"]),
    ({"daytona.existingSecret.name": ""}, ["Daytona is missing", "daytona.existingSecret.name"]),
    ({"trustedCA": {"configMap": "a", "secret": "b"}}, ["trustedCA: give a configMap or a secret, not both"]),
    ({"otlp.endpoint": "collector:4317"}, ['otlp.endpoint is "collector:4317"', "http:// or https://"]),
    ({"buildSecrets": [{"name": "agent", "keys": ["CLAUDE_CODE_OAUTH_TOKEN"]}]}, ["buildSecrets: CLAUDE_CODE_OAUTH_TOKEN belongs to the agent's session"]),
    ({"buildSecrets": [{"name": "agent", "keys": [{"variable": "anthropic_api_key", "key": "x"}]}]}, ["anthropic_api_key belongs to the agent's session"]),
    ({"git.existingSecrets": [{"name": "x", "keys": ["DAYTONA_API_KEY"]}]}, ["git.existingSecrets: DAYTONA_API_KEY opens the fleet itself"]),
    ({"buildSecrets": [{"name": "x", "keys": ["HARVEST_SLOTS"]}]}, ["HARVEST_SLOTS is a setting of the fleet"]),
    ({"buildSecrets": [{"name": "x", "keys": ["GITHUB_TOKEN"]}]}, ["GITHUB_TOKEN is given twice"]),
    ({"buildSecrets": [{"name": "x", "keys": ["NPM_TOKEN"]}]}, ["buildSecrets: NPM_TOKEN is for nothing yet", "settings.worker.secrets.NPM_TOKEN.repositories", '["acme/*"]']),
    ({"settings.worker.secrets": {"GITHUB_TOKEN": {"repositories": ["acme/*"]}}}, ["git.existingSecrets: GITHUB_TOKEN is for nothing yet", "settings.worker.secrets.GITHUB_TOKEN.git", '["https://github.com/acme/"]']),
    ({"settings.worker.secrets.GITHUB_TOKEN": {"hosts": ["github.com"]}}, ["hosts"]),
    ({"settings.worker.secrets.GITHUB_TOKEN": {"git": "https://github.com/"}}, ["git", "array"]),
    ({"settings.worker.secrets.A-B": {"git": ["https://github.com/"]}}, ["A-B"]),
    ({"workers.general.settings": {"secrets": {"NPM_TOKEN": {"repositories": ["a/*"]}}}}, ["workers.general.settings.secrets: one value for the whole fleet"]),
    ({"extraEnv": [{"name": "LINEAR_API_KEY", "value": "x"}]}, ["extraEnv: LINEAR_API_KEY belongs to the agent's session"]),
    ({"workers.general.extraEnv": [{"name": "SENTRY_AUTH_TOKEN", "value": "x"}]}, ["workers.general.extraEnv: SENTRY_AUTH_TOKEN belongs"]),
    ({"producer.extraEnv": [{"name": "AMQP_URL", "value": "amqp://x"}]}, ["producer.extraEnv: AMQP_URL opens the fleet itself"]),
    ({"extraEnv": [{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "x"}]}, ["producer: the variable OTEL_RESOURCE_ATTRIBUTES is set twice"]),
    ({"workers.general.queues": ["refresh"]}, ["no pool takes from the queue resume", "no pool takes from the queue ondemand", "wait for ever"]),
    ({"workers.general": None}, ["workers has no pool"]),
    ({"settings.quota.sandboxes": 7}, ["8 builds at once", "general 2 x 4 = 8", "settings.quota.sandboxes is 7"]),
    ({"settings.quota.sandboxes": 30, "workers.express": {"scaling": {"mode": "keda", "maxReplicas": 6}}, "keda.existingSecret.name": "m"}, ["32 builds at once", "express 6 x 4 = 24, general 2 x 4 = 8", "is 30"]),
    ({"workers.general.settings": {"quota": {"sandboxes": 3}}}, ["quota"]),
    ({"workers.general.settings": {"classes": {"large": {}}}}, ["workers.general.settings.classes: one value for the whole fleet"]),
    ({"workers.general.settings": {"lease": {"beat": "20s"}}}, ["lease"]),
    ({"workers.general.scaling": {"mode": "keda"}}, ["workers.general.scaling.mode is keda", "keda.existingSecret.name"]),
    ({"workers.general.scaling": {"mode": "keda", "minReplicas": 6}, "keda.existingSecret.name": "m"}, ["minReplicas 6 is more than maxReplicas 5"]),
    ({"workers.general.scaling": {"mode": "keda", "fallback": {"replicas": 9}}, "keda.existingSecret.name": "m"}, ["fallback.replicas 9 is more than maxReplicas 5"]),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, ["commonLabels: app.kubernetes.io/name is a label of the chart's own"]),
    ({"workers.general.podLabels": {"harvest-fleet/pool": "x"}}, ["workers.general.podLabels: harvest-fleet/pool is a label of the chart's own"]),
    ({"workers.general.terminationGracePeriodSeconds": 60}, ["workers.general.terminationGracePeriodSeconds is 60", "for 60 s", "at least 90"]),
    ({"workerDefaults.terminationGracePeriodSeconds": 329, "settings.worker.drain.deadline": "5m"}, ["is 329", "at least 330"]),
    ({"workers.general.settings": {"drain": {"deadline": "2m"}}, "workerDefaults.terminationGracePeriodSeconds": 120}, ["is 120", "at least 150"]),
    ({"producer.terminationGracePeriodSeconds": 49}, ["producer.terminationGracePeriodSeconds is 49", "at least 50"]),
    ({"settings.worker.drain.deadline": "soon"}, ["drain.deadline of settings.worker", "is not understood here", '"1h 30m"']),
    ({"console.enabled": True}, ["the web console is not there yet"]),
    # All at once.
    ({"fleet": "", "daytona.existingSecret.name": "", "console.enabled": True}, ["3 of the values cannot be", "fleet is missing", "Daytona is missing", "not there yet"]),
]


def render(version, values):
    sets = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    return chart._render(version, tuple(chart.CASES["minimal"]), tuple(sets))


@pytest.mark.parametrize("values, words", REFUSED, ids=[",".join(f"{key}={json.dumps(value)}"[:50] for key, value in values.items()) for values, _ in REFUSED])
def test_refused_with_a_message(version, values, words):
    with pytest.raises(chart.Refused) as refused:
        render(version, values)
    message = str(refused.value)
    for word in words:
        # Each Helm writes the path in its own way.
        assert any(spelling in message for spelling in word.split("|")), f"{word!r} is not in: {message}"


# The other side of the same rules, so that they do not refuse everything.
ACCEPTED = [
    {"fleet": "a"},
    {"fleet": "ten-chars0"},
    {"settings.quota.sandboxes": 8},
    {"settings.quota.sandboxes": 0},
    {"workers.general": None, "workers.a": {"queues": ["resume"]}, "workers.b": {"queues": ["refresh", "ondemand"]}},
    {"workers.general.terminationGracePeriodSeconds": 90},
    {"producer.terminationGracePeriodSeconds": 50},
    {"extraEnv": [{"name": "OTEL_BSP_MAX_QUEUE_SIZE", "value": "4096"}]},
    {"workers.general.resources": None, "workerDefaults.topologySpreadConstraints": None},
    {"fleetFile.repositories": [], "fleetFile.existingConfigMap": "mine"},
    {"global": {"anything": 1}},
    {"buildSecrets": [{"name": "x", "keys": ["NPM_TOKEN", {"variable": "OTHER_TOKEN", "key": "other-token"}]}],
     "settings.worker.secrets.NPM_TOKEN": {"repositories": ["acme/*"]}, "settings.worker.secrets.OTHER_TOKEN": {"repositories": ["*/*"]}},
]


@pytest.mark.parametrize("values", ACCEPTED, ids=json.dumps)
def test_accepted(version, values):
    assert "kind: Deployment" in render(version, values)


def test_the_chart_alone_says_all_that_it_needs(version):
    with pytest.raises(chart.Refused) as refused:
        chart.helm(version, "template", "fleet", chart.CHART)
    for word in ("fleet is missing", "fleetFile is empty", "RabbitMQ is missing", "Daytona is missing"):
        assert word in str(refused.value)


def test_nothing_in_the_schema_takes_unknown_keys():
    """Objects are closed, maps of texts, or Kubernetes's own, which kubernetes-validate judges."""
    schema = json.loads((chart.CHART / "values.schema.json").read_text())
    open_objects = []

    def walk(node, path):
        if isinstance(node, dict):
            is_object = "object" in (node["type"] if isinstance(node.get("type"), list) else [node.get("type")])
            if is_object and "properties" in node and node.get("additionalProperties") is not False:
                open_objects.append(path)
            for key, below in node.items():
                walk(below, f"{path}/{key}")
        elif isinstance(node, list):
            for index, below in enumerate(node):
                walk(below, f"{path}/{index}")

    walk(schema, "")
    assert open_objects == []


def test_every_template_begins_with_the_check():
    """Helm renders them in an order of its own: one without it could fail first, with words of its own."""
    for path in [*(chart.CHART / "templates").rglob("*.yaml"), chart.CHART / "templates" / "NOTES.txt"]:
        assert path.read_text().startswith('{{- include "harvest.check" . -}}'), path
