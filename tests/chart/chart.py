"""Rendering the chart with real helm, and reading what comes out."""

import functools
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "harvest-fleet"
TOOLS = ROOT / ".tools" / "chart" / "bin"
BINARIES = Path(os.environ.get("HARVEST_BINARIES", ROOT / "target" / "debug"))
HERE = Path(__file__).parent
HELMS = ("helm3", "helm4")
EXAMPLES = CHART / "examples"

# What is rendered throughout: name -> values files, in the order they are laid over each other.
CASES = {
    "minimal": [EXAMPLES / "minimal.yaml"],
    "production": [EXAMPLES / "production.yaml"],
    "keda": [EXAMPLES / "minimal.yaml", EXAMPLES / "keda.yaml"],
    "production-keda": [EXAMPLES / "production.yaml", EXAMPLES / "keda.yaml"],
    "everything": [HERE / "values" / "everything.yaml"],
}
API_VERSIONS = ["keda.sh/v1alpha1", "monitoring.coreos.com/v1"]


class Refused(Exception):
    """Helm did not render: its words, in one line, as they are wrapped differently by each version."""

    def __init__(self, text):
        super().__init__(re.sub(r"\s+", " ", text))


def helm(version, *arguments, cwd=None):
    done = subprocess.run(
        [TOOLS / version, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120,
        # Nothing of the machine's own: no cluster, no plugins, no registry login.
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **_helm_home()},
    )
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


@functools.cache
def _helm_home():
    # Not beside the tools: clones share those.
    home = ROOT / ".tools" / "chart-home"
    return {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")} | {"KUBECONFIG": "/nonexistent"}


@functools.cache
def _render(version, files, sets):
    arguments = ["template", "fleet", CHART, "--namespace", "harvest", "--kube-version", "1.34.0"]
    for file in files:
        arguments += ["--values", file]
    for item in sets:
        arguments += ["--set-json", item]
    for api in API_VERSIONS:
        arguments += ["--api-versions", api]
    return helm(version, *arguments)


def render_text(files, version="helm4", **sets):
    """The manifests as text. `sets` lies above the files: a__b=1 is a.b."""
    pairs = (f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in sets.items())
    return _render(version, tuple(files), tuple(pairs))


def render(files, version="helm4", **sets):
    return [document for document in yaml.safe_load_all(render_text(files, version, **sets)) if document]


def minimal(version="helm4", **sets):
    return render(CASES["minimal"], version, **sets)


def of_kind(documents, kind, ending=""):
    return [one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending)]


def one(documents, kind, ending=""):
    (found,) = of_kind(documents, kind, ending)
    return found


def pod_specs(documents):
    """(name, labels, spec) of every pod that the documents make."""
    for document in documents:
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield name, document["metadata"]["labels"], document["spec"]
        elif document["kind"] == "Deployment":
            template = document["spec"]["template"]
            yield name, template["metadata"]["labels"], template["spec"]
        elif document["kind"] == "CronJob":
            template = document["spec"]["jobTemplate"]["spec"]["template"]
            yield name, template["metadata"]["labels"], template["spec"]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def own_container(spec):
    """The fleet's own, among those that values add."""
    return next(each for each in spec["containers"] if each["name"] in ("producer", "worker", "harvestctl", "doctor"))


def variables(spec):
    return {entry["name"]: entry for entry in own_container(spec).get("env", [])}


def settings_file(documents, ending, file):
    return tomllib.loads(one(documents, "ConfigMap", ending)["data"][file])
