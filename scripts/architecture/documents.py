"""What the documents say about the code."""

import pathlib
import re
import subprocess

INVARIANTS = pathlib.Path("ARCHITECTURE.md")


def missing_tests() -> list[str]:
    """The tests that the table of invariants names and no file has."""
    table = INVARIANTS.read_text().split("\n## Invariants\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if re.match(r"\| \d", line)]
    sources = subprocess.run(["git", "grep", "-hoE", r"fn [a-z0-9_]+", "--", "*.rs"], check=True, stdout=subprocess.PIPE)
    known = {line.removeprefix("fn ") for line in sources.stdout.decode().splitlines()}
    mistakes = []
    for row in rows:
        named = re.findall(r"`((?:[a-z0-9_]+::)*[a-z0-9_]+)`", row[-1])
        names = [name.rsplit("::", 1)[-1] for name in named if name.count("_") > 2]
        if not names and "the compiler" not in row[-1] and "make lint" not in row[-1]:
            mistakes.append(f"{INVARIANTS}: invariant {row[0].strip('| ')} names no test")
        mistakes += [f"{INVARIANTS} names the test {name}, which is not there" for name in names if name not in known]
    if not rows:
        mistakes.append(f"{INVARIANTS}: the table of invariants was not found")
    return mistakes
