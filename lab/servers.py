"""Starts, finds and stops servers of the lab, which keep running after the process that starts them has ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import requests

from lab.paths import LabError, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CALL_SECONDS = 10.0
"""The time-out of a call to a server on this computer."""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_TAIL = 20


@dataclass(frozen=True)
class Server:
    """One running server and its control endpoint. Its fields are those of its ready file."""

    user: str
    password: str = field(repr=False)
    ca_file: str
    """The certificate authority that signed its certificate."""
    thumbprint: str
    """The SHA-256 thumbprint of its certificate."""
    control: str
    """The address of the control endpoint."""
    token: str = field(repr=False)
    pid: int

    @property
    def front(self) -> str:
        """An address of the API that needs no login."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the API and the control endpoint answer."""
        try:
            self.stats()
            _http().get(self.front, verify=self.ca_file, timeout=CALL_SECONDS)
        except (OSError, ValueError, LabError):
            return False
        return True

    def stats(self) -> dict[str, Any]:
        """Returns what the server has counted: sessions, calls, logins and the like."""
        counted: dict[str, Any] = self._control("GET", "/stats").json()
        return counted

    def _control(
        self, verb: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = CALL_SECONDS
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = _http().request(verb, f"{self.control}{path}", json=body, headers=headers, timeout=seconds)
        answer.raise_for_status()
        return answer


ServerT = TypeVar("ServerT", bound=Server)

_children: list[subprocess.Popen[bytes]] = []
"""Processes started here. They keep running on purpose; the reference prevents a ResourceWarning."""


def ready_file(folder: Path) -> Path:
    """Returns the file that a server writes when it serves: addresses and credentials."""
    return folder / "ready.json"


def start(
    kind: type[ServerT], title: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> ServerT:
    """Starts a server and returns it once it answers.

    Args:
        kind: The class of its description.
        title: What it is called in an error.
        command: Program and arguments, the path of its ready file among them.
        folder: Where ready file and log go.
        environment: All of its variables.

    Raises:
        LabError: It ended, or did not answer in time; with the end of its log.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / "log"
    ready_file(folder).unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    _children.append(process)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (stored := _stored(folder)) and (server := _server(kind, stored)).answers():
            return server
        time.sleep(0.02)
    process.kill()
    process.wait()
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
    raise LabError(f"the lab's {title} did not start; the end of its log:\n{tail}")


def find(kind: type[ServerT], folder: Path, word: str) -> ServerT | None:
    """Returns the server that was started in a folder, or None where it has ended or does not answer.

    Args:
        kind: The class of its description.
        folder: Where its ready file is.
        word: A word of its command line: process IDs are reused.
    """
    if _process(folder, word) is None:
        return None
    server = _server(kind, _stored(folder))
    return server if server.answers() else None


def stop(folder: Path, word: str) -> None:
    """Stops the server that was started in a folder, if it still runs; see `find`."""
    process = _process(folder, word)
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
    ready_file(folder).unlink(missing_ok=True)


def _http() -> requests.Session:
    # A proxy from the environment must not be used for this computer itself.
    session = requests.Session()
    session.trust_env = False
    return session


def _stored(folder: Path) -> dict[str, Any]:
    text = read_text(ready_file(folder))
    stored: dict[str, Any] = json.loads(text) if text else {}
    return stored


def _server(kind: type[ServerT], stored: Mapping[str, Any]) -> ServerT:
    # A server that was started from an older build may lack fields.
    return kind(**{each.name: stored.get(each.name, "") for each in fields(kind)})


def _process(folder: Path, word: str) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, KeyError):
        process = psutil.Process(_stored(folder)["pid"])
        if word in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
