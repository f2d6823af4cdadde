"""Daytona's generated clients of one version, as wheels: from pip's own index, kept outside the work tree.

Nothing of a package is run, neither at its installation (wheels only) nor later: its sources are read.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

# The API's client and the toolbox's. What the contract tests install by the name `daytona` depends on both at its own version.
PACKAGES = {"api": "daytona-api-client", "toolbox": "daytona-toolbox-api-client"}
VERSION = re.compile(r"[0-9][0-9A-Za-z.]*")
# What pip says when it has not seen its index, whatever it says in the end.
UNREACHED = re.compile(r"connection|Max retries|timed out|Temporary failure|unreachable|ProxyError|SSLError|Could not fetch URL|HTTP error", re.I)


class NoSuchVersion(Exception):
    """The index has the package, and not this version of it."""


class Unavailable(Exception):
    """The package cannot be had here."""


def kept_in() -> pathlib.Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(cache) / "harvest-fleet" / "daytona-clients"


def wheel_name(package: str, version: str) -> str:
    return f"{package.replace('-', '_')}-{version}-py3-none-any.whl"


def wheels(version: str, parts: list[str]) -> dict[str, pathlib.Path]:
    """The wheels of a version, by the part of the API they are for; fetched where they are not kept yet."""
    folder = kept_in()
    wanted = {part: folder / wheel_name(PACKAGES[part], version) for part in parts}
    missing = [PACKAGES[part] for part, wheel in wanted.items() if not wheel.is_file()]
    if missing:
        fetch(missing, version, folder)
    return wanted


def fetch(packages: list[str], version: str, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Beside what it will become, so that it appears whole or not at all.
    with tempfile.TemporaryDirectory(dir=folder) as work:
        pip = pip_within(work)
        for package in packages:
            download(pip, package, version, work)
            # pip writes a version its own way: 0.226.1.0 is 0.226.1.
            found = sorted(pathlib.Path(work).glob(f"{package.replace('-', '_')}-*.whl"))
            if [wheel.name for wheel in found] != [wheel_name(package, version)]:
                names = ", ".join(wheel.name for wheel in found) or "nothing"
                raise Unavailable(f"pip gave {names} for {package} {version}, instead of {wheel_name(package, version)}")
            found[0].replace(folder / found[0].name)


def pip_within(work: str) -> list[str]:
    """This Python's pip; where it has none, as Debian's, that of an environment made for the moment."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        return own
    made = subprocess.run([sys.executable, "-m", "venv", f"{work}/venv"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode:
        raise Unavailable(f"there is no Python with pip or venv here to fetch it with (`make setup` installs one): {last_line(made.stdout)}")
    return [f"{work}/venv/bin/pip"]


def download(pip: list[str], package: str, version: str, into: str) -> None:
    command = [*pip, "download", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "30"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", into, f"{package}=={version}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        return
    known = re.search(r"\(from versions: (?P<versions>.*)\)", done.stdout)
    if known and known["versions"] != "none":
        newest = ", ".join(known["versions"].split(", ")[-5:])
        raise NoSuchVersion(f"{package} has no version {version}; the newest are {newest}. `--part` compares the other part alone")
    unreached = next((line.strip() for line in done.stdout.splitlines() if UNREACHED.search(line)), None)
    if unreached:
        raise Unavailable(f"pip did not reach its index for {package} {version}; look at the network and at `pip config list`: {unreached}")
    raise Unavailable(f"pip's index has no {package} {version}; `pip config list` says which index it asks: {last_line(done.stdout)}")


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
