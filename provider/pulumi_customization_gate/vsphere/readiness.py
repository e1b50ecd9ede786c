"""Tells whether customized VMs are ready for work: guest operations that stay ready, and the user's checks.

One thread reads the VMs that are customized and not ready yet, all in one call, once a second. Success is often
followed by a reboot, and often not: what counts is that guest operations stay ready for a while.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from dataclasses import dataclass
from datetime import timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.background import Background
from pulumi_customization_gate.core.errors import AuthenticationError, CertificateError, ServerError
from pulumi_customization_gate.core.text import duration
from pulumi_customization_gate.vsphere.checks import GUEST_OPERATIONS_PATHS, PATHS, Check, GuestFacts
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.session import Session, acquire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pulumi_customization_gate.core.model import VmRef
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

_log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two readings."""
LONGEST_GAP = 10.0
"""Seconds without a reading after which `settle` starts again: what happened between is unknown."""
PORT_TIMEOUT = 2.0
"""Seconds in which a port must answer."""
PORTS_AT_ONCE = 32
NOT_READ = "the guest was not read yet"


@dataclass(frozen=True)
class Conditions:
    """What a VM must be beside customized."""

    guest_operations: bool = False
    """Whether guest operations must be ready."""
    settle: float = 30.0
    """Seconds for which they must stay so."""
    checks: Sequence[Check] = ()

    @property
    def paths(self) -> list[str]:
        """The properties to read."""
        wanted = [*GUEST_OPERATIONS_PATHS, *(path for check in self.checks for path in PATHS[check.kind])]
        return list(dict.fromkeys(wanted))


class Stability:
    """Judges the readings of one VM, in the order in which they come.

    Args:
        conditions: What must hold.
        key: The VM's key.
    """

    def __init__(self, conditions: Conditions, key: str) -> None:
        self._conditions, self._key = conditions, key
        self._steady_since: float | None = None
        self._read_at = float("-inf")

    def learn(self, facts: GuestFacts, now: float, answers: Callable[[str, int], str]) -> str:
        """Returns what is missing, in words, or nothing if the VM is ready.

        Args:
            facts: What was read.
            now: When, by the monotonic clock.
            answers: Returns why a port of an address is not reachable, or nothing if it is.
        """
        missing = []
        if self._conditions.guest_operations:
            missing.append(self._unsettled(facts, now))
        missing += [
            check.unmet(self._key, facts, answers) for check in self._conditions.checks if check.is_for(self._key)
        ]
        return "; ".join(reason for reason in missing if reason)

    def _unsettled(self, facts: GuestFacts, now: float) -> str:
        was_read, self._read_at = now - self._read_at <= LONGEST_GAP, now
        reason = facts.no_guest_operations()
        if reason:
            self._steady_since = None
            return reason
        if self._steady_since is None or not was_read:
            self._steady_since = now
        steady = now - self._steady_since
        if steady >= self._conditions.settle:
            return ""
        return f"guest operations have been ready for {duration(steady)} of {duration(self._conditions.settle)}"


class GuestReadiness:
    """Reads the guests of one vCenter; the waiting loop asks `unmet` of each VM that is customized.

    Args:
        settings: Which vCenter, and as whom.
        conditions: What must hold.
    """

    def __init__(self, settings: VsphereSettings, conditions: Conditions) -> None:
        self._settings, self._conditions = settings, conditions
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._stabilities: dict[str, Stability] = {}
        self._unmet: dict[str, str] = {}
        self._ready_at: dict[str, datetime] = {}
        self._ports = _Ports()
        self._reader: Background | None = None

    def unmet(self, vm: VmRef) -> str:
        """Returns at once what is still missing; the first question has the VM read from now on."""
        with self._lock:
            if vm.id not in self._unmet:
                self._unmet[vm.id] = NOT_READ
                self._stabilities[vm.id] = Stability(self._conditions, vm.called)
            if self._reader is None:
                self._reader = Background("customization-gate-readiness")
                self._reader.submit(self._run)
            return self._unmet[vm.id]

    def ready_at(self, vm: VmRef) -> datetime | None:
        """Returns since when the VM is ready, by the server's clock."""
        return self._ready_at.get(vm.id)

    def close(self) -> None:
        """Stops reading. A reading under way is left to itself."""
        self._closing.set()
        if self._reader is not None:
            self._reader.close()
        self._ports.close()

    def _run(self) -> None:
        while not self._closing.is_set() and self._follow():
            self._closing.wait(INTERVAL)

    def _follow(self) -> bool:
        """Reads until the end; returns whether it is worth trying again where it came to none."""
        try:
            with acquire(self._settings) as session:
                while not self._closing.is_set():
                    self._learn(session.with_retries(lambda: self._read(session)))
                    self._closing.wait(INTERVAL)
        except ServerError as error:
            _log.debug("reading the guests failed: %s", error)
            self._say(str(error))
            return not isinstance(error, AuthenticationError | CertificateError)
        return False

    def _say(self, trouble: str) -> None:
        with self._lock:
            for moid in self._waiting():
                self._unmet[moid] = f"the guest could not be read: {trouble}"

    def _waiting(self) -> list[str]:
        return [moid for moid, missing in self._unmet.items() if missing]

    def _read(self, session: Session) -> dict[str, GuestFacts]:
        """Reads the VMs that are not ready yet, in one call."""
        with self._lock:
            waiting = self._waiting()
        if not waiting:
            return {}
        at = session.current_time()
        return {moid_of(content.obj): facts_of(content, at) for content in _pages(session, waiting, self._conditions)}

    def _learn(self, readings: dict[str, GuestFacts]) -> None:
        now = time.monotonic()
        for moid, facts in readings.items():
            missing = self._stabilities[moid].learn(facts, now, self._ports.answers)
            with self._lock:
                if missing != self._unmet[moid]:
                    # What follows the kind of a check may quote its options, and those may be secrets.
                    _log.debug("%s: %s", moid, f"not ready ({missing.partition(':')[0]})" if missing else "ready")
                self._unmet[moid] = missing
                if not missing:
                    self._ready_at[moid] = facts.at


class _Ports:
    """Tries TCP ports in threads of its own; a question is answered by the last try that has ended."""

    def __init__(self) -> None:
        self._background = Background("customization-gate-ports", PORTS_AT_ONCE)
        self._tries: dict[tuple[str, int], Future[str]] = {}

    def answers(self, address: str, port: int) -> str:
        """Returns why a port is not reachable, or nothing if the last try connected; otherwise starts the next try."""
        last = self._tries.get((address, port))
        if last is not None and not last.done():
            return "not tried yet"
        result = "not tried yet" if last is None or last.cancelled() else last.result()
        if result:
            self._tries[address, port] = self._background.submit(partial(_try, address, port))
        return result

    def close(self) -> None:
        self._background.close()


def _try(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=PORT_TIMEOUT).close()
    except TimeoutError:
        return f"timed out after {PORT_TIMEOUT:g} s"
    except OSError as error:
        return str(error.strerror or type(error).__name__).lower()
    return ""


def _pages(session: Session, moids: Iterable[str], conditions: Conditions) -> Iterator[Any]:
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=conditions.paths)],
        objectSet=[collector.ObjectSpec(obj=vim.VirtualMachine(moid, session.stub)) for moid in moids],
        reportMissingObjectsInResults=True,
    )
    service = session.content.propertyCollector
    page = service.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    while page is not None:
        yield from page.objects
        page = service.ContinueRetrievePropertiesEx(page.token) if page.token else None


def facts_of(content: Any, at: datetime) -> GuestFacts:
    """Returns what the server reported of one VM; a property that it left out counts as false."""
    values = {change.name: change.val for change in content.propSet}
    network_adapters = [device for device in values.get("config.hardware.device") or () if _is_network_adapter(device)]
    primary = values.get("guest.ipAddress")
    addresses = [ip for adapter in values.get("guest.net") or () for ip in adapter.ipAddress or ()]
    return GuestFacts(
        at=at.astimezone(timezone.utc),
        powered_on=values.get("runtime.powerState") == "poweredOn",
        tools_running=values.get("guest.toolsRunningStatus") == "guestToolsRunning",
        guest_running=values.get("guest.guestState") == "running",
        guest_operations_ready=bool(values.get("guest.guestOperationsReady")),
        heartbeat=str(values.get("guestHeartbeatStatus") or ""),
        host_name=str(values.get("guest.hostName") or ""),
        addresses=tuple(dict.fromkeys([primary, *addresses] if primary else addresses)),
        network_adapters={
            _label(adapter): bool(adapter.connectable and adapter.connectable.connected) for adapter in network_adapters
        },
        guest_info={
            option.key: str(option.value)
            for option in values.get("config.extraConfig") or ()
            if str(option.key).startswith("guestinfo.")
        },
    )


def _is_network_adapter(device: Any) -> bool:
    return isinstance(device, vim.vm.device.VirtualEthernetCard)


def _label(adapter: Any) -> str:
    with contextlib.suppress(AttributeError):
        return str(adapter.deviceInfo.label)
    return f"network adapter {adapter.key}"
