"""Scaling, draining, rolling out: what happens to builds that run."""

import chart
import pytest
from chart import CASES, ROOT


def scaled(**sets):
    return chart.render(CASES["keda"], **sets)


def test_each_queue_of_a_pool_is_a_trigger_that_counts_what_is_building():
    documents = scaled()
    general = chart.one(documents, "ScaledObject", "-general")["spec"]
    assert [trigger["metadata"]["queueName"] for trigger in general["triggers"]] == [f"harvest.demo.work.{queue}" for queue in ("resume", "ondemand", "refresh")]
    express = chart.one(documents, "ScaledObject", "-express")["spec"]
    assert [trigger["name"] for trigger in express["triggers"]] == ["resume", "ondemand"]
    for spec, slots in ((general, "4"), (express, "2")):
        for trigger in spec["triggers"]:
            metadata = trigger["metadata"]
            assert trigger["type"] == "rabbitmq"
            assert (metadata["protocol"], metadata["mode"], metadata["excludeUnacknowledged"]) == ("http", "QueueLength", "false")
            assert metadata["value"] == slots and metadata["vhostName"] == "/"
            assert "host" not in metadata, "its URL has a password: it comes from the secret"


def test_the_queues_names_are_the_brokers():
    text = (ROOT / "docs" / "messages.md").read_text()
    for trigger in chart.one(scaled(), "ScaledObject", "-general")["spec"]["triggers"]:
        assert f"`{trigger['metadata']['queueName'].replace('.demo.', '.<fleet>.')}`" in text


def test_the_scaler_owns_the_number_of_pods():
    """A number in the Deployment would undo the scaler's at each upgrade."""
    for documents, has in ((scaled(), False), (chart.minimal(), True)):
        for deployment in chart.of_kind(documents, "Deployment"):
            if "-worker-" in deployment["metadata"]["name"]:
                assert ("replicas" in deployment["spec"]) is has


def test_the_scaled_object_fits_its_deployment():
    documents = scaled()
    deployments = {one["metadata"]["name"] for one in chart.of_kind(documents, "Deployment")}
    for one in chart.of_kind(documents, "ScaledObject"):
        assert one["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": one["metadata"]["name"]}
        assert one["metadata"]["name"] in deployments


def test_pods_go_slowly_and_come_at_once():
    behavior = chart.one(scaled(), "ScaledObject", "-general")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"] == {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleUp"]["policies"][0]["value"] == 100


def test_without_an_answer_no_pod_is_taken_away():
    spec = chart.one(scaled(), "ScaledObject", "-general")["spec"]
    assert spec["fallback"] == {"failureThreshold": 4, "replicas": spec["maxReplicaCount"]}
    spec = chart.one(scaled(workerDefaults__scaling__fallback__replicas=2), "ScaledObject", "-general")["spec"]
    assert spec["fallback"]["replicas"] == 2


def test_the_management_apis_url_is_of_a_secret():
    documents = scaled()
    authentication = chart.one(documents, "TriggerAuthentication")
    assert authentication["spec"]["secretTargetRef"] == [{"parameter": "host", "name": "harvest-rabbitmq-management", "key": "RABBITMQ_MANAGEMENT_URL"}]
    for one in chart.of_kind(documents, "ScaledObject"):
        assert all(trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]} for trigger in one["spec"]["triggers"])


def test_the_cluster_operators_user_will_do():
    documents = chart.render(CASES["production-keda"], keda__existingSecret__name="")
    assert chart.one(documents, "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": key, "name": "harvest-rabbitmq-default-user", "key": key} for key in ("username", "password")]
    for one in chart.of_kind(documents, "ScaledObject"):
        assert all(trigger["metadata"]["host"] == "http://harvest-rabbitmq.harvest.svc:15672/" for trigger in one["spec"]["triggers"])


def test_an_authentication_of_the_platforms_takes_the_charts_place():
    documents = chart.render(CASES["everything"])
    assert chart.of_kind(documents, "TriggerAuthentication") == []
    (one,) = chart.of_kind(documents, "ScaledObject")
    assert one["spec"]["triggers"][0]["authenticationRef"] == {"name": "platform-rabbitmq", "kind": "ClusterTriggerAuthentication"}


def test_without_keda_nothing_of_it_is_made():
    documents = chart.minimal()
    assert chart.of_kind(documents, "ScaledObject") + chart.of_kind(documents, "TriggerAuthentication") == []


@pytest.mark.parametrize("most, fits", [(23, False), (24, True), (0, True)])
def test_all_pools_together_may_not_ask_for_more_than_the_limit(most, fits):
    # 4 pods of 4 slots, and 4 of 2.
    def render():
        return chart.render(CASES["production-keda"], settings__quota__sandboxes=most)

    if fits:
        assert render()
    else:
        with pytest.raises(chart.Refused, match="24 builds at once .pods x slots: express 4 x 2 = 8, general 4 x 4 = 16."):
            render()


def test_new_workers_come_before_old_ones_go():
    for name in ("general", "express"):
        spec = chart.one(chart.render(CASES["production"]), "Deployment", f"-worker-{name}")["spec"]
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}
        # 5m of drain and half a minute.
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 330


def test_a_drain_of_nodes_takes_a_quarter_and_is_never_blocked_by_broken_pods():
    documents = chart.render(CASES["production"])
    budgets = {one["metadata"]["name"]: one["spec"] for one in chart.of_kind(documents, "PodDisruptionBudget")}
    assert set(budgets) == {f"fleet-harvest-fleet-{name}" for name in ("producer", "worker-general", "worker-express")}
    assert budgets["fleet-harvest-fleet-worker-general"]["maxUnavailable"] == "25%"
    assert all(spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow" and "minAvailable" not in spec for spec in budgets.values())
    alone = chart.render(CASES["production"], producer__replicas=1)
    assert chart.of_kind(alone, "PodDisruptionBudget", "-producer") == []


def test_budgets_and_spreading_select_their_own_pods(files):
    documents = chart.render(files)
    pods = {name: labels for name, labels, _ in chart.pod_specs(documents)}
    for budget in chart.of_kind(documents, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"].items()
        selected = [name for name, labels in pods.items() if selector <= labels.items()]
        assert selected == [f"Deployment/{budget['metadata']['name']}"]
    for name, labels, spec in chart.pod_specs(documents):
        for constraint in spec.get("topologySpreadConstraints", []):
            selector = constraint["labelSelector"]["matchLabels"]
            assert selector == {"own": "selector"} or selector.items() <= labels.items(), name


def test_a_pool_overrides_key_by_key_and_null_takes_away():
    documents = chart.minimal(workers__general={"scaling": {"mode": "none", "maxReplicas": 9}, "resources": None, "extraArgs": [], "replicas": 0})
    deployment = chart.one(documents, "Deployment", "-worker-general")["spec"]
    assert deployment["replicas"] == 0
    assert "resources" not in deployment["template"]["spec"]["containers"][0]
    assert deployment["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] == 30
