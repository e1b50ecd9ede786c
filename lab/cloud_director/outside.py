"""The lab's Cloud Director from outside: start it, find it again, stop it, and tell it what shall happen."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psutil
import requests

from lab import data_centre
from lab.bootstrap import build_vcenter
from lab.home import ROOT, Home, LabError, locked, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_CALL_SECONDS = 10.0
_TAIL = 20
_FRESH = 180 * 86400.0
"""Seconds for which a certificate is used: half of its life."""

_children: list[subprocess.Popen[bytes]] = []
"""What this process started. They outlive it on purpose; held here, they are not taken for forgotten ones."""


@dataclass(frozen=True)
class LabMachine:
    """A machine as the lab itself knows it. A time that has not come is None."""

    urn: str
    powered_on: datetime | None
    completed: datetime | None
    """When its customization ended well."""


@dataclass(frozen=True)
class CloudDirectorLab:
    """One running Cloud Director of the lab, and its control endpoint."""

    url: str
    org: str
    user: str
    password: str = field(repr=False)
    api_token: str = field(repr=False)
    ca_file: str
    thumbprint: str
    control: str
    token: str = field(repr=False)
    pid: int
    vms: Mapping[str, str]
    """The URNs of the machines that were there at the start, by name."""

    def machines(self) -> dict[str, LabMachine]:
        """Returns the machines that are there now, by name, with times that the API does not tell."""
        told = self._control("GET", "/vms").json()
        return {
            name: LabMachine(machine["urn"], _time(machine["powered_on_at"]), _time(machine["completed_at"]))
            for name, machine in told.items()
        }

    def plan(self, name: str, **plan: Any) -> str:
        """Makes a machine, or lets one begin anew, and returns its URN.

        The words are those of the control endpoint: outcome, start_delay, duration, vapp, on.
        """
        return str(self._control("PUT", f"/vms/{name}", plan).json()["urn"])

    def remove(self, name: str) -> None:
        """Deletes a machine; one that is made later under its name is another one."""
        self._control("DELETE", f"/vms/{name}")

    def fault(self, kind: str, **fault: Any) -> None:
        """Lets something go wrong from now on: see `faults.Fault`."""
        self._control("POST", "/faults", {"kind": kind, **fault})

    def clear_faults(self) -> None:
        """Lets all be well again."""
        self._control("DELETE", "/faults")

    def stats(self) -> dict[str, Any]:
        """Returns what the server has counted: sessions, calls by method and path, logins, logouts."""
        counted: dict[str, Any] = self._control("GET", "/stats").json()
        return counted

    def terminate_sessions(self) -> None:
        """Ends every session, as an administrator can."""
        self._control("POST", "/sessions/terminate")

    def answers(self) -> bool:
        """Tells whether the API and the control endpoint answer."""
        try:
            self.stats()
            _http().get(f"{self.url}/api/versions", verify=self.ca_file, timeout=_CALL_SECONDS).raise_for_status()
        except (OSError, ValueError, LabError):
            return False
        return True

    def _control(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            answer = _http().request(verb, f"{self.control}{path}", json=body, headers=headers, timeout=_CALL_SECONDS)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise LabError("the lab's Cloud Director does not answer any more; the next run starts another") from error
        answer.raise_for_status()
        return answer


def certificate(home: Home) -> Path:
    """Returns a folder with ca.pem, server.pem and server-key.pem for loopback.

    The lab's vCenter makes them: Python's standard library can use certificates, but not make them.
    """
    folder = home.path / "certificate"
    with locked(home.path / "certificate.lock", "making a certificate"):
        made = folder / "tls" / "server.pem"
        if not made.exists() or time.time() - made.stat().st_mtime > _FRESH:
            program = build_vcenter(home)
            data_centre.start(program, folder)
            data_centre.stop(program, folder)
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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ready, log = folder / "ready.json", folder / "log"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "lab.cloud_director", "--tls-dir", str(certificate(home)), "--ready", str(ready)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            start_new_session=True,
        )
    _children.append(process)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lab = _read(ready)
        if lab is not None and lab.answers():
            return lab
        time.sleep(0.02)
    process.kill()
    process.wait()
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
    raise LabError(f"the lab's Cloud Director did not start; the end of its log:\n{tail}")


def find(folder: Path) -> CloudDirectorLab | None:
    """Returns the Cloud Director that was started in a folder, or None where it runs no more or does not answer."""
    lab = _read(folder / "ready.json")
    return lab if lab is not None and _process(lab.pid) is not None and lab.answers() else None


def was_started(folder: Path) -> bool:
    """Tells whether a Cloud Director was started in a folder and not stopped on purpose since."""
    return (folder / "ready.json").exists()


def stop(folder: Path) -> None:
    """Stops the Cloud Director that was started in a folder; one that is gone already is no error."""
    ready = folder / "ready.json"
    lab = _read(ready)
    process = None if lab is None else _process(lab.pid)
    if process is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)
        for child in _children:
            child.poll()
    ready.unlink(missing_ok=True)


def _http() -> requests.Session:
    # A proxy that the environment names has no business between this machine and itself.
    session = requests.Session()
    session.trust_env = False
    return session


def _read(ready: Path) -> CloudDirectorLab | None:
    text = read_text(ready)
    if not text:
        return None
    said = json.loads(text)
    return CloudDirectorLab(**{name: said[name] for name in CloudDirectorLab.__dataclass_fields__})


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _process(pid: int) -> psutil.Process | None:
    """Returns the process of this ID if it is a Cloud Director; IDs are used again once a process has ended."""
    try:
        process = psutil.Process(pid)
        if "lab.cloud_director" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except psutil.Error:
        pass
    return None
