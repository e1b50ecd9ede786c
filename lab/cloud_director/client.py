"""A client of the lab's Cloud Director: starts, finds and stops it, and controls what happens in it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import requests

from lab import servers, vcenter_client
from lab.bootstrap import build_vcenter
from lab.paths import ROOT, Home, LabError, locked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_MODULE = "lab.cloud_director"
_FRESH = 180 * 86400.0
"""Seconds for which a certificate is used: half of its lifetime."""


@dataclass(frozen=True)
class LabVm:
    """A VM as the lab itself knows it. A time that has not come is None."""

    urn: str
    powered_on: datetime | None
    completed: datetime | None
    """When its customization ended well."""


@dataclass(frozen=True)
class CloudDirectorLab(servers.Server):
    """One running Cloud Director of the lab."""

    url: str
    org: str
    api_token: str = field(repr=False)
    vms: Mapping[str, str]
    """The URNs of the VMs that were there at the start, by name."""

    @property
    def front(self) -> str:
        """The address of the API's versions."""
        return f"{self.url}/api/versions"

    def current_vms(self) -> dict[str, LabVm]:
        """Returns the VMs that exist now, by name, with times that the API does not report."""
        found = self._control("GET", "/vms").json()
        return {
            name: LabVm(vm["urn"], _time(vm["powered_on_at"]), _time(vm["completed_at"])) for name, vm in found.items()
        }

    def plan(self, name: str, **plan: Any) -> str:
        """Creates a VM, or restarts the customization of one, and returns its URN.

        The words are those of the control endpoint: outcome, start_delay, duration, vapp, on.
        """
        return str(self._control("PUT", f"/vms/{name}", plan).json()["urn"])

    def remove(self, name: str) -> None:
        """Deletes a VM; one that is made later under its name is another one."""
        self._control("DELETE", f"/vms/{name}")

    def fault(self, kind: str, **fault: Any) -> None:
        """Lets something go wrong from now on: see `faults.Fault`."""
        self._control("POST", "/faults", {"kind": kind, **fault})

    def clear_faults(self) -> None:
        """Lets all be well again."""
        self._control("DELETE", "/faults")

    def terminate_sessions(self) -> None:
        """Ends every session, as an administrator can."""
        self._control("POST", "/sessions/terminate")

    def _control(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = servers.CALL_SECONDS
    ) -> requests.Response:
        try:
            return super()._control(verb, path, body, seconds=seconds)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise LabError("the lab's Cloud Director does not answer any more; the next run starts another") from error


def certificate(home: Home) -> Path:
    """Returns a folder with ca.pem, server.pem and server-key.pem for loopback.

    The lab's vCenter makes them: Python's standard library can use certificates, but not make them.
    """
    folder = home.path / "certificate"
    with locked(home.path / "certificate.lock", "making a certificate"):
        made = folder / "tls" / "server.pem"
        if not made.exists() or time.time() - made.stat().st_mtime > _FRESH:
            program = build_vcenter(home)
            vcenter_client.start(program, folder)
            vcenter_client.stop(program, folder)
    return folder / "tls"


def start(home: Home, folder: Path, options: Sequence[str] = ()) -> CloudDirectorLab:
    """Starts a Cloud Director on a free port of the loopback interface and returns it once it answers.

    Args:
        home: The lab, for its certificate.
        folder: Where ready file and log go.
        options: More options of `python -m lab.cloud_director`.

    Raises:
        LabError: It ended, or did not answer in time; with the end of its log.
    """
    ready = str(servers.ready_file(folder))
    command = [sys.executable, "-m", _MODULE, "--tls-dir", str(certificate(home)), "--ready", ready, *options]
    return servers.start(CloudDirectorLab, "Cloud Director", command, folder, {**os.environ, "PYTHONPATH": str(ROOT)})


def find(folder: Path) -> CloudDirectorLab | None:
    """Returns the Cloud Director that was started in a folder, or None where it runs no more or does not answer."""
    return servers.find(CloudDirectorLab, folder, _MODULE)


def stop(folder: Path) -> None:
    """Stops the Cloud Director that was started in a folder; one that is gone already is not an error."""
    servers.stop(folder, _MODULE)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
