"""What is made of other files, so that it cannot disagree with them: the README's table of values (from the comments of
values.yaml) and the settings' part of values.schema.json (from config/*.toml). `--check` fails when they do; `--write` makes
them anew."""

import json
import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "harvest-fleet"
BEGIN = "<!-- values: made by scripts/helm-readme, do not edit -->"
END = "<!-- end of values -->"
KEY = re.compile(r"^( *)([A-Za-z_][\w-]*):(?:\s|$)")
DURATION = re.compile(r"^(\d+(ms|s|m|h|d) ?)+$")


class Key:
    def __init__(self, path, comment, value):
        self.path, self.comment, self.value, self.children = path, comment, value, []

    def documented_below(self):
        return bool(self.children) and all(child.comment or child.documented_below() for child in self.children)


def sections(text, values):
    """[(title, [top-level Key])] of a values file."""
    found, comment, stack = [], [], []
    for line in text.splitlines():
        if line.startswith("## "):
            found.append((line[3:].strip(), []))
            comment = []
            continue
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped[1:].strip())
            continue
        match = KEY.match(line)
        if not match:
            comment = []
            continue
        indent = len(match[1])
        stack = [(depth, key) for depth, key in stack if depth < indent]
        path = [*(stack[-1][1].path if stack else []), match[2]]
        value = values
        for part in path:
            value = value[part]
        key = Key(path, " ".join(comment), value)
        comment = []
        if stack:
            stack[-1][1].children.append(key)
        else:
            found[-1][1].append(key)
        stack.append((indent, key))
    return found


def undocumented(key, above=False):
    if key.comment or above or key.documented_below():
        return [path for child in key.children for path in undocumented(child, bool(key.comment) or above)]
    return [".".join(key.path)]


def default(value):
    if value is None:
        return "`null`"
    if value == "":
        return ""
    return f"`{json.dumps(value, separators=(', ', ': '))}`" if not isinstance(value, str) else f"`{value}`"


def rows(key):
    made = []
    if key.comment:
        has_rows = any(child.comment or child.documented_below() for child in key.children)
        shown = "" if has_rows else default(key.value)
        # A bar in a cell would end it.
        shown, meaning = (text.replace("|", "\\|") for text in (shown, key.comment))
        made.append(f"| `{'.'.join(key.path)}` | {shown} | {meaning} |")
    for child in key.children:
        made += rows(child)
    return made


def table():
    text = (CHART / "values.yaml").read_text()
    parts = []
    for title, keys in sections(text, yaml.safe_load(text)):
        missing = [path for key in keys for path in undocumented(key)]
        if missing:
            sys.exit(f"values.yaml: without a comment: {', '.join(missing)}")
        parts.append(f"### {title}\n\n| key | default | meaning |\n|---|---|---|")
        parts[-1] += "".join(f"\n{row}" for key in keys for row in rows(key))
    return "\n\n".join(parts)


def readme(text):
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def knob(name, value):
    if isinstance(value, dict):
        properties = {key: knob(f"{name}.{key}", below) for key, below in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": properties}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(value, list):
        return {"type": "array", "items": knob(name, value[0])}
    # The drain's deadline is judged by the chart, with a message of its own.
    if DURATION.match(value) and name != "drain.deadline":
        return {"type": "string", "pattern": "^\\s*([0-9.]+\\s*[A-Za-z]+\\s*)+$"}
    if name == "telemetry.log_format":
        return {"type": "string", "enum": ["auto", "json", "pretty"]}
    return {"type": "string"}


def settings_definitions():
    """What config/*.toml list, less what has a place of its own in the values."""
    taken = {"fleet_file", "slots", "queues", "http", "retry", "lease", "quota"}
    made = {}
    for program in ("producer", "worker"):
        defaults = tomllib.loads((ROOT / "config" / f"{program}.toml").read_text())
        for shared in ("retry", "lease", "quota"):
            made[f"{shared}Settings"] = knob(shared, defaults[shared])
        schema = knob("", {key: value for key, value in defaults.items() if key not in taken})
        for section, below in defaults.items():
            if section not in taken and isinstance(below, dict):
                schema["properties"][section] = knob(section, below)
        made[f"{program}Settings"] = schema
    one = {"type": "object", "additionalProperties": False, "properties": {"base_snapshot": {"type": "string"}}}
    texts = {"type": "array", "items": {"type": "string", "minLength": 1}}
    rule = {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": {"git": texts, "repositories": texts}}
    name = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}
    made["workerSettings"]["properties"]["secrets"] = {"type": "object", "propertyNames": name, "additionalProperties": rule}
    # Where versions before this one had them: the chart says where they are now.
    for moved in ("max", "reserve_for_sessions", "reserve_snapshots"):
        made["workerSettings"]["properties"]["sandboxes"]["properties"][moved] = {}
    made["workerSettings"]["properties"]["classes"] = {"type": "object", "additionalProperties": one}
    return made


def schema(text):
    whole = json.loads(text)
    whole["definitions"].update(settings_definitions())
    return json.dumps(whole, indent=2) + "\n"


def main():
    stale = []
    for path, make in ((CHART / "README.md", readme), (CHART / "values.schema.json", schema)):
        text = path.read_text()
        made = make(text)
        if made == text:
            continue
        if sys.argv[1:] == ["--write"]:
            path.write_text(made)
        else:
            stale.append(str(path.relative_to(ROOT)))
    if stale:
        sys.exit(f"not what values.yaml and config/*.toml make of it: {', '.join(stale)}; run scripts/helm-readme --write")


if __name__ == "__main__":
    main()
