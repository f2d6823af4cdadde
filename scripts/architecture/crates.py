"""The crates of the workspace, and what each names, from `cargo metadata`."""

import dataclasses
import json
import pathlib
import subprocess

from .modules import reachable


@dataclasses.dataclass
class Workspace:
    """Development dependencies are left out of all of it."""

    # What each of our crates names.
    names: dict[str, set[str]]
    # What each crate, ours or not, is linked with. Versions of one library are taken together, which can only be too strict.
    links: dict[str, set[str]]
    # The files that declare each of our crates' modules: lib.rs, main.rs.
    roots: dict[str, list[pathlib.Path]]

    def reaches(self, crate: str) -> set[str]:
        return reachable(self.links, crate)


def read() -> Workspace:
    command = ["cargo", "metadata", "--format-version=1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    name_of = {package["id"]: package["name"] for package in metadata["packages"]}
    workspace = Workspace({}, {}, {})
    for node in metadata["resolve"]["nodes"]:
        links = workspace.links.setdefault(name_of[node["id"]], set())
        for dependency in node["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                links.add(name_of[dependency["pkg"]])
        if node["id"] in metadata["workspace_members"]:
            workspace.names[name_of[node["id"]]] = {
                name_of[dependency["pkg"]]
                for dependency in node["deps"]
                if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
            }
    here = pathlib.Path.cwd()
    for package in metadata["packages"]:
        if package["id"] in metadata["workspace_members"]:
            workspace.roots[package["name"]] = [
                pathlib.Path(target["src_path"]).relative_to(here)
                for target in package["targets"]
                if {"lib", "bin"} & set(target["kind"])
            ]
    return workspace
