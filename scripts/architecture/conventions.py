"""The rules of CONTRIBUTING.md that no lint knows, for one file of production code at a time."""

import pathlib
import re

from . import source
from .counts import line_of

HEAD = re.compile(r"(?://!.*\n)*")
MISSING_DOCS = re.compile(r"^#!\[(?:warn|deny)\(missing_docs\)\]", re.MULTILINE)
BANNED = {
    r"^[ \t]*(?:pub(?:\([^)]*\))?\s+)?static\b": "a static: two of everything have to fit in one process",
    r"\.(?:unwrap|expect)\(": "a panic where an error belongs",
}
# Lines at the head of a file; of lib.rs, which tells what the whole crate is.
LONGEST_HEAD, LONGEST_HEAD_OF_CRATE = 6, 10
# Beside main: what it calls to start, and to speak to who typed the command.
ANYHOW_FILES = {"main.rs", "cli.rs"}
# For people only: an error is shown there, and nothing is decided by it.
ANYHOW_CRATES = {"operator"}


def mistakes(crate: str, file: pathlib.Path, text: str, *, for_tests: bool) -> list[str]:
    """What one file does against the rules. A file that exists for the tests of others may panic as they do."""
    found = [(1, wrong) for wrong in wrong_head(file, text)]
    code = source.code_of(source.production(text))
    if file.name == "lib.rs" and file.parts[0] == "shared" and not MISSING_DOCS.search(text):
        found.append((1, "`#![warn(missing_docs)]` is missing: the library is for others to use"))
    if "anyhow" in code and crate not in ANYHOW_CRATES and file.name not in ANYHOW_FILES:
        found.append((line_of(code, code.index("anyhow")), "anyhow, where callers need an error that says what to do"))
    if not for_tests:
        for pattern, wrong in BANNED.items():
            found += [(line_of(code, at.start()), wrong) for at in re.finditer(pattern, code, re.MULTILINE)]
    return [f"{file}:{line}: {wrong}" for line, wrong in found]


def wrong_head(file: pathlib.Path, text: str) -> list[str]:
    lines = HEAD.match(text)[0].count("\n")
    most = LONGEST_HEAD_OF_CRATE if file.name == "lib.rs" else LONGEST_HEAD
    if not lines:
        return ["no `//!` says why the file exists"]
    return [f"`//!` takes {lines} lines, and {most} are enough"] if lines > most else []


def ignored_tests(file: pathlib.Path, text: str) -> list[str]:
    code = source.code_of(text)
    return [
        f"{file}:{line_of(code, at.start())}: an ignored test: a flaky test is a broken one"
        for at in re.finditer(r"#\[ignore\b", code)
    ]
