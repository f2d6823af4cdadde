"""The sum that CI ends with."""

import pathlib
import subprocess
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "count-tests"

LINES = {
    "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.12s": (12, 0, 3),
    "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.02s": (5, 2, 0),
    "     Summary [  12.345s] 5 tests run: 5 passed, 0 skipped": (5, 0, 0),
    "     Summary [   0.010s] 1 test run: 1 passed, 7 skipped": (1, 0, 7),
    "     Summary [ 512.345s] 120 tests run: 115 passed (3 slow, 1 leaky), 3 failed, 2 timed out, 6 skipped": (115, 5, 6),
    "     Summary [   1.000s] 3/9 tests run: 2 passed, 1 failed, 0 skipped": (2, 1, 0),
    "# pass 8": (8, 0, 0),
    "ℹ pass 8": (8, 0, 0),
    "# fail 1": (0, 1, 0),
    "ℹ skipped 2": (0, 0, 2),
    "======= 1 failed, 70 passed, 2 skipped, 3 warnings in 61.20s (0:01:01) =======": (70, 1, 2),
    "======================== 70 passed, 1 error in 3.20s =========================": (70, 1, 0),
    "running 12 tests; 5 passed": (0, 0, 0),
    "harvest: 102 checks, 102 passed, 0 failed": (0, 0, 0),
}


class CountTests(unittest.TestCase):
    def count(self, text: str) -> str:
        with tempfile.NamedTemporaryFile("w") as log:
            log.write(text)
            log.flush()
            return subprocess.run([PROGRAM, log.name], check=True, stdout=subprocess.PIPE, text=True).stdout

    def test_every_runner_is_understood(self) -> None:
        for line, (passed, failed, skipped) in LINES.items():
            self.assertEqual(self.count(f"{line}\n"), f"{passed} passed, {failed} failed, {skipped} skipped\n", line)

    def test_all_are_summed(self) -> None:
        sums = [sum(column) for column in zip(*LINES.values())]
        self.assertEqual(self.count("\n".join([*LINES, ""])), "{} passed, {} failed, {} skipped\n".format(*sums))
        self.assertEqual(self.count(""), "0 passed, 0 failed, 0 skipped\n")
