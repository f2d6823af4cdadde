"""The rules of who may name what: held by the crates, and said the same by the documents."""

import dataclasses
import re
from collections.abc import Set

from .crates import Workspace

ROW = re.compile(r"^\| (?P<first>.*?) \| (?P<rest>.*) \|$")
QUOTED = re.compile(r"`([\w-]+)`")
ONLY = re.compile(r"\| only (.+?) names? ([\w-]+) \|")
NEVER = re.compile(r"\| `([\w-]+)` reaches neither (.+?), however many steps away \|")
ALONE = re.compile(r"alone (?:with (.+?) )?names ([\w-]+)")

Names = dict[str, set[str]]


@dataclasses.dataclass
class Rules:
    # Who alone may name a library.
    only: Names
    # What a crate must not reach, however many steps away.
    never: Names
    # They know nothing of ours, and any crate may name them.
    leaves: set[str]
    # Which of our crates a crate may name, beside the leaves.
    siblings: Names
    # It may name everything, and nobody may name it.
    tests: str


def broken(rules: Rules, workspace: Workspace) -> list[str]:
    """Where the crates do not keep the rules, or the rules do not know the crates."""
    mistakes = differences("the workspace", workspace.names.keys(), rules.siblings.keys() | {rules.tests}, "crates")
    for crate in sorted(workspace.names.keys() - {rules.tests}):
        for library in sorted(workspace.names[crate] & rules.only.keys()):
            if crate not in rules.only[library]:
                mistakes.append(f"{crate} names {library}: only {sorted(rules.only[library])} may")
        leaves = set() if crate in rules.leaves else rules.leaves
        for sibling in sorted((workspace.names[crate] & workspace.names.keys()) - rules.siblings.get(crate, set()) - leaves):
            mistakes.append(f"{crate} depends on {sibling}")
    for crate, banned in rules.never.items():
        mistakes += [f"{crate} reaches {library}" for library in sorted(workspace.reaches(crate) & banned)]
    return mistakes


def unlike_architecture(rules: Rules, page: str) -> list[str]:
    """Where ARCHITECTURE.md says something else than the rules: its code map, and the tables of its dependency rules."""
    code_map = section(page, "## Code map")
    dependencies = section(page, "### Dependency rules")
    crates = {first.split("/")[-1] for first, rest in rows(code_map) if not rest.startswith("no crate")}
    tests = rules.tests.removeprefix("fleet-")
    mistakes = differences("the code map", crates, rules.siblings.keys() | {tests}, "crates")
    if f"| nobody depends on `{tests}` |" not in dependencies:
        mistakes.append(f"the table of rules says nothing of {tests}, which nobody may depend on")
    siblings: Names = {}
    leaves: set[str] = set()
    for first, rest in rows(dependencies.split("\n| rule |")[0], quoted=False):
        for crate in QUOTED.findall(first):
            if crate in rules.siblings or "every crate may name" in rest:
                siblings[crate] = set(QUOTED.findall(rest))
                leaves |= {crate} if "every crate may name" in rest else set()
    only = {library: set(QUOTED.findall(names)) for names, library in ONLY.findall(dependencies)}
    never = {crate: set(re.findall(r"[\w-]+", banned)) - {"nor", "and"} for crate, banned in NEVER.findall(dependencies)}
    mistakes += differences("the table of who may name whom", siblings, rules.siblings, "what may be named by")
    mistakes += differences("the table of who may name whom", leaves, rules.leaves, "leaves")
    mistakes += differences("the table of rules", only, rules.only, "who alone names")
    mistakes += differences("the table of rules", never, rules.never, "what may not be reached by")
    return [f"ARCHITECTURE.md: {mistake}" for mistake in mistakes]


def unlike_shared(rules: Rules, page: str, crates: set[str]) -> list[str]:
    """Where shared/README.md says something else than the rules about the crates that are there."""
    siblings: Names = {}
    only: Names = {}
    leaves: set[str] = set()
    for crate, rest in rows(page.split("\n| to change |")[0]):
        ours, _, more = rest.rsplit(" | ", 1)[-1].partition("; ")
        siblings[crate] = set(QUOTED.findall(ours))
        leaves |= {crate} if "every crate may name" in more else set()
        for others, library in ALONE.findall(more):
            only.setdefault(library, set()).update({crate, *QUOTED.findall(others)})
    expected = {crate: rules.siblings.get(crate, set()) for crate in crates}
    mistakes = differences("the table of crates", siblings, expected, "what may be named by")
    mistakes += differences("the table of crates", leaves, rules.leaves, "leaves")
    mistakes += differences("the table of crates", only, rules.only, "who alone names")
    return [f"shared/README.md: {mistake}" for mistake in mistakes]


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next of any level."""
    return re.split(r"\n##+ ", page.partition(f"\n{heading}\n")[2])[0]


def rows(text: str, *, quoted: bool = True) -> list[tuple[str, str]]:
    """The rows of a table: the first cell and the rest. Those whose first cell is one quoted name, unless all are wanted."""
    found = [matched for line in text.splitlines() if (matched := ROW.match(line))]
    if quoted:
        return [(row["first"].strip("`"), row["rest"]) for row in found if re.fullmatch(r"`[\w/-]+`", row["first"])]
    return [(row["first"], row["rest"]) for row in found]


def differences(place: str, said: Set[str] | Names, ruled: Set[str] | Names, what: str) -> list[str]:
    """Where what a place says differs from the rule, either way."""
    if isinstance(said, dict) and isinstance(ruled, dict):
        return [
            f"{place} says of {what} {key}: {shown(said.get(key))}; the rule is {shown(ruled.get(key))}"
            for key in sorted(said.keys() | ruled.keys())
            if said.get(key) != ruled.get(key)
        ]
    if said != ruled:
        return [f"{place} has the {what} {shown(said)}; the rules are about {shown(ruled)}"]
    return []


def shown(names: Set[str] | None) -> str:
    return "not a word" if names is None else ", ".join(sorted(names)) or "nothing"
