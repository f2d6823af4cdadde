"""Which snapshots of insta's no test asserts any more.

Insta names a snapshot by the module and by the function that asserts it, or by a literal name, and keeps it in `snapshots/` beside
the source. A test that was renamed or removed leaves its file behind, and nobody looks at that file again.
"""

import collections
import pathlib
import re

from architecture import source

ASSERTION = re.compile(r"\bassert_(?:[a-z]+_)*snapshot!\s*[(\[{]")
FUNCTION = re.compile(r"\bfn\s+(\w+)")
NAME = re.compile(r'\s*"([^"\\]*)"\s*,')


def orphans(snapshots: list[pathlib.Path], root: pathlib.Path) -> list[pathlib.Path]:
    """Those of the snapshots, as paths in `root`, that no source beside them asserts."""
    names: dict[pathlib.Path, list[tuple[str, set[str]]]] = {}
    left = []
    for snapshot in snapshots:
        folder = snapshot.parent.parent
        if folder not in names:
            files = sorted((root / folder).glob("*.rs"))
            names[folder] = [(module(file), asserted(file.read_text())) for file in files]
        if not any(belongs(snapshot.stem, of_module, known) for of_module, known in names[folder]):
            left.append(snapshot)
    return left


def belongs(stem: str, of_module: str, known: set[str]) -> bool:
    """Whether insta would call a snapshot of this module so: `crate__outer__module__tests__name`."""
    *modules, name = stem.split("__")
    return name in known and (not of_module or of_module in modules)


def module(file: pathlib.Path) -> str:
    """The module's own name; a crate's root has none."""
    return {"lib": "", "main": "", "mod": file.parent.name}.get(file.stem, file.stem)


def asserted(text: str) -> set[str]:
    """The names of the snapshots that this source asserts and keeps in files."""
    code = source.code_of(text)
    names: set[str] = set()
    in_files: set[str] = set()
    numbered: collections.Counter[str] = collections.Counter()
    for found in ASSERTION.finditer(code):
        end = source.behind_brackets(code, found.end() - 1)
        literal = NAME.match(text, found.end(), end)
        inline = "@" in code[found.end() : end]
        if literal and not inline:
            names.add(literal[1])
            continue
        function = FUNCTION.findall(code, 0, found.start())[-1].removeprefix("test_")
        # Whether one in the source is counted too is insta's affair: a number too many does no harm.
        numbered[function] += 1
        if not inline:
            in_files.add(function)
    for function in in_files:
        names.add(function)
        names |= {f"{function}-{number}" for number in range(2, numbered[function] + 1)}
    return names
