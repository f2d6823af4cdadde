"""Drives a Daytona-compatible server with the official Python SDK; exits non-zero where it disagrees."""

import asyncio
import os
import sys

from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaNotFoundError, FileUpload, SessionExecuteRequest

daytona = Daytona()
repository, manner = sys.argv[1:]

params = CreateSandboxFromSnapshotParams(
    name="py", labels={"by": "python"}, env_vars={"A": "1"}, auto_stop_interval=5, auto_delete_interval=0, ttl_minutes=30
)
if "queue_timeout" in CreateSandboxFromSnapshotParams.model_fields:
    params.queue_timeout = 5
sandbox = daytona.create(params)
try:
    assert sandbox.state.value == "started", sandbox.state
    assert daytona.get("py").id == sandbox.id
    assert sandbox.get_user_home_dir() == "/home/harvest"
    assert sandbox.get_work_dir()

    answer = sandbox.process.exec("echo $A $B; pwd", cwd="/workspace", env={"B": "2"}, timeout=20)
    assert (answer.exit_code, answer.result) == (0, "1 2\n/workspace\n"), answer
    try:
        sandbox.process.exec("sleep 20", timeout=1)
    except Exception as error:
        assert "timeout" in str(error).lower(), error
    else:
        raise AssertionError("no timeout")

    sandbox.process.create_session("s")
    done = sandbox.process.execute_session_command("s", SessionExecuteRequest(command="echo out; echo err >&2"))
    assert done.exit_code == 0 and done.stdout == "out\n" and done.stderr == "err\n", done
    begun = sandbox.process.execute_session_command("s", SessionExecuteRequest(command="echo one; sleep 1; echo two", run_async=True))
    followed = []
    asyncio.run(sandbox.process.get_session_command_logs_async("s", begun.cmd_id, followed.append, lambda text: None))
    assert "".join(followed) == "one\ntwo\n", followed
    assert sandbox.process.get_session_command("s", begun.cmd_id).exit_code == 0
    assert sandbox.process.get_session_command_logs("s", begun.cmd_id).stdout == "one\ntwo\n"
    assert [session.session_id for session in sandbox.process.list_sessions()] == ["s"]
    sandbox.process.delete_session("s")

    content = os.urandom(300_000)
    sandbox.fs.create_folder("/workspace/d", "755")
    sandbox.fs.upload_file(content, "/workspace/d/one")
    sandbox.fs.upload_files([FileUpload(source=b"2", destination="/workspace/d/e/two")])
    assert sandbox.fs.download_file("/workspace/d/one") == content
    assert sorted(file.name for file in sandbox.fs.list_files("/workspace/d")) == ["e", "one"]
    assert sandbox.fs.get_file_info("/workspace/d/one").size == len(content)
    sandbox.fs.delete_file("/workspace/d/one")
    try:
        sandbox.fs.download_file("/workspace/d/one")
    except DaytonaNotFoundError:
        pass
    else:
        raise AssertionError("a deleted file was downloaded")

    sandbox.git.clone(repository, "/workspace/clone")
    assert sandbox.git.status("/workspace/clone").current_branch == "main"

    assert sandbox.set_labels({"by": "python", "more": "1"})["more"] == "1"
    assert [found.id for found in daytona.list()] == [sandbox.id]
    sandbox.set_autostop_interval(10)
    try:
        sandbox.set_ttl(40)
    except DaytonaNotFoundError:
        assert manner == "v0.190"
    else:
        assert manner != "v0.190"
    sandbox.refresh_activity()

    sandbox.create_snapshot("py-snapshot")
    # The SDK takes a sandbox that left `snapshotting` for success; in v0.190 the row appears later.
    snapshot = None
    while snapshot is None or snapshot.state.value == "snapshotting":
        try:
            snapshot = daytona.snapshot.get("py-snapshot")
        except DaytonaNotFoundError:
            assert manner == "v0.190"
    assert snapshot.state.value == "active", snapshot.state
    assert any(found.name == "py-snapshot" for found in daytona.snapshot.list().items)
    child = daytona.create(CreateSandboxFromSnapshotParams(snapshot="py-snapshot"))
    assert child.process.exec("cat /workspace/d/e/two; echo $A").result == "21\n"
    child.stop()
    child.start()
    assert child.process.exec("cat /workspace/d/e/two").result == "2"
    child.delete()
    daytona.snapshot.delete(snapshot)
finally:
    daytona.delete(sandbox, wait=True)
try:
    daytona.get("py")
except DaytonaNotFoundError:
    print("ok")
else:
    raise AssertionError("a deleted sandbox was found")
