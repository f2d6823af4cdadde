"""Which calls of Daytona this repository knows: those its client makes, and those sandboxd answers and the contract tests hold it to."""

import dataclasses
import json
import pathlib
import re

CONTRACT = pathlib.Path("tests/contract/openapi-min.json")
OPERATIONS = pathlib.Path("shared/daytona/src/operation.rs")
SOURCES = pathlib.Path("shared/daytona/src")
# A row of `operations!`: NAME: "words", Get "/path", Safe;
ROW = re.compile(r'^ +[A-Z_]+: +"[^"]+", +(?P<method>Get|Post|Put|Patch|Delete) +"(?P<path>[^"]+)", +\w+;', re.M)


class Unreadable(Exception):
    """A file of this repository has another form than this file reads."""


@dataclasses.dataclass(frozen=True)
class UsedCall:
    # `api` or `toolbox`.
    part: str
    method: str
    path: str
    # Whether shared/daytona makes it; else only sandboxd answers it.
    ours: bool


def calls(root: pathlib.Path) -> list[UsedCall]:
    """Each once, in the order of the contract's file; what only our client names comes last."""
    rows = [(row["method"].upper(), row["path"]) for row in ROW.finditer((root / OPERATIONS).read_text())]
    if not rows:
        raise Unreadable(f"{OPERATIONS} has no rows of `operations!` in the form that scripts/daytona_clients/used.py reads")
    contract = json.loads((root / CONTRACT).read_text())
    # The two parts share no first segment: `/process` is the toolbox's, `/sandbox` the API's.
    toolbox = {path.split("/")[1] for path in contract["toolbox"]["paths"]}
    ours = {(method, shape(path)) for method, path in rows}
    found = [
        UsedCall(part, method.upper(), path, (method.upper(), shape(path)) in ours)
        for part, document in contract.items()
        for path, methods in document["paths"].items()
        for method in methods
    ]
    known = {(call.method, shape(call.path)) for call in found}
    for method, path in rows:
        if (method, shape(path)) not in known:
            found.append(UsedCall("toolbox" if path.split("/")[1] in toolbox else "api", method, path, ours=True))
    return found


def names_we_read(root: pathlib.Path) -> set[str]:
    """Every word of our client's sources, as a name in JSON would be written: what is not among them, it neither sends nor reads."""
    words = set()
    for file in (root / SOURCES).rglob("*.rs"):
        words |= set(re.findall(r"\w+", file.read_text()))
    return words | {re.sub(r"_(\w)", lambda match: match[1].upper(), word) for word in words}


def shape(path: str) -> str:
    """A path whatever its arguments are called."""
    return re.sub(r"\{[^}]*\}", "{}", path)
