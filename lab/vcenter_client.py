"""A client of the lab's vCenter: starts, finds and stops it, and controls what happens in it."""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyVim.connect import Connect, Disconnect

from lab import servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_API_VERSION = "vim.version.v8_0_3_0"
_ALL_SECONDS = 120.0
"""The time-out of a call that may be about ten thousand VMs."""


@dataclass(frozen=True)
class Lab(servers.Server):
    """One running vCenter of the lab."""

    server: str
    """Host and port of the API, over HTTPS."""
    guest_user: str
    """The user of the guests, unless a VM's plan names another."""
    guest_password: str = field(repr=False)

    @property
    def front(self) -> str:
        """The address of its product information."""
        return f"https://{self.server}/about"

    def plan(self, name: str, **plan: str) -> None:
        """Plans what happens to the VM of this name, which may not exist yet.

        The keys are those of the control endpoint: outcome, startDelay, duration, reason, message, logLocation,
        guestClockOffset, rebootAfter.
        """
        self._control("PUT", f"/vms/{name}", plan)

    def forget(self, name: str) -> None:
        """Deletes the plan for the VM of this name: the lab's defaults apply again."""
        self._control("DELETE", f"/vms/{name}")

    def power(self, name: str, kind: str) -> None:
        """Changes the power of the VM of this name or ID ("*": all but the template): on, off, reset or ha_restart."""
        self._control("POST", f"/vms/{name}/power", {"kind": kind}, seconds=_ALL_SECONDS)

    def end(self, name: str, outcome: str = "succeeded", **texts: str) -> None:
        """Ends the running customization of the VM of this name or managed object ID, and returns when it has ended.

        Args:
            name: The VM.
            outcome: "succeeded", or the class of a failure.
            texts: Those of the failure: reason, message, logLocation.
        """
        self._control("POST", f"/vms/{name}/end", {"outcome": outcome, **texts})

    def customize(self, name: str) -> None:
        """Makes a customization pending for the VM of this name or ID, which is powered off."""
        self._control("POST", f"/vms/{name}/customize")

    def destroy(self, name: str) -> None:
        """Deletes the VM of this name or managed object ID, which is powered off."""
        self._control("POST", f"/vms/{name}/destroy")

    def post_event(self, vm: str, kind: str, **fields: str | int) -> None:
        """Posts an event, for example `CustomizationSucceeded`, about the VM of this managed object ID or name.

        The fields are those of the event (reason, message, logLocation), and count: the number of events.
        """
        self._control("POST", "/events", {"vm": vm, "type": kind, **fields})

    def purge_events(self) -> None:
        """Purges all events so far."""
        self._control("POST", "/events/purge")

    def set_clock(self, ahead: float) -> None:
        """Sets the server's clock so many seconds ahead of this computer's, or behind; events keep their times."""
        self._control("POST", "/clock", {"ahead": ahead})

    def reset_stats(self) -> None:
        """Resets the server's counters."""
        self._control("POST", "/stats/reset")

    def terminate_sessions(self, *, cancel_waits: bool = False) -> None:
        """Terminates every session, as an administrator can, and on request the calls that wait for updates."""
        self._control("POST", "/sessions/terminate", {"cancel_waits": cancel_waits})

    def reset_connections(self) -> None:
        """Resets every connection, with the calls in flight."""
        self._control("POST", "/connections/reset")

    def restart(self, down: float, *, events: str = "kept") -> None:
        """Stops the server for so many seconds, its events "kept" or "lost"."""
        self._control("POST", "/restart", {"down": down, "events": events})

    def add_fault(self, kind: str, **rule: str | float | bool) -> int:
        """Makes calls fail, and returns the number of the rule.

        Args:
            kind: httpNNN, delay, reset, hang, truncate, or a fault class of the API such as no_permission.
            rule: Which calls, and how often: method, seconds, skip, count, probability, vm, without_entity, after.
        """
        return int(self._control("POST", "/faults", {"kind": kind, **rule}).json()["id"])

    def hits(self) -> list[int]:
        """Returns how often each rule was applied."""
        return [rule["hits"] for rule in self._control("GET", "/faults").json()]

    def clear_faults(self) -> None:
        """Deletes all rules, and releases the calls that they hold."""
        self._control("DELETE", "/faults")

    def connect(self) -> Any:
        """Logs in and returns pyVmomi's service instance, with verified TLS; see `connected` for its end."""
        host, _, port = self.server.partition(":")
        return Connect(
            host=host,
            port=int(port),
            user=self.user,
            pwd=self.password,
            sslContext=ssl.create_default_context(cafile=self.ca_file),
            version=_API_VERSION,
            httpConnectionTimeout=servers.CALL_SECONDS,
        )

    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """Logs in for the duration of a `with` block."""
        service = self.connect()
        try:
            yield service
        finally:
            Disconnect(service)
            service._stub.DropConnections()  # noqa: SLF001 -- Disconnect leaves the pool of connections open


def start(program: Path, folder: Path, options: Sequence[str] = ()) -> Lab:
    """Starts a vCenter on a free port of the loopback interface and returns it once it answers.

    Args:
        program: The lab's vCenter.
        folder: Where certificates, ready file and log go.
        options: More options of the program.

    Raises:
        LabError: It ended, or did not answer in time; with the end of its log.
    """
    places = {"-listen": "127.0.0.1:0", "-control": "127.0.0.1:0", "-tls-dir": folder / "tls"}
    places["-ready"] = servers.ready_file(folder)
    command = [str(program), *(str(word) for option in places.items() for word in option), *options]
    # The program makes the password and writes it to the ready file only.
    environment = {key: value for key, value in os.environ.items() if key != "LAB_VCENTER_PASSWORD"}
    return servers.start(Lab, "vCenter", command, folder, environment)


def find(program: Path, folder: Path) -> Lab | None:
    """Returns the vCenter that was started in a folder, or None where it has ended or does not answer."""
    return servers.find(Lab, folder, str(program))


def stop(program: Path, folder: Path) -> None:
    """Stops the vCenter that was started in a folder; it may have ended already."""
    servers.stop(folder, str(program))
