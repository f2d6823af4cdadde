"""Steps that are skipped, and those that must not be."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "unless-unchanged"


class UnlessUnchanged(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "scripts").mkdir()
        shutil.copy(PROGRAM, self.root / "scripts")
        (self.root / ".gitignore").write_text("/target\n/runs\n")
        for name in ("input", "other"):
            (self.root / name).write_text("1")
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True)
        subprocess.run(["git", "add", "."], cwd=self.root, check=True)

    def runs(self, command: str = "true", **environment: str) -> bool:
        """Whether the step's command was run; it leaves a line each time."""
        seen = self.count()
        called = [str(self.root / "scripts/unless-unchanged"), "step", ".", ":!other", "--", "sh", "-c", f"echo >>runs; {command}"]
        without = {name: value for name, value in os.environ.items() if name not in ("CI", "FORCE")}
        done = subprocess.run(called, cwd=self.root, env=without | environment, stdout=subprocess.PIPE, text=True)
        ran = self.count() > seen
        self.assertEqual("skipped: inputs unchanged" in done.stdout, not ran)
        self.assertEqual(done.returncode, 1 if command == "false" else 0)
        return ran

    def count(self) -> int:
        file = self.root / "runs"
        return len(file.read_text()) if file.exists() else 0

    def test_what_has_passed_is_skipped_until_an_input_changes(self) -> None:
        self.assertTrue(self.runs())
        self.assertFalse(self.runs())
        (self.root / "other").write_text("2")
        self.assertFalse(self.runs(), "this is no input")
        (self.root / "input").write_text("2")
        self.assertTrue(self.runs(), "an input has changed")
        (self.root / "new").write_text("")
        self.assertTrue(self.runs(), "there is one more that git does not know yet")
        (self.root / "input").chmod(0o755)
        self.assertTrue(self.runs(), "its mode has changed")
        (self.root / "input").unlink()
        self.assertTrue(self.runs(), "it is gone")
        self.assertTrue(self.runs("true; true"), "the command has changed")
        self.assertFalse(self.runs("true; true"))

    def test_what_has_failed_is_run_again(self) -> None:
        self.assertTrue(self.runs("false"))
        self.assertTrue(self.runs("false"))
        self.assertTrue(self.runs())
        self.assertFalse(self.runs())
        self.assertTrue(self.runs("false"))
        self.assertTrue(self.runs(), "what passed before it failed is forgotten")

    def test_what_is_edited_while_it_runs_has_not_passed(self) -> None:
        self.assertTrue(self.runs("echo 3 >input"))
        self.assertTrue(self.runs("echo 3 >input"))
        self.assertFalse(self.runs("echo 3 >input"))

    def test_ci_never_skips_and_force_does_not_either(self) -> None:
        self.assertTrue(self.runs(CI="true"))
        self.assertTrue(self.runs(), "nothing was remembered")
        self.assertTrue(self.runs(CI="true"))
        self.assertTrue(self.runs(FORCE="1"))
        self.assertFalse(self.runs())
