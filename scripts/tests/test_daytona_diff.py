"""What changed between two versions of Daytona's clients, with small made-up ones of two calls each."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = SCRIPTS.parent

sys.path.insert(0, str(SCRIPTS))

from daytona_clients import used

OPERATIONS = """operations! {
    CREATE: "create sandbox", Post "/sandbox", ReadFirst;
    LABELS: "replace labels", Put "/sandbox/{sandboxIdOrName}/labels", Safe;
    EXECUTE: "execute command", Post "/process/execute", ReadFirst;
}
"""
CONTRACT = {
    "api": {"paths": {"/sandbox": {"post": {}}, "/warm-pools": {"get": {}}}},
    "toolbox": {"paths": {"/process/execute": {"post": {}}}},
}
# What of the answer our client reads, and of the request it sends.
SENT_AND_READ = 'struct Sandbox { id: String, error_reason: Option<String> } json!({ "snapshot": snapshot });'

CREATE = {
    "snapshot": "Optional[StrictStr] = None",
    "linked_sandbox": 'Optional[StrictStr] = Field(default=None, description="", serialization_alias="linkedSandbox")',
}
SANDBOX = {
    "id": 'StrictStr = Field(description="The id")',
    "state": "Optional[SandboxState] = None",
    "cpu": "Union[StrictFloat, StrictInt]",
    "error_reason": 'Optional[StrictStr] = Field(default=None, serialization_alias="errorReason")',
    "spot": "Optional[StrictBool] = Field(default=False)",
}


def method(name: str, verb: str, path: str, *, query: str = "", body: str = "", answers: str = "{'200': \"Sandbox\"}") -> str:
    """One call as OpenAPI Generator writes it: how it is called, and how that goes over the wire."""
    in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    arguments = [f"{argument.lower()}: StrictStr" for argument in in_path] + ([body] if body else []) + ([query] if query else [])
    wire = [f"_path_params['{argument}'] = {argument.lower()}" for argument in in_path]
    wire += [f"_query_params.append(('{query.split(':')[0]}', {query.split(':')[0]}))"] if query else []
    wire += [f"_body_params = {body.split(':')[0]}"] if body else []
    return "\n    ".join(
        [
            "@validate_call(config={'defer_build': True})",
            f"def {name}(self, {', '.join([*arguments, '_headers: Optional[Dict[StrictStr, Any]] = None'])}):",
            f"    _response_types_map: Dict[str, Optional[str]] = {answers}",
            f"def _{name}_serialize(self, {', '.join(argument.split(':')[0] for argument in arguments)}):",
            "    _header_params['Accept'] = self.api_client.select_header_accept(['application/json'])",
            *(f"    {line}" for line in wire),
            f"    return self.api_client.param_serialize(method='{verb}', resource_path='{path}', body=_body_params)",
            "",
        ]
    )


CREATE_CALL = method("create_sandbox", "POST", "/sandbox", body="create_sandbox: CreateSandbox")
LABELS_CALL = method("replace_labels", "PUT", "/sandbox/{sandboxIdOrName}/labels")
POOLS_CALL = method("list_warm_pools", "GET", "/warm-pools", answers="{'200': \"List[WarmPool]\"}")


def model(name: str, fields: dict[str, str]) -> str:
    lines = [f"    {field}: {rest}" for field, rest in fields.items()]
    return f'class {name}(BaseModel):\n    """{name}"""\n' + "\n".join(lines) + "\n    additional_properties: Dict[str, Any] = {}\n"


class DaytonaDiff(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "scripts").mkdir()
        shutil.copy(SCRIPTS / "daytona-diff", self.root / "scripts")
        shutil.copytree(SCRIPTS / "daytona_clients", self.root / "scripts/daytona_clients", ignore=shutil.ignore_patterns("__pycache__"))
        for file, text in {used.OPERATIONS: OPERATIONS, used.CONTRACT: json.dumps(CONTRACT), used.SOURCES / "sandbox.rs": SENT_AND_READ}.items():
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).write_text(text)
        self.cache = self.root / "cache/harvest-fleet/daytona-clients"
        self.cache.mkdir(parents=True)
        self.client("0.1.0")

    def client(
        self,
        version: str,
        *,
        into: pathlib.Path | None = None,
        calls: tuple[str, ...] = (CREATE_CALL, LABELS_CALL, POOLS_CALL),
        create: dict[str, str] = CREATE,
        sandbox: dict[str, str] = SANDBOX,
        states: tuple[str, ...] = ("started", "stopped"),
    ) -> None:
        """Both packages of a version, as wheels."""
        enum = "class SandboxState(str, Enum):\n" + "".join(f"    {state.upper()} = '{state}'\n" for state in states)
        api = {
            "api/sandbox_api.py": "class SandboxApi:\n    " + "\n    ".join(calls),
            "models/create_sandbox.py": model("CreateSandbox", create),
            "models/sandbox.py": model("Sandbox", sandbox),
            "models/sandbox_state.py": enum + "    UNKNOWN_DEFAULT_OPEN_API = 'unknown_default_open_api'\n",
            "models/warm_pool.py": model("WarmPool", {"id": "StrictStr"}),
        }
        execute = method("execute_command", "POST", "/process/execute", query="timeout: Optional[StrictInt] = None")
        toolbox = {"api/process_api.py": "class ProcessApi:\n    " + execute, "models/unused.py": model("Unused", {"id": "StrictStr"})}
        for package, files in {"daytona_api_client": api, "daytona_toolbox_api_client": toolbox}.items():
            with zipfile.ZipFile((into or self.cache) / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
                for file, text in files.items():
                    wheel.writestr(f"{package}/{file}", text)
                # What pip wants of a wheel.
                info = f"{package}-{version}.dist-info"
                wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
                wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{info}/RECORD", "")

    def run_it(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # Whatever index the machine has is none of the tests'.
        without = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        alone = {"XDG_CACHE_HOME": str(self.root / "cache"), "PIP_CONFIG_FILE": os.devnull, "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, str(self.root / "scripts/daytona-diff"), *arguments],
            env=without | alone | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finds(self, *expected: str, exits: int, **newer: object) -> None:
        """What is said of a newer version like this; each expected line is there as it is, and no other begins with a mark."""
        self.client("0.2.0", **newer)
        done = self.run_it("0.1.0", "0.2.0")
        self.assertEqual((done.returncode, done.stderr), (exits, ""), done.stdout)
        lines = [line.strip() for line in done.stdout.splitlines()]
        for line in expected:
            self.assertIn(line, lines)
        self.assertEqual([line for line in lines if line.startswith("!")], [line for line in expected if line.startswith("!")])

    def test_the_same_calls_differ_in_nothing(self) -> None:
        self.finds("no difference for the calls we use", exits=0)

    def test_every_call_of_this_repository_is_compared(self) -> None:
        calls = used.calls(ROOT)
        rows = [line for line in (ROOT / used.OPERATIONS).read_text().splitlines() if line.endswith((", Safe;", ", ReadFirst;"))]
        self.assertEqual(sum(call.ours for call in calls), len(rows))
        contract = json.loads((ROOT / used.CONTRACT).read_text())
        listed = {(part, verb.upper(), path) for part in contract for path, verbs in contract[part]["paths"].items() for verb in verbs}
        self.assertLessEqual(listed, {(call.part, call.method, call.path) for call in calls})
        self.assertEqual(len(calls), len(set(calls)))

    def test_what_may_be_left_out_is_said_and_breaks_nothing(self) -> None:
        self.finds(
            "added   queueTimeout: integer, optional",
            "CreateSandbox (request), of POST /sandbox",
            "added   value paused",
            exits=0,
            create=CREATE | {"queue_timeout": 'Optional[StrictInt] = Field(default=None, serialization_alias="queueTimeout")'},
            states=("started", "stopped", "paused"),
        )

    def test_a_field_to_be_sent_from_now_on_breaks_the_fleet(self) -> None:
        self.finds(
            "! changed snapshot: string, optional -> string, required  [shared/daytona has to follow]",
            "! added   project: string, required  [shared/daytona has to follow]",
            exits=1,
            create=CREATE | {"snapshot": "StrictStr", "project": "StrictStr"},
        )

    def test_a_call_that_is_gone_or_moved_breaks_both(self) -> None:
        both = "[shared/daytona has to follow; official clients need it of sandboxd]"
        moved = method("create_sandbox", "POST", "/sandboxes", body="create_sandbox: CreateSandbox")
        self.finds(
            f"! changed the call is POST /sandboxes now  {both}",
            f"! removed the call itself  {both}",
            exits=1,
            calls=(moved, POOLS_CALL),
        )

    def test_what_the_fleet_does_not_call_concerns_sandboxd(self) -> None:
        self.finds("! removed the call itself  [official clients need it of sandboxd]", exits=1, calls=(CREATE_CALL, LABELS_CALL))

    def test_another_name_of_an_argument_in_a_path_is_no_difference(self) -> None:
        renamed = method("replace_labels", "PUT", "/sandbox/{id}/labels")
        self.finds("no difference for the calls we use", exits=0, calls=(CREATE_CALL, renamed, POOLS_CALL))

    def test_an_answer_without_what_the_fleet_reads_breaks_it(self) -> None:
        without = {name: rest for name, rest in SANDBOX.items() if name not in ("error_reason", "spot")}
        self.finds(
            "! removed errorReason: string, optional  [shared/daytona has to follow]",
            # Nobody here reads this one.
            "removed spot: boolean, optional",
            exits=1,
            sandbox=without,
        )

    def test_what_official_clients_insist_on_concerns_sandboxd(self) -> None:
        self.finds(
            "! changed cpu: number, required -> integer, required  [official clients need it of sandboxd]",
            "! added   kvm: boolean, required  [official clients need it of sandboxd]",
            "added   pausedAt: date-time, required, may be null",
            exits=1,
            sandbox=SANDBOX
            | {"cpu": "StrictInt", "kvm": "StrictBool", "paused_at": 'Optional[datetime] = Field(serialization_alias="pausedAt")'},
        )

    def test_an_answer_of_another_status_breaks_the_fleet(self) -> None:
        accepted = method("replace_labels", "PUT", "/sandbox/{sandboxIdOrName}/labels", answers="{'202': \"Sandbox\", '409': None}")
        self.finds(
            "! removed answer 200  [shared/daytona has to follow; official clients need it of sandboxd]",
            "! added   answer 202: Sandbox  [shared/daytona has to follow]",
            "added   answer 409: nothing",
            exits=1,
            calls=(CREATE_CALL, accepted, POOLS_CALL),
        )

    def test_programs_are_given_one_object_per_call(self) -> None:
        self.client("0.2.0", create=CREATE | {"project": "StrictStr"})
        done = self.run_it("--json", "0.1.0", "0.2.0")
        said = json.loads(done.stdout)
        self.assertEqual((done.returncode, said["breaking"]), (1, True))
        self.assertEqual(
            [(call["path"], call["made_by_the_fleet"], call["differences"]) for call in said["calls"]],
            [
                (
                    "/sandbox",
                    True,
                    [{"kind": "added", "what": "project: string, required", "breaks": ["fleet"], "of": "CreateSandbox (request)"}],
                ),
                ("/warm-pools", False, []),
                ("/process/execute", True, []),
                ("/sandbox/{sandboxIdOrName}/labels", True, []),
            ],
        )

    def test_wrong_usage_says_what_is_right(self) -> None:
        for arguments in ([], ["0.1.0"], ["0.1.0", "../0.2.0"], ["0.1.0", "latest"], ["--", "0.1.0", "--index-url=x"], ["--yaml", "0.1.0", "0.2.0"]):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertIn("usage: daytona-diff", done.stderr)
        self.assertIn("Exit codes:", self.run_it("--help").stdout)

    def test_pip_fetches_once_and_says_which_versions_there_are(self) -> None:
        index = self.root / "index"
        index.mkdir()
        self.client("0.3.0", into=index)
        from_folder = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
        unknown = self.run_it("0.1.0", "9.9.9", **from_folder)
        self.assertEqual((unknown.returncode, unknown.stdout), (2, ""))
        self.assertIn("daytona-api-client has no version 9.9.9; the newest are 0.3.0", unknown.stderr)
        (index / "daytona_toolbox_api_client-0.3.0-py3-none-any.whl").rename(index / "daytona_toolbox_api_client-0.2.9-py3-none-any.whl")
        self.assertEqual(self.run_it("0.1.0", "0.3.0", **from_folder).returncode, 2)
        self.assertEqual(self.run_it("--part", "api", "0.1.0", "0.3.0", **from_folder).returncode, 0)
        (index / "daytona_toolbox_api_client-0.2.9-py3-none-any.whl").rename(index / "daytona_toolbox_api_client-0.3.0-py3-none-any.whl")
        self.assertEqual(self.run_it("0.1.0", "0.3.0", **from_folder).returncode, 0)
        shutil.rmtree(index)
        self.assertEqual(self.run_it("0.1.0", "0.3.0", **from_folder).returncode, 0)
        # Nothing but whole wheels is left.
        self.assertEqual({file.suffix for file in self.cache.iterdir()}, {".whl"})

    def test_without_an_index_it_says_so(self) -> None:
        done = self.run_it("0.1.0", "0.2.0", PIP_INDEX_URL="http://127.0.0.1:9/simple")
        self.assertEqual((done.returncode, done.stdout), (69, ""))
        self.assertIn("pip did not reach its index for daytona-api-client 0.2.0", done.stderr)

    def test_a_package_of_another_form_is_not_taken_for_no_difference(self) -> None:
        self.client("0.2.0", calls=("pass",))
        done = self.run_it("0.1.0", "0.2.0")
        self.assertEqual((done.returncode, done.stdout), (69, ""))
        self.assertIn("holds no client as OpenAPI Generator writes them", done.stderr)
        (self.cache / "daytona_api_client-0.2.0-py3-none-any.whl").write_text("half of a download")
        done = self.run_it("0.1.0", "0.2.0")
        self.assertEqual(done.returncode, 69)
        self.assertIn("delete it, and it is fetched anew", done.stderr)


if __name__ == "__main__":
    unittest.main()
