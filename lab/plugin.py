"""Chooses the plugin of the vSphere resources in the lab: the real one, or the lab's stand-in for it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import bootstrap, vcenter_client, workspace
from lab.paths import ROOT, Home, LabError, digest, read_text, write_private
from lab.processes import end_leftovers, run

VARIABLE = "LAB_PLUGIN"
"""The environment variable that chooses the plugin."""
REAL, STAND_IN = "real", "stand-in"

_PLUGIN = "pulumi-resource-vsphere"
_INSTALL_SECONDS = 600.0
_TRIAL_SECONDS = 120.0
_TRIAL_DELAYS = ("-start-delay", "50ms", "-duration", "100ms")


@dataclass(frozen=True)
class Choice:
    """The plugin that is installed in the lab's PULUMI_HOME now."""

    name: str
    """`REAL` or `STAND_IN`."""
    sentence: str
    """What is printed about it."""


def choose(home: Home, pulumi: Path, *, made_with: str = "") -> Choice:
    """Installs the plugin that the variable asks for, or else the real one where it can be had and works on the lab.

    Args:
        home: The lab.
        pulumi: The command line.
        made_with: The plugin that made the stack that is there; another one does not know what it has made.

    Raises:
        LabError: The variable asks for a plugin that cannot be had, or that did not make the stack.
    """
    wish = os.environ.get(VARIABLE, "")
    if wish not in ("", REAL, STAND_IN):
        raise LabError(f'{VARIABLE}: expected "{REAL}" or "{STAND_IN}", got {wish!r}')
    if wish and made_with and wish != made_with:
        raise LabError(f"{VARIABLE}={wish}: the {made_with} plugin made the stack that is there; run `make down` first")
    wanted, version = wish or made_with, vsphere_version()
    if wanted == STAND_IN:
        install_stand_in(pulumi, home)
        reason = f"as {VARIABLE} asks" if wish else "which made the stack that is there"
        return Choice(STAND_IN, f"vSphere plugin: the lab's stand-in, {reason}.")
    fault = None if wanted else _known_fault(home)
    if not fault and not _install_real(home, pulumi, download=wanted == REAL or not _installed(home).exists()):
        if wanted == REAL:
            raise LabError(f"the real vSphere plugin {version} is not installed, and it cannot be downloaded from here")
        install_stand_in(pulumi, home)
        return Choice(STAND_IN, "vSphere plugin: the lab's stand-in, because the real one cannot be downloaded here.")
    if fault is None and not wanted:
        fault = _trial(home, pulumi)
        write_private(_record(home), f"{_pair(home)}\n{fault}")
    if fault:
        install_stand_in(pulumi, home)
        return Choice(
            STAND_IN, f"vSphere plugin: the lab's stand-in, because the real {version} fails on the lab: {fault}"
        )
    return Choice(REAL, f"vSphere plugin: the real one, {version}.")


def vsphere_version() -> str:
    """Returns the version of the vSphere plugin that the installed SDK asks for."""
    package = importlib.util.find_spec("pulumi_vsphere")
    if package is None or not package.submodule_search_locations:
        raise LabError("the package pulumi-vsphere is not installed: run `make up`, which installs it")
    description = Path(package.submodule_search_locations[0]) / "pulumi-plugin.json"
    return str(json.loads(description.read_text(encoding="utf-8"))["version"])


def install_stand_in(pulumi: Path, home: Home) -> None:
    """Installs the stand-in into the lab's own PULUMI_HOME; a real plugin that is there is kept beside it."""
    # A launcher in sh, because a path with a space breaks in a shebang line. It names this checkout and this Python,
    # so a checkout that was moved gets a new one.
    launcher = f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m lab.offline.vsphere_plugin "$@"\n'
    installed = _installed(home)
    if _is_real(installed):
        kept = _kept(home)
        kept.parent.mkdir(exist_ok=True)
        installed.replace(kept)
    elif read_text(installed) == launcher:
        return
    folder = home.path / "stand-in"
    folder.mkdir(exist_ok=True)
    (folder / _PLUGIN).write_text(launcher, encoding="utf-8")
    (folder / _PLUGIN).chmod(0o755)
    _install(home, pulumi, vsphere_version(), "--reinstall", "--file", str(folder))


def _installed(home: Home) -> Path:
    return home.pulumi_home / "plugins" / f"resource-vsphere-v{vsphere_version()}" / _PLUGIN


def _kept(home: Home) -> Path:
    """Returns where a real plugin is kept while the stand-in takes its place."""
    return home.path / "real-plugin" / _PLUGIN


def _is_real(plugin: Path) -> bool:
    if not plugin.exists():
        return False
    with plugin.open("rb") as file:
        return file.read(2) != b"#!"


def _find_real(home: Home) -> Path | None:
    """Returns a real plugin that need not be downloaded: the lab's, or that of this person's own PULUMI_HOME."""
    mine = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi") / "plugins"
    places = (_installed(home), _kept(home), mine / f"resource-vsphere-v{vsphere_version()}" / _PLUGIN)
    return next((place for place in places if _is_real(place)), None)


def _install_real(home: Home, pulumi: Path, *, download: bool) -> bool:
    """Installs the real plugin into the lab's PULUMI_HOME from where it can be had, and returns whether it is there."""
    found, version = _find_real(home), vsphere_version()
    if found is not None:
        if found != _installed(home):
            _install(home, pulumi, version, "--reinstall", "--file", str(found.parent))
        return True
    if not download or not bootstrap.reachable(bootstrap.RELEASES):
        return False
    print(f"Installing the vSphere plugin {version} (usually under a minute) ...", flush=True)
    try:
        _install(home, pulumi, version, "--reinstall")
    except LabError as error:
        print(f"That did not work: {error}", flush=True)
        return False
    return True


def _install(home: Home, pulumi: Path, version: str, *options: str) -> None:
    command = [str(pulumi), "plugin", "install", "resource", "vsphere", f"v{version}", *options]
    variables = {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": str(home.pulumi_home)}
    run("pulumi plugin install", command, seconds=_INSTALL_SECONDS, env=variables)


def _record(home: Home) -> Path:
    """Returns the file that keeps the result of the trial."""
    return home.path / "plugin-trial"


def _pair(home: Home) -> str:
    """Returns a digest of the real plugin and the lab's vCenter, which were or will be tried together."""
    found = _find_real(home)
    return digest(bootstrap.build_digest(home), files=[found]) if found else ""


def _known_fault(home: Home) -> str | None:
    """Returns what went wrong when this pair was tried, nothing for a pair that works, None for one not tried yet."""
    tried, _, fault = read_text(_record(home)).partition("\n")
    return fault if tried and tried == _pair(home) else None


def _trial(home: Home, pulumi: Path) -> str:
    """Runs the example with the installed plugin on a vCenter of its own; returns what went wrong, or nothing."""
    print("Trying the vSphere plugin on a lab of its own, once (usually half a minute) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        own = Home(Path(folder) / "lab")
        own.pulumi_home.symlink_to(home.pulumi_home)
        (own.path / "bin").symlink_to(home.path / "bin")
        vcenter_client.start(own.vcenter, own.vcenter_folder, _TRIAL_DELAYS)
        try:
            command = [sys.executable, "-m", "lab.plugin_trial", str(own.path), str(pulumi)]
            return run("the trial", command, cwd=ROOT, seconds=_TRIAL_SECONDS).strip()
        except LabError as error:
            return str(error).splitlines()[0]
        finally:
            end_leftovers("PULUMI_HOME", str(own.pulumi_home), workspace.PLUGINS)
            vcenter_client.stop(own.vcenter, own.vcenter_folder)
