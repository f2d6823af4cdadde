"""What a client that OpenAPI Generator wrote in Python says of its calls and models, read off its sources without running them."""

import ast
import dataclasses
import pathlib
import zipfile

# How the generator writes the types of JSON.
TYPES = {
    "StrictStr": "string",
    "str": "string",
    "StrictBool": "boolean",
    "bool": "boolean",
    "StrictInt": "integer",
    "int": "integer",
    "StrictFloat": "number",
    "float": "number",
    "datetime": "date-time",
    "date": "date",
    "StrictBytes": "bytes",
    "bytes": "bytes",
    "bytearray": "bytes",
    "object": "anything",
    "Any": "anything",
}
# The generator's own way to say that a value is none it knows.
NO_VALUE_OF_THE_API = "unknown_default_open_api"


class Unreadable(Exception):
    """The package is not what this file can read."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """A parameter, or a field of a model."""

    type: str
    required: bool
    nullable: bool = False

    def described(self) -> str:
        return f"{self.type}, {'required' if self.required else 'optional'}{', may be null' if self.nullable and self.required else ''}"


@dataclasses.dataclass
class Call:
    """One endpoint."""

    name: str
    method: str
    path: str
    # By where it goes and its name on the wire: ("query", "limit").
    parameters: dict[tuple[str, str], Slot]
    body: Slot | None
    # By HTTP status: a type, or none where nothing is read.
    answers: dict[str, str | None]


@dataclasses.dataclass
class Client:
    calls: list[Call]
    # By the name of the class: fields by their names in JSON.
    models: dict[str, dict[str, Slot]]
    # By the name of the class: the values there are.
    enums: dict[str, frozenset[str]]


def read(wheel: pathlib.Path) -> Client:
    client = Client([], {}, {})
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in sorted(archive.namelist()):
                parts = file.split("/")
                if len(parts) != 3 or not file.endswith(".py") or parts[2] == "__init__.py" or parts[1] not in ("api", "models"):
                    continue
                tree = ast.parse(archive.read(file))
                for found in tree.body:
                    if isinstance(found, ast.ClassDef):
                        add_api(client, found) if parts[1] == "api" else add_model(client, found)
    except (zipfile.BadZipFile, SyntaxError) as error:
        raise Unreadable(f"{wheel} cannot be read ({error}); delete it, and it is fetched anew") from error
    if not client.calls or not client.models:
        raise Unreadable(f"{wheel} holds no client as OpenAPI Generator writes them: its form has changed, and {__name__} has to follow")
    return client


def add_model(client: Client, found: ast.ClassDef) -> None:
    bases = {ast.unparse(base) for base in found.bases}
    if "Enum" in bases:
        values = (line.value.value for line in found.body if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant))
        client.enums[found.name] = frozenset(str(value) for value in values if value != NO_VALUE_OF_THE_API)
        return
    fields = {}
    for line in found.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        name = line.target.id
        if name == "additional_properties" or "ClassVar" in ast.unparse(line.annotation):
            continue
        fields[json_name(name, line.value)] = slot(line.annotation, has_default=has_default(line.value))
    client.models[found.name] = fields


def keywords(value: ast.expr | None) -> dict[str | None, ast.expr]:
    return {keyword.arg: keyword.value for keyword in value.keywords} if isinstance(value, ast.Call) else {}


def json_name(name: str, value: ast.expr | None) -> str:
    given = keywords(value)
    alias = given.get("serialization_alias", given.get("alias"))
    return alias.value if isinstance(alias, ast.Constant) else name


def has_default(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return value is not None
    given = keywords(value)
    first = value.args[0] if value.args else given.get("default")
    return "default_factory" in given or (first is not None and ast.unparse(first) != "...")


def slot(annotation: ast.expr | None, *, has_default: bool) -> Slot:
    text = named(annotation)
    return Slot(text.removesuffix(" or null"), not has_default, text.endswith(" or null"))


def named(annotation: ast.expr | None) -> str:
    """A type in the words of JSON."""
    if annotation is None:
        return "anything"
    if not isinstance(annotation, ast.Subscript):
        text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
        return TYPES.get(str(text).rsplit(".", 1)[-1], str(text))
    outer = ast.unparse(annotation.value).rsplit(".", 1)[-1]
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if outer == "Annotated":
        return named(inner[0])
    if outer == "Optional":
        return f"{named(inner[0])} or null"
    if outer == "List":
        return f"list of {named(inner[0])}"
    if outer == "Dict":
        return f"map of {named(inner[1])}"
    kinds = sorted({named(one) for one in inner})
    # Any number: the generator lists both kinds. A file: it may be given by its name, its bytes, or both.
    if kinds == ["integer", "number"]:
        return "number"
    return "bytes" if "bytes" in kinds else " | ".join(kinds)


def add_api(client: Client, api: ast.ClassDef) -> None:
    functions = {line.name: line for line in api.body if isinstance(line, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for name, function in functions.items():
        serialize = functions.get(f"_{name}_serialize")
        if serialize:
            client.calls.append(call(name, function, serialize))


def call(name: str, function: ast.FunctionDef, serialize: ast.FunctionDef) -> Call:
    arguments = function.args.args[1:]
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + list(function.args.defaults)
    slots = {
        argument.arg: slot(argument.annotation, has_default=default is not None)
        for argument, default in zip(arguments, defaults, strict=True)
        if not argument.arg.startswith("_")
    }
    method, path = "", ""
    parameters: dict[tuple[str, str], Slot] = {}
    body = None
    for node in ast.walk(serialize):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".param_serialize"):
            given = keywords(node)
            method, path = given["method"].value, given["resource_path"].value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("_query_params.append", "_form_params.append"):
            wire, value = node.args[0].elts
            add(parameters, "query" if "query" in ast.unparse(node.func) else "form", wire, value, slots)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            kind = {"_path_params": "path", "_header_params": "header", "_files": "form"}.get(ast.unparse(node.targets[0].value))
            if kind:
                add(parameters, kind, node.targets[0].slice, node.value, slots)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_body_params":
            body = next((slots[given] for given in names_in(node.value) if given in slots), body)
    return Call(name, method, path, parameters, body, answers(function))


def add(parameters: dict[tuple[str, str], Slot], kind: str, wire: ast.expr, value: ast.expr, slots: dict[str, Slot]) -> None:
    given = next((slots[name] for name in names_in(value) if name in slots), None)
    # `Accept` and the like are the generator's own.
    if given and isinstance(wire, ast.Constant):
        parameters[kind, wire.value] = given


def names_in(value: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(value) if isinstance(node, ast.Name)]


def answers(function: ast.FunctionDef) -> dict[str, str | None]:
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_response_types_map" and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {key.value: value.value and named(ast.parse(value.value, mode="eval").body) for key, value in pairs}
    return {}
