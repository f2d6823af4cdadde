"""The chart as it is shipped: packed, pushed to a real registry on loopback, pulled and installed from there by both Helms."""

import re
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import chart
import pytest
import yaml
from chart import CHART, ROOT, TOOLS


@contextmanager
def registry(folder):
    """On a free port; ends with the block, or with this process however that ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}}, "http": {"addr": f"127.0.0.1:{port}"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}}}
    (folder / "registry.yml").write_text(yaml.safe_dump(settings))
    log = (folder / "registry.log").open("w")
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", TOOLS / "docker-registry", "serve", folder / "registry.yml"], stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "registry.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
                break
            except urllib.error.URLError:
                # Nobody listens yet: the bound is above.
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        log.close()


def test_packed_pushed_pulled_and_rendered_it_is_the_same(version, tmp_path):
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    chart.helm(version, "package", CHART, "--destination", tmp_path)
    package = tmp_path / f"harvest-fleet-{about['version']}.tgz"
    (tmp_path / "pulled").mkdir()
    values = ["--values", chart.CASES["production"][0], "--namespace", "harvest"]
    with registry(tmp_path) as address:
        pushed = chart.helm(version, "push", package, f"oci://{address}/charts", "--plain-http")
        chart.helm(version, "pull", f"oci://{address}/charts/harvest-fleet", "--version", about["version"], "--plain-http", "--destination", tmp_path / "pulled")
        assert (tmp_path / "pulled" / package.name).read_bytes() == package.read_bytes()
        remote = chart.helm(version, "template", "fleet", f"oci://{address}/charts/harvest-fleet", "--version", about["version"], "--plain-http", *values)
        digest = re.search(r"sha256:[0-9a-f]{64}", pushed)
        if digest and version == "helm4":
            by_digest = chart.helm(version, "template", "fleet", f"oci://{address}/charts/harvest-fleet@{digest[0]}", "--plain-http", *values)
            assert by_digest == remote
    assert remote == chart.helm(version, "template", "fleet", CHART, *values)


def test_the_package_holds_what_it_should(tmp_path):
    chart.helm("helm4", "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("harvest-fleet/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "templates/NOTES.txt", "files/dashboard.json", "examples/production.yaml"} <= names
    assert [name for name in names if name.startswith((".", "ci")) and name != ".helmignore"] == []


def test_the_examples_have_no_secret_and_no_agent(tmp_path):
    for file in (CHART / "examples").iterdir():
        assert not re.search(r"ghp_|dtn_|://[^/\s]+:[^/\s]+@", file.read_text()), file


def test_the_readme_links_to_files_that_are_there():
    for readme in (CHART / "README.md", ROOT / "helm" / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)", readme.read_text()):
            if not link.startswith("http"):
                assert (readme.parent / link).exists(), f"{readme}: {link}"


def test_the_readmes_values_are_the_schemas():
    """Every key in the README's prose and commands is one that the schema takes."""
    text = (CHART / "README.md").read_text()
    keys = set(re.findall(r"^\| `([a-zA-Z.]+)` \|", text, re.M))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for key in keys:
        place = values
        for part in key.split("."):
            assert part in place, key
            place = place[part]


@pytest.mark.parametrize("path", sorted((CHART / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_case(path):
    assert any(path in files for files in chart.CASES.values())
