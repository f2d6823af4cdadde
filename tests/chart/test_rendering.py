"""Both Helms lint and render every case to the same manifests, which are compared with those that were reviewed.

After a change that is meant: `scripts/chart-test --update-snapshots`, and read the diff."""

import json
import os
import re

import chart
import pytest
import yaml
from chart import HERE


def test_lint_is_clean(version, files):
    arguments = [argument for file in files for argument in ("--values", file)]
    chart.helm(version, "lint", "--strict", chart.CHART, *arguments)


def test_both_helms_make_the_same(files):
    assert chart.render(files, "helm3") == chart.render(files, "helm4")


def test_the_manifests_are_the_reviewed_ones(case, files):
    documents = chart.render(files)
    for document in documents:
        # Half a thousand lines of panels: the test of metrics reads them.
        if document["kind"] == "ConfigMap" and document["metadata"]["name"].endswith("-dashboard"):
            document["data"] = {key: "(left out)" for key in document["data"]}
    documents.sort(key=lambda document: (document["kind"], document["metadata"]["name"]))
    text = yaml.safe_dump_all(documents, sort_keys=True, width=150, allow_unicode=True)
    # A release changes these in every object.
    text = re.sub(r"(helm.sh/chart: harvest-fleet-|app.kubernetes.io/version: |image: .*harvest-\w+:)'?\d+\.\d+\.\d+\S*", r"\1VERSION", text)
    path = HERE / "snapshots" / f"{case}.yaml"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert path.exists(), f"{path} is missing: scripts/chart-test --update-snapshots"
    assert text == path.read_text(), f"not {path}: if that is meant, scripts/chart-test --update-snapshots"


def test_no_snapshot_is_left_over():
    assert {path.stem for path in (HERE / "snapshots").iterdir()} == set(chart.CASES)


@pytest.mark.parametrize("long", ["a" * 53, "harvest-fleet"])
def test_names_fit_whatever_the_release_is_called(long):
    pool = {"a23456789012345": {"queues": ["refresh"]}}
    text = chart.helm("helm4", "template", long, chart.CHART, "--values", chart.CASES["production-keda"][0], "--values",
                      chart.CASES["production-keda"][1], "--set-json", f"workers={json.dumps(pool)}",
                      "--set-json", "settings.quota.sandboxes=0")
    for document in yaml.safe_load_all(text):
        if document:
            assert len(document["metadata"]["name"]) <= 63, document["metadata"]["name"]
            for value in document["metadata"].get("labels", {}).values():
                assert len(value) <= 63


def test_the_chart_has_the_programs_version():
    import tomllib

    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    workspace = tomllib.loads((chart.ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert about["appVersion"] == workspace["version"]
    assert about["kubeVersion"] == ">=1.29.0-0"


def test_an_old_kubernetes_is_refused(version):
    with pytest.raises(chart.Refused, match="1.29"):
        chart.helm(version, "template", "fleet", chart.CHART, "--values", chart.CASES["minimal"][0], "--kube-version", "1.28.0")


def test_selectors_are_never_more_than_what_cannot_change(files):
    for document in chart.render(files):
        if document["kind"] == "Deployment":
            selector = document["spec"]["selector"]["matchLabels"]
            expected = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
            assert set(selector) - {"harvest-fleet/pool"} == expected
            assert selector.items() <= document["spec"]["template"]["metadata"]["labels"].items()


def test_a_new_chart_version_alone_restarts_no_pod(files):
    """Pods' templates may not hold the chart's version: an interrupted build costs minutes."""
    for name, labels, _ in chart.pod_specs(chart.render(files)):
        if not name.startswith("Pod/"):
            assert "helm.sh/chart" not in labels, name


def test_changed_settings_restart_and_a_changed_fleet_file_does_not():
    def checksums(documents):
        return {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
                for one in chart.of_kind(documents, "Deployment")}

    before = checksums(chart.minimal())
    fleet_file = checksums(chart.minimal(fleetFile__repositories=[{"name": "acme/other"}]))
    worker = checksums(chart.minimal(settings__worker__commands__poll="9s"))
    retry = checksums(chart.minimal(settings__retry__max_attempts=9))
    assert fleet_file == before
    assert {name for name in before if worker[name] != before[name]} == {"fleet-harvest-fleet-worker-general"}
    assert all(retry[name] != before[name] for name in before)


def test_notes_name_the_next_command_and_what_is_missing():
    def notes(case, *arguments):
        files = [argument for file in chart.CASES[case] for argument in ("--values", file)]
        text = chart.helm("helm4", "install", "fleet", chart.CHART, "--namespace", "harvest", "--dry-run=client", *files, *arguments)
        return text.split("NOTES:")[1]

    text = notes("minimal")
    assert "helm --namespace harvest test fleet --logs" in text
    assert "kubectl --namespace harvest create job --from=cronjob/fleet-harvest-fleet-harvestctl" in text
    assert "get secret harvest-amqp harvest-daytona harvest-git\n" in text
    assert "image.registry is empty" in text and "otlp.endpoint is empty" in text
    assert "KEDA" not in text and "no secret" not in text

    text = notes("production-keda")
    assert "general: 1 to 4 pods (KEDA) with 4 slots, from resume, ondemand, refresh" in text
    assert "KEDA is not known to this cluster" in text and "Prometheus Operator is not known" in text
    assert "image.registry" not in text

    text = notes("minimal", "--set-json", 'fleetFile.repositories=[{"name": "a/b", "secrets": ["NPM_TOKEN"]}]')
    assert "fleet.toml names NPM_TOKEN, which no secret" in text
    text = notes("minimal", "--set-json", "fleetFile.repositories=[]", "--set", 'fleetFile.text=[[repository]]\nname="a/b"\ntoken_secret="OTHER_TOKEN"')
    assert "fleet.toml names OTHER_TOKEN, which no secret" in text
    text = notes("minimal", "--set", "settings.worker.drain.deadline=20m", "--set", "producer.replicas=1")
    assert "may take 1230 s to leave" in text and "One producer" in text
