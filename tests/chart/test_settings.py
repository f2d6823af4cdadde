"""What the chart writes is read by the real programs: `producer --dry-run`, `worker --check`, and harvestctl."""

import json
import re
import shutil
import ssl
import subprocess
import threading
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import chart
import generate
import pytest
import yaml
from chart import BINARIES, ROOT

ENVIRONMENT = {"AMQP_URL": "amqp://nobody:nothing@127.0.0.1:1/%2f", "DAYTONA_API_KEY": "dtn_not_a_real_key"}


def run(program, *arguments, folder, **environment):
    return subprocess.run([BINARIES / program, *arguments], capture_output=True, text=True, cwd=folder, timeout=60,
                          env={"HARVEST_FLEET": "demo", **ENVIRONMENT, **environment})


def write_settings(documents, folder):
    """Every ConfigMap's files, each in a folder of its own, as a pod has them."""
    for config_map in chart.of_kind(documents, "ConfigMap"):
        for file, text in config_map.get("data", {}).items():
            if file.endswith(".toml"):
                place = folder / config_map["metadata"]["name"]
                place.mkdir()
                (place / file).write_text(text)


def effective(folder, file, **environment):
    done = run("worker", "--config", file, "--check", folder=folder, **environment)
    assert done.returncode == 0, f"{done.stderr}\n{Path(file).read_text()}"
    entries = (line.split(" = ", 1) for line in done.stdout.splitlines() if " = " in line)
    return {knob: rest.rsplit("  # ", 1)[0] for knob, rest in entries}


def test_the_programs_take_every_file(files, tmp_path):
    documents = chart.render(files)
    write_settings(documents, tmp_path)
    workers = list(tmp_path.glob("*/worker.toml"))
    assert workers
    for file in workers:
        effective(tmp_path, file)
    (producer,) = tmp_path.glob("*/producer.toml")
    (fleet,) = tmp_path.glob("*/fleet.toml")
    done = run("producer", "--config", producer, "--dry-run", folder=tmp_path, HARVEST_FLEET_FILE=str(fleet))
    assert done.returncode == 0, f"{done.stderr}\n{producer.read_text()}\n{fleet.read_text()}"
    assert done.stdout.strip()


def test_every_knob_arrives(tmp_path):
    """`everything` sets each knob of the worker to something else than its default."""
    values = yaml.safe_load(chart.CASES["everything"][0].read_text())["settings"]
    documents = chart.render(chart.CASES["everything"])
    write_settings(documents, tmp_path)
    arrived = effective(tmp_path, tmp_path / "full-worker-rest" / "worker.toml")

    def flat(table, above=""):
        for key, value in table.items():
            if isinstance(value, dict) and value:
                yield from flat(value, f"{above}{key}.")
            else:
                yield f"{above}{key}", value

    expected = dict(flat({**values["worker"], "retry": values["retry"], "lease": values["lease"], "quota": values["quota"], "slots": 4, "queues": ["ondemand", "resume"]}))
    for knob, value in expected.items():
        if value != {}:
            assert tomllib.loads(f"x = {arrived[knob]}")["x"] == value, knob
    knobs = dict(flat(tomllib.loads((ROOT / "config" / "worker.toml").read_text())))
    # The last is a section whose names are chosen; it arrived above.
    assert set(knobs) - set(expected) == {"http.listen", "daytona.api_url", "daytona.target", "secrets"}, "everything.yaml lacks a knob"
    assert "secrets.GITHUB_TOKEN.git" in expected
    # A pool's own settings lie over those of all.
    own = effective(tmp_path, tmp_path / "full-worker-only-refresh" / "worker.toml")
    assert (own["drain.deadline"], own["telemetry.log_filter"], own["slots"]) == ('"90s"', '"info"', "8")
    assert own["lease.beat"] == arrived["lease.beat"]


def test_the_jobs_are_those_of_the_values(tmp_path):
    write_settings(chart.render(chart.CASES["production"]), tmp_path)
    (producer,), (fleet,) = tmp_path.glob("*/producer.toml"), tmp_path.glob("*/fleet.toml")
    done = run("producer", "--config", producer, "--fleet-file", fleet, "--dry-run", folder=tmp_path)
    jobs = {job["target"].split("@")[0]: job for job in map(json.loads, done.stdout.splitlines())}
    shop = jobs["acme/shop"]["settings"]
    assert jobs["acme/shop"]["target"] == "acme/shop@develop"
    assert shop["commands"] == {"build": "pnpm build:ci", "verify": "pnpm test:smoke"}
    assert shop["secrets"] == ["NPM_TOKEN"] and shop["toolchain"] == {"node": "22"} and shop["owner"] == "team-platform"
    assert shop["timeouts"]["install"] == "30m"
    monolith = jobs["acme/monolith"]["settings"]
    assert monolith["commands"] == {"verify": False} and monolith["class"] == "large"
    assert monolith["checkout"] == {"filter": "blob:none", "sparse": ["apps/web", "packages"], "lfs": True}
    assert jobs["git.example.com/platform/api"]["settings"]["clone"]["token_secret"] == "PLATFORM_GIT_TOKEN"


@pytest.mark.parametrize("text", ["plain", 'a "quoted" word', "back\\slash", "tab\tand\nnewline", "größer <b> & ünï", "\x7f\x01", "{{ .Values.fleet }}", "# no comment", "a = b", "]", "😀"])
def test_any_text_arrives_as_it_is(text, tmp_path):
    documents = chart.minimal(settings__worker__classes={text: {"base_snapshot": text}})
    assert chart.settings_file(documents, "-worker-general", "worker.toml")["classes"] == {text: {"base_snapshot": text}}
    write_settings(documents, tmp_path)
    effective(tmp_path, tmp_path / "fleet-harvest-fleet-worker-general" / "worker.toml")


@pytest.mark.parametrize("number", [0, 1, 1000, 10_800_000, 123_456_789_012])
def test_whole_numbers_stay_whole(number):
    documents = chart.minimal(settings__worker__sandboxes={"min_free_disk_mb": number})
    found = chart.settings_file(documents, "-worker-general", "worker.toml")["sandboxes"]["min_free_disk_mb"]
    assert found == number and isinstance(found, int)


def test_a_knob_that_nobody_knows_fails_in_the_program(tmp_path):
    """The check of the files above can fail: the schema is not the only guard."""
    write_settings(chart.minimal(), tmp_path)
    file = tmp_path / "fleet-harvest-fleet-worker-general" / "worker.toml"
    file.write_text(file.read_text() + "\n[lease]\nbeet = \"30s\"\n")
    done = run("worker", "--config", file, "--check", folder=tmp_path)
    assert done.returncode == 2 and "beet" in done.stderr
    producer = tmp_path / "fleet-harvest-fleet-producer" / "producer.toml"
    producer.write_text("[schedule]\nreload = 5\n")
    fleet = tmp_path / "fleet-harvest-fleet-fleet" / "fleet.toml"
    assert run("producer", "--config", producer, "--fleet-file", fleet, "--dry-run", folder=tmp_path).returncode == 2


@pytest.mark.parametrize("shared", ["retry", "lease", "quota"])
def test_what_programs_share_is_the_same_everywhere(shared):
    """Delays are queues: a program with others would not start. And who sweeps judges a holder as who takes its lease over does."""
    documents = chart.render(chart.CASES["everything"])
    sections = [chart.settings_file(documents, "-producer", "producer.toml")[shared]]
    sections += [tomllib.loads(one["data"]["worker.toml"])[shared] for one in chart.of_kind(documents, "ConfigMap") if "worker.toml" in one.get("data", {})]
    assert len(sections) == 3 and all(section == sections[0] for section in sections)


def test_the_schema_and_the_table_are_made_of_their_sources():
    assert generate.schema((chart.CHART / "values.schema.json").read_text()) == (chart.CHART / "values.schema.json").read_text()
    assert generate.readme((chart.CHART / "README.md").read_text()) == (chart.CHART / "README.md").read_text()


def test_the_schema_knows_the_keys_of_the_fleet_file():
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "config" / "README.md").read_text().split("## fleet.toml")[1].split("\n## ")[0], re.M)
    documented = {key for row in rows for key in re.findall(r"`([a-z_]+)`", row)}
    definitions = json.loads((chart.CHART / "values.schema.json").read_text())["definitions"]
    assert set(definitions["fleetRepository"]["properties"]) == documented - {"every"}
    assert set(definitions["fleetDefaults"]["properties"]) == documented - {"name"}


def test_the_charts_defaults_of_the_drain_are_the_programs(tmp_path):
    for program, name in (("worker", "-worker-general"), ("producer", "-producer")):
        deadline = tomllib.loads((ROOT / "config" / f"{program}.toml").read_text())["drain"]["deadline"]
        written = chart.one(chart.minimal(), "Deployment", name)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        explicit = chart.minimal(**{f"settings__{program}__drain__deadline": deadline})
        assert written == chart.one(explicit, "Deployment", name)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


DURATIONS = {"60s": 60, "1m 30s": 90, "1m30s": 90, "5m": 300, "1h": 3600, "1h 30m 5s": 5405, "1500ms": 2, "1 min": 60, "2 minutes": 120,
             "90 seconds": 90, "1day": 86400, "3hr": 10800, " 10s ": 10, "1ms": 1, "100millis": 1}


@pytest.mark.parametrize("text, seconds", DURATIONS.items(), ids=DURATIONS)
def test_the_grace_period_is_the_drain_and_half_a_minute(text, seconds, tmp_path):
    documents = chart.minimal(settings__worker__drain__deadline=text)
    spec = chart.one(documents, "Deployment", "-worker-general")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == seconds + 30
    # And the worker understands the same.
    write_settings(documents, tmp_path)
    assert effective(tmp_path, tmp_path / "fleet-harvest-fleet-worker-general" / "worker.toml")["drain.deadline"] == json.dumps(text)


def test_the_grace_period_is_longer_than_the_programs_take_to_leave():
    source = (ROOT / "shared/lifecycle/src/shutdown.rs").read_text()
    farewell = int(re.search(r"pub const FAREWELL: Duration = Duration::from_secs\((\d+)\);", source)[1])
    documents = chart.minimal(settings__worker__drain__deadline="100s", settings__producer__drain__deadline="100s")
    for name in ("-worker-general", "-producer"):
        spec = chart.one(documents, "Deployment", name)["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == 100 + farewell + 10


@pytest.mark.parametrize("text", ["", "60", "s", "1.5h", "1x", "-1s", "1h -3m", "1 month", "1s;", "ten seconds"])
def test_what_is_no_duration_here_is_refused(text):
    if text == "":
        # Not set.
        assert chart.minimal(settings__worker__drain__deadline=text)
        return
    with pytest.raises(chart.Refused, match="drain.deadline of settings.worker"):
        chart.minimal(settings__worker__drain__deadline=text)


@pytest.mark.parametrize("program", ["worker", "producer", "harvestctl"])
def test_the_programs_know_the_arguments_of_their_pods(program, files, tmp_path):
    component = {"harvestctl": "operator"}.get(program, program)
    for name, labels, spec in chart.pod_specs(chart.render(files)):
        if labels["app.kubernetes.io/component"] == component:
            arguments = chart.own_container(spec)["args"]
            # Refused arguments end with 2 before anything is read; --help wins over what is right.
            done = run(program, *arguments, "--help", folder=tmp_path)
            assert done.returncode == 0, f"{name}: {arguments}: {done.stderr}"


@contextmanager
def https_server(folder):
    """On loopback, with a certificate that only its own authority vouches for."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=our own", "-days", "2",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "ext")

    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(401)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    class Server(HTTPServer):
        def handle_error(self, *_):
            # A client that does not trust us hangs up.
            pass

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}/api", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_authorities_of_ones_own_are_trusted_beside_the_images(tmp_path):
    """harvestctl with the variables of the pod, and the authority where Kubernetes mounts it: a link through a link."""
    documents = chart.minimal(trustedCA={"configMap": "our-ca"})
    for _, _, spec in chart.pod_specs(documents):
        environment = {name: entry["value"] for name, entry in chart.variables(spec).items() if name.startswith("SSL_")}
        assert environment == {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "SSL_CERT_DIR": "/etc/harvest-ca"}
        assert {"name": "trusted-ca", "mountPath": "/etc/harvest-ca", "readOnly": True} in chart.own_container(spec)["volumeMounts"]

    mounted = tmp_path / "etc-harvest-ca"
    (mounted / "..2026_01_01").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2026_01_01")
    (mounted / "our.pem").symlink_to("..data/our.pem")
    with https_server(tmp_path) as (url, seen):
        shutil.copy(tmp_path / "ca.pem", mounted / "..2026_01_01" / "our.pem")
        (tmp_path / "fleet.toml").write_text("")
        told = {"DAYTONA_API_URL": url, "HARVEST_FLEET_FILE": str(tmp_path / "fleet.toml"), "HARVEST_BROKER_CONNECT_TIMEOUT": "1s"}
        run("harvestctl", "doctor", folder=tmp_path, **told, SSL_CERT_FILE=environment["SSL_CERT_FILE"])
        assert seen == [], "trusted without its authority: the test proves nothing"
        run("harvestctl", "doctor", folder=tmp_path, **told, SSL_CERT_FILE=environment["SSL_CERT_FILE"], SSL_CERT_DIR=str(mounted))
        assert seen, "not trusted with its authority"


def test_the_cluster_operators_secret_makes_a_url_that_works(tmp_path):
    documents = chart.render(chart.CASES["production"])
    spec = chart.one(documents, "Deployment", "-producer")["spec"]["template"]["spec"]
    url = chart.variables(spec)["AMQP_URL"]["value"]
    names = list(chart.variables(spec))
    for variable, value in (("USERNAME", "default_user_x-1"), ("PASSWORD", "abc-_123"), ("HOST", "rabbit.harvest.svc"), ("PORT", "5672")):
        entry = chart.variables(spec)[f"RABBITMQ_{variable}"]["valueFrom"]["secretKeyRef"]
        assert entry == {"name": "harvest-rabbitmq-default-user", "key": variable.lower()}
        # Kubernetes replaces only what stands above.
        assert names.index(f"RABBITMQ_{variable}") < names.index("AMQP_URL")
        url = url.replace(f"$(RABBITMQ_{variable})", value)
    assert url == "amqp://default_user_x-1:abc-_123@rabbit.harvest.svc:5672/%2f"
    write_settings(documents, tmp_path)
    effective(tmp_path, next(tmp_path.glob("*/worker.toml")), AMQP_URL=url)
