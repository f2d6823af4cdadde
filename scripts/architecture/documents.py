"""What the documents say about the code."""

import pathlib
import re
import subprocess

INVARIANTS = pathlib.Path("docs/invariants.md")
THREATS = pathlib.Path("docs/threat-model.md")
PLACE = re.compile(r"`([\w./-]+\.(?:rs|toml)|[\w-]+(?:/[\w-]+)+)`")
TEST = re.compile(r"`((?:[a-z0-9_]+::)*[a-z0-9_]+)`")
# A test that is no function of ours in Rust: its file, and its title where it has one.
ELSEWHERE = re.compile(r'`([\w./-]+\.(?:mjs|ts|sh))`(?: "([^"]+)")?')
# What else may stand for a test.
OTHERWISE = ("the compiler", "make lint")


def invariant_mistakes(page: str, tests: dict[str, list[str]]) -> list[str]:
    """Places and tests that the table of invariants names and that are not there, by the files that each function is in."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| \d", line)]
    mistakes = [] if rows else ["the table of invariants was not found"]
    for number, _, places, proof in rows:
        mistakes += [f"invariant {number} names {place}, which is not there" for place in missing_places(places)]
        # Other names stand there in brackets: a test's is a sentence.
        names = [name for name in TEST.findall(proof) if name.count("_") > 2]
        if not names and not any(words in proof for words in OTHERWISE):
            mistakes.append(f"invariant {number} names no test")
        mistakes += [f"invariant {number} names the test {name}, which is not there" for name in names if not is_there(name, tests)]
    return [f"{INVARIANTS}: {mistake}" for mistake in mistakes]


def threat_mistakes(page: str, tests: dict[str, list[str]]) -> list[str]:
    """Tests that the threat model names and that are not there, and lines that name none without a word that it is so."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if re.match(r"\| [A-Z]\d", line)]
    mistakes = [] if rows else ["its tables were not found"]
    for number, _, holds, *proof in rows:
        proofs = " ".join(proof)
        names = [name for name in TEST.findall(proofs) if name.count("_") > 2]
        elsewhere = ELSEWHERE.findall(proofs)
        if not names and not elsewhere and not re.search(r"\*(open|accepted)\*", holds):
            mistakes.append(f"{number} names no test, and does not say that it is *open* or *accepted*")
        mistakes += [f"{number} names the test {name}, which is not there" for name in names if not is_there(name, tests)]
        for file, title in elsewhere:
            path = pathlib.Path(file)
            if not path.exists() or title not in path.read_text():
                mistakes.append(f"{number} names {file} {title}".rstrip() + ", which is not there")
    return [f"{THREATS}: {mistake}" for mistake in mistakes]


def is_there(name: str, tests: dict[str, list[str]]) -> bool:
    """Whether there is a function of this name, in the module of the end-to-end tests that stands before it."""
    *folders, function = name.split("::")
    under = "/".join(["tests/it", *folders]) if folders else ""
    return any(file.startswith((f"{under}.rs", f"{under}/") if under else "") for file in tests.get(function, []))


def missing_places(cell: str) -> list[str]:
    """Paths of a cell that are not there. One may go on from the folder, or from the crate, of the one before it."""
    folders, missing = [pathlib.Path()], []
    for place in PLACE.findall(cell):
        found = next((folder / place for folder in folders if (folder / place).exists()), None)
        if found:
            sources = [above for above in found.parents if above.name == "src"]
            folders = [pathlib.Path(), found.parent, *sources]
        else:
            missing.append(place)
    return missing


def words_unknown_to(code: str, page: str) -> list[str]:
    """Words of the glossary that are part of no name in the code."""
    glossary = page.partition("\n## Glossary\n")[2].partition("\n## ")[0]
    # A heading's row is followed by a line of dashes.
    rows = re.findall(r"^\| ([^|]+?) \|.*\|$(?!\n\|-)", glossary, re.MULTILINE)
    words = [word for row in rows if row.strip("-") for word in row.split(", ")]
    names = " ".join({name.replace("_", "").lower() for name in re.findall(r"\w+", code)})
    mistakes = [f"{word} is in no name of the code" for word in words if word.replace(" ", "") not in names]
    return [f"ARCHITECTURE.md: glossary: {mistake}" for mistake in mistakes or ([] if words else ["it has no words"])]


def functions() -> dict[str, list[str]]:
    """Every function of the repository, with the files it is in."""
    command = ["git", "grep", "--untracked", "-oE", r"(fn|def) [a-z0-9_]+", "--", "*.rs", "tests/chart/*.py"]
    found: dict[str, list[str]] = {}
    for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        file, name = re.split(r":(?:fn|def) ", line)
        found.setdefault(name, []).append(file)
    return found


def mistakes() -> list[str]:
    tests = functions()
    return [*invariant_mistakes(INVARIANTS.read_text(), tests), *threat_mistakes(THREATS.read_text(), tests)]
