"""Every rendered object is what its API takes: Kubernetes's own by kubernetes-validate for the oldest version of the chart and a new
one, KEDA's and Prometheus Operator's by the models of their CRDs."""

import copy
import json

import chart
import kubernetes_validate
import pydantic
import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

MODELS = {
    "ScaledObject": keda.ScaledObject,
    "TriggerAuthentication": keda.TriggerAuthentication,
    "PodMonitor": prometheus_operator.PodMonitor,
    "PrometheusRule": prometheus_operator.PrometheusRule,
}


@pytest.fixture(scope="session", autouse=True)
def strict_models():
    """As they come, the models accept unknown fields. A cluster drops those without a word, so here they are refused."""
    seen = set()

    def close(model):
        if model in seen:
            return
        seen.add(model)
        for field in model.model_fields.values():
            for below in models_in(field.annotation):
                close(below)
        model.model_config["extra"] = "forbid"
        model.model_rebuild(force=True)

    def models_in(annotation):
        if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
            yield annotation
        for part in getattr(annotation, "__args__", ()):
            yield from models_in(part)

    for model in MODELS.values():
        close(model)


def check_custom(document):
    # Strict: a number is no text, as in a cluster.
    MODELS[document["kind"]].model_validate_json(json.dumps(document), strict=True)


@pytest.mark.parametrize("kubernetes", ["1.29", "1.34"])
def test_kubernetes_takes_every_object(kubernetes, files):
    for document in chart.render(files):
        if document["kind"] not in MODELS:
            kubernetes_validate.validate(document, kubernetes, strict=True)


def test_keda_and_prometheus_operator_take_theirs(files):
    for document in chart.render(files):
        if document["kind"] in MODELS:
            check_custom(document)


def test_each_kind_is_rendered_by_some_case():
    kinds = {document["kind"] for files in chart.CASES.values() for document in chart.render(files)}
    assert kinds >= {*MODELS, "Deployment", "ConfigMap", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy", "CronJob", "Pod"}


SCALED = [("spec.polingInterval", 15), ("spec.triggers.0.metadata.value", 4), ("spec.maxReplicaCount", "4"), ("spec.fallback.replica", 1),
          ("spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.policies.0.periodSecond", 60)]
MONITOR = [("spec.podMetricsEndpoints.0.intervall", "30s"), ("spec.selector.matchLabel", {}), ("spec.podMetricsEndpoints.0.relabelings.0.target", "x")]
RULE = [("spec.groups.0.rules.0.severity", "x"), ("spec.groups.0.rules.0.labels.a", 1), ("spec.group", [])]
WRONG = [("ScaledObject", *each) for each in SCALED] + [("PodMonitor", *each) for each in MONITOR] + [("PrometheusRule", *each) for each in RULE]


@pytest.mark.parametrize("kind, path, value", WRONG, ids=[f"{kind}:{path}" for kind, path, _ in WRONG])
def test_the_check_of_custom_objects_refuses(kind, path, value):
    good = chart.of_kind(chart.render(chart.CASES["production-keda"]), kind)[0]
    check_custom(good)
    bad = copy.deepcopy(good)
    *above, last = path.split(".")
    place = bad
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = value
    with pytest.raises(pydantic.ValidationError):
        check_custom(bad)


@pytest.mark.parametrize("path", ["spec.replica", "spec.template.spec.container", "spec.template.spec.containers.0.resource"])
def test_the_check_of_kubernetes_objects_refuses(path):
    bad = copy.deepcopy(chart.of_kind(chart.minimal(), "Deployment")[0])
    *above, last = path.split(".")
    place = bad
    for part in above:
        place = place[int(part)] if isinstance(place, list) else place[part]
    place[last] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(bad, "1.34", strict=True)


def test_no_key_is_written_twice(files):
    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in one object: {keys} at {node.start_mark}"
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    list(yaml.load_all(chart.render_text(files), Loader))


def test_pods_fit_the_restricted_standard(files):
    for name, _, spec in chart.pod_specs(chart.render(files)):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] == 65532, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert not spec.get("hostNetwork") and not spec.get("hostPID"), name
        own = chart.own_container(spec)["securityContext"]
        assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True, name
        assert own["capabilities"] == {"drop": ["ALL"]}, name


def test_long_running_pods_are_asked_on_their_port(files):
    for document in chart.of_kind(chart.render(files), "Deployment"):
        container = chart.own_container(document["spec"]["template"]["spec"])
        assert [port["containerPort"] for port in container["ports"]] == [8080]
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}


def test_helm_test_runs_doctor(files):
    pod = chart.one(chart.render(files), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    # With hook-succeeded, Helm 3 would have deleted it before --logs reads it.
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert pod["spec"]["containers"][0]["args"][-3:] == ["doctor", "--worker-config", "/etc/harvest/worker.toml"]
    assert pod["spec"]["restartPolicy"] == "Never"
