"""The files of a crate, and which of them use each other.

One file uses another when a path in it (`use`, or in an expression) leads to something that the other defines. A name that
a module only passes on (`pub use slot::Slot` in lib.rs) leads to where it is defined.

A module may use what the modules above it define, as Rust's privacy has it, and they use what is below them: that is no circle.
What counts are the modules that one module declares, each taken with everything below it: where one of these uses another
by which it is used, however many steps away, that is a circle.
"""

import dataclasses
import pathlib
import re

from . import source

MODULE = re.compile(r"(?:#\[path\s*=\s*\"(?P<path>[^\"]+)\"\]\s*)?\bmod\s+(?P<name>\w+)\s*(?P<end>[;{])")
USE = re.compile(r"\buse\s+([^;]+);")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
ITEM = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(?:mut\s+)?(\w+)")
PATH = re.compile(r"(?<![\w:])[a-z_]\w*(?:::\w+)+")
TOKEN = re.compile(r"\w+|::|[{},*]")

Path = tuple[str, ...]


@dataclasses.dataclass
class Module:
    """A module of a crate: a file, or a part of one."""

    file: pathlib.Path
    path: Path
    parent: "Module | None"
    code: str
    children: dict[str, "Module"] = dataclasses.field(default_factory=dict)
    names: dict[str, Path] = dataclasses.field(default_factory=dict)
    globs: list[Path] = dataclasses.field(default_factory=list)
    items: set[str] = dataclasses.field(default_factory=set)
    paths: set[Path] = dataclasses.field(default_factory=set)

    def root(self) -> "Module":
        return self.parent.root() if self.parent else self

    def all(self) -> "list[Module]":
        return [self, *(below for child in self.children.values() for below in child.all())]

    def files(self) -> set[pathlib.Path]:
        return {module.file for module in self.all()}


def read(root: pathlib.Path) -> Module:
    """The modules of a crate, from the file that declares them all; those that only tests have are left out."""
    module = Module(root, (), None, source.code_of(source.production(root.read_text())))
    fill(module, root.parent)
    return module


def fill(module: Module, folder: pathlib.Path) -> None:
    """Finds what the module declares and names. The modules below it are in `folder`."""
    at = 0
    while found := MODULE.search(module.code, at):
        name = found["name"]
        start, at = found.start(), found.end()
        if found["end"] == "{":
            at = source.behind_brackets(module.code, found.end() - 1)
            child = Module(module.file, (*module.path, name), module, module.code[found.end() : at - 1])
        else:
            file = next(file for file in (folder / f"{name}.rs", folder / name / "mod.rs") if file.is_file())
            child = Module(file, (*module.path, name), module, source.code_of(source.production(file.read_text())))
        fill(child, folder / name)
        module.children[name] = child
        module.code = module.code[:start] + source.blank(module.code[start:at]) + module.code[at:]
    code = VISIBILITY.sub("pub", module.code)
    for tree in USE.findall(code):
        for path, name in leaves(TOKEN.findall(tree)):
            module.paths.add(path)
            if path[-1] == "*":
                module.globs.append(path[:-1])
            elif name != "_":
                module.names[name] = path
    module.items = set(ITEM.findall(code))
    module.paths |= {tuple(found.split("::")) for found in PATH.findall(USE.sub(";", code))}


def leaves(tokens: list[str]) -> list[tuple[Path, str]]:
    """Every path of a `use`, with the name it has from then on."""
    found: list[tuple[Path, str]] = []

    def walk(at: int, before: Path) -> int:
        path = before
        while at < len(tokens) and tokens[at] not in {",", "}"}:
            if tokens[at] == "{":
                at += 1
                while tokens[at] != "}":
                    at = walk(at, path)
                    at += tokens[at] == ","
                return at + 1
            if tokens[at] == "as":
                found.append((path, tokens[at + 1]))
                return at + 2
            if tokens[at] != "::":
                path = (*path, tokens[at])
            at += 1
        if path[-1] == "self" and len(path) > 1:
            path = path[:-1]
        found.append((path, path[-1]))
        return at

    walk(0, ())
    return found


def resolve(module: Module, path: Path, ahead: frozenset[tuple[int, Path]] = frozenset()) -> Module | None:
    """The module that defines what the path leads to; none where that is another crate."""
    if (id(module), path) in ahead:
        return None
    ahead |= {(id(module), path)}
    here, steps = module, path
    while steps:
        name, steps = steps[0], steps[1:]
        if name == "crate":
            here = here.root()
        elif name == "self":
            continue
        elif name == "super":
            if not here.parent:
                return None
            here = here.parent
        elif name in here.children:
            here = here.children[name]
        elif here is module and len(steps) + 1 == len(path):
            # The path starts with a name from elsewhere: a crate, or what a `use` brought, which counts there.
            return None
        elif name in here.items or name == "*":
            return here
        elif name in here.names:
            passed_on = resolve(here, here.names[name], ahead)
            if not passed_on:
                return here
            return resolve(passed_on, ("self", *steps), ahead) if steps else passed_on
        else:
            for glob in here.globs:
                behind = resolve(here, glob, ahead)
                found = behind and resolve(behind, ("self", name), ahead)
                if found and name in found.items:
                    return found
            return here
    return here


def uses(root: Module) -> set[tuple[Path, Path]]:
    """Which module of the crate uses which."""
    found = set()
    for module in root.all():
        for path in module.paths:
            used = resolve(module, path)
            if used and used is not module:
                found.add((module.path, used.path))
    return found


def circles(edges: set[tuple[Path, Path]]) -> list[tuple[Path, set[str]]]:
    """Where modules of one module use each other in a circle: that module, and their names."""
    levels: dict[Path, dict[str, set[str]]] = {}
    for user, used in edges:
        shared = 0
        while shared < min(len(user), len(used)) and user[shared] == used[shared]:
            shared += 1
        # One is above the other where nothing is left of it.
        if shared < len(user) and shared < len(used):
            levels.setdefault(user[:shared], {}).setdefault(user[shared], set()).add(used[shared])
    return [(level, circle) for level, graph in sorted(levels.items()) for circle in circles_of(graph)]


def circles_of(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of more than one node in which each reaches each."""
    reach = {start: reachable(graph, start) for start in graph}
    found = {frozenset(other for other in reach[node] if node in reach.get(other, ())) for node in graph}
    return sorted((set(circle) for circle in found if len(circle) > 1), key=sorted)


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph.get(ahead.pop(), set()) - found
        found |= new
        ahead.extend(new)
    return found


def described(level: Path, circle: set[str], edges: set[tuple[Path, Path]]) -> list[str]:
    """The uses that make a circle, one a line."""
    depth = len(level)
    return [
        f"{'::'.join(user)} uses {'::'.join(used)}"
        for user, used in sorted(edges)
        if user[:depth] == used[:depth] == level
        and user[depth:] and used[depth:]
        and user[depth] != used[depth]
        and {user[depth], used[depth]} <= circle
    ]
