"""Gets what the lab needs and keeps it under `.lab/`: the Pulumi CLI and the lab's vCenter.

The official releases come first. Where only package registries can be reached, the CLI is built from its Go modules.
Each thing is made beside its place and renamed into it, so an interrupted run leaves nothing half-made.
"""

from __future__ import annotations

import re
import shutil
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab import go
from lab.offline import build_cli
from lab.paths import ROOT, Home, LabError, digest, exit_status, locked, read_text
from lab.processes import run

OLDEST_CLI = "3.259.0"
"""The oldest CLI on PATH that is used."""
BUILT_CLI = "3.276.0"
"""The CLI that is built where none can be downloaded; lab/offline/cli/go.mod pins it."""

RELEASES = "https://get.pulumi.com/install.sh"
"""What `PulumiCommand.install` fetches first. It has no time-out, so a probe comes before it."""
_PROBE_SECONDS = 5.0
_INSTALL_SECONDS = 600.0
_LAUNCHER = "pulumi-resource-pulumi-python"
_VARIABLES = {"PULUMI_SKIP_UPDATE_CHECK": "true"}


@dataclass(frozen=True)
class Tools:
    """The programs that a run of the lab uses."""

    pulumi: Path
    """The command line."""
    vcenter: Path
    """The lab's vCenter."""


def prepare(home: Home) -> Tools:
    """Gets what is missing, and prints what it does; returns at once where nothing is missing.

    Args:
        home: The lab.

    Raises:
        LabError: Something could not be installed; the text says what and why.
    """
    with locked(home.path / "bootstrap.lock", "setting up the lab"):
        pulumi = _pulumi(home)
        build_vcenter(home)
        return Tools(pulumi, home.vcenter)


def build_vcenter(home: Home) -> Path:
    """Builds the lab's vCenter where its sources have changed, and returns the program."""
    module = ROOT / "lab" / "vcenter"
    sources = [file for file in module.iterdir() if file.suffix == ".go" and not file.name.endswith("_test.go")]
    stamp = _digest_file(home)
    wanted = digest(files=[*sources, module / "go.mod", module / "go.sum"])
    if not home.vcenter.exists() or read_text(stamp) != wanted:
        print("Building the lab's vCenter (usually half a minute, five minutes with nothing cached) ...", flush=True)
        go.build(home, module, ".", home.vcenter)
        stamp.write_text(wanted, encoding="utf-8")
    return home.vcenter


def build_digest(home: Home) -> str:
    """Returns the digest of the sources from which the lab's vCenter was built."""
    return read_text(_digest_file(home))


def _digest_file(home: Home) -> Path:
    return home.vcenter.with_suffix(".digest")


def _pulumi(home: Home) -> Path:
    """Returns the CLI: from PATH if it is new enough, else the official release, else built from Go modules.

    The lab's own is got again once this project builds another version.
    """
    on_path = shutil.which("pulumi")
    if on_path and _usable(Path(on_path)):
        return Path(on_path)
    own, stamp = home.engine / "bin" / "pulumi", home.engine / "made-for"
    if not own.exists() or read_text(stamp) != BUILT_CLI:
        draft = home.engine.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        if not _install_official(draft):
            print("The official release of the Pulumi CLI cannot be reached.", flush=True)
            build_cli.build(home, draft, BUILT_CLI)
        (draft / stamp.name).write_text(BUILT_CLI, encoding="utf-8")
        shutil.rmtree(home.engine, ignore_errors=True)
        draft.rename(home.engine)
    return own


def _usable(pulumi: Path) -> bool:
    """Whether a CLI is new enough and whether the launcher of Python's dynamic resources is installed."""
    try:
        output = run("pulumi version", [pulumi, "version"], seconds=60, env=_VARIABLES)
    except LabError:
        return False
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", output.strip())
    wanted = tuple(int(part) for part in OLDEST_CLI.split("."))
    launcher = shutil.which(_LAUNCHER) or (pulumi.resolve().parent / _LAUNCHER).exists()
    return bool(launcher and found and tuple(map(int, found.groups())) >= wanted)


def _install_official(root: Path) -> bool:
    if not reachable(RELEASES):
        return False
    print("Installing the Pulumi CLI from its official release (usually under a minute) ...", flush=True)
    # In a process of its own, because the SDK's installer can hang on a network that drops packets.
    program = "import sys; from pulumi.automation import PulumiCommand; PulumiCommand.install(root=sys.argv[1])"
    try:
        run("the official installer", [sys.executable, "-c", program, str(root)], seconds=_INSTALL_SECONDS)
    except LabError as error:
        print(f"The installation failed: {error}", flush=True)
        return False
    return (root / "bin" / "pulumi").exists()


def reachable(url: str) -> bool:
    """Whether a server answers within five seconds, whatever holds it up: name service, connection, answer."""
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 -- a constant https address
            with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):  # noqa: S310 -- the same
                answered.set()
        except OSError:
            pass

    # Look-ups by name have no time-out of their own: the thread is left behind if one hangs.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PROBE_SECONDS)
    return answered.is_set()


if __name__ == "__main__":
    sys.exit(exit_status(lambda: prepare(Home())))
