"""The nouns of the gate: what is observed of a VM, and what is reported about it. Their states are in `status`."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pulumi_customization_gate.core.status import FailureKind, PowerState

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.advice import Advice
    from pulumi_customization_gate.core.errors import ServerError
    from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, Progress, Signal


R = TypeVar("R")
"""A platform's parsed reference."""


@dataclass(frozen=True)
class Target(Generic[R]):
    """One VM, or group of VMs, that a caller wants to wait for."""

    key: str | None
    """The caller's own key, None where there is none: then the outcome is reported under the VM's name."""
    reference: R
    """What names it on the server, as the platform parsed it."""
    uuid: str = ""
    """A UUID that the VM has if it is the one that the caller means; empty where the caller does not know it."""


def targets_of(vms: Mapping[str, str] | Iterable[str], parse: Callable[[str], R]) -> list[Target[R]]:
    """Returns a target for each reference of a map from the caller's keys, or of a list.

    Args:
        vms: References, as a user wrote them.
        parse: The platform's parser.

    Raises:
        ConfigurationError: If a reference is malformed.
    """
    if isinstance(vms, Mapping):
        return [Target(key, parse(reference)) for key, reference in vms.items()]
    return [Target(None, parse(reference)) for reference in vms]


def duplicates(named: Iterable[tuple[str, Hashable]]) -> Iterator[tuple[str, str]]:
    """Yields the names that mean one VM: the first name, and each later one.

    Args:
        named: Names, and what each of them means.
    """
    first: dict[Hashable, str] = {}
    for name, meaning in named:
        if meaning in first:
            yield first[meaning], name
        first.setdefault(meaning, name)


@dataclass(frozen=True)
class VmRef:
    """One VM of a wait."""

    key: str
    """The name under which its outcome is reported."""
    id: str
    """The server's own identifier: a managed object ID, or `vm-{uuid}` on Cloud Director."""
    name: str
    """The inventory name when the wait began."""
    given: str = ""
    """What the caller wrote to name it, where the caller has no key for it."""

    @property
    def called(self) -> str:
        """The caller's own name for it: the key, or else the reference."""
        return self.given or self.key


@dataclass(frozen=True)
class Event:
    """One event that the server recorded. Two events of one server are ordered by `key` alone: see `event_order`."""

    vm: str
    """The `id` of the VM's VmRef."""
    key: int
    """A counter that wraps at 2^31: after 2147483647 comes -2147483648."""
    signal: Signal
    at: datetime
    """The server's time, timezone-aware."""
    name: str = ""
    """The event's class on the server, for example CustomizationSysprepFailed; for display."""
    reason: str = ""
    message: str = ""
    log_location: str = ""
    read_at: float = math.inf
    """When the reader had it, by its monotonic clock. Infinity where that is not known: then the times decide."""


@dataclass(frozen=True)
class Snapshot:
    """The state of one VM as the server reported it at one moment."""

    vm: str
    """The `id` of the VM's VmRef."""
    at: datetime
    """The server's time just before the state was read, timezone-aware."""
    power: PowerState = PowerState.UNKNOWN
    booted_at: datetime | None = None
    """The last power-on by the host's clock, which may differ from the server's by minutes."""
    specification_pending: bool = False
    """Whether a customization specification waits for the next power-on."""
    progress: Progress | None = None
    """What the customization state means; None where the server reports none."""
    state: str = ""
    """The customization state in the server's own word; for display."""
    message: str = ""
    """What the server reports beside the state."""
    can_repeat: bool = False
    """Whether the server can customize the same VM again after a failure."""
    tools_running: bool = False
    """Whether VMware Tools run in the guest."""
    tools_version: str = ""
    """The version of VMware Tools in the server's own form, empty where it is not reported."""
    name: str = ""
    host_name: str = ""
    ip_addresses: tuple[str, ...] = ()
    asked_at: float = 0.0
    """When the state was asked for, by the reader's monotonic clock: what was read before that is not newer."""
    instance_uuid: str = ""
    """What no two VMs of a server share; like the next, empty where it was not read."""
    bios_uuid: str = ""


@dataclass(frozen=True)
class Missing:
    """A VM was looked for and not found, or may not be read."""

    vm: str
    """The `id` of the VM's VmRef."""
    at: datetime
    """The server's time, timezone-aware."""
    kind: FailureKind = FailureKind.NOT_FOUND
    """NOT_FOUND or NO_PERMISSION."""
    message: str = ""
    needs_second_look: bool = False
    """Whether it counts only once another look agrees: a server that restarts may not know all of its VMs yet."""
    asked_at: float = 0.0
    """When the VM was looked for, by the reader's monotonic clock."""


@dataclass(frozen=True)
class HistoryRead:
    """What the server remembers of the customizations of a VM was read, however long ago they were."""

    vm: str
    """The `id` of the VM's VmRef."""


@dataclass(frozen=True)
class PreviouslyCustomized:
    """An earlier wait found this VM customized; it counts where the server has no record of it."""

    vm: str
    """The `id` of the VM's VmRef."""


Observation = Event | Snapshot | Missing | HistoryRead | PreviouslyCustomized


@dataclass(frozen=True)
class Failure:
    """Why one VM is not ready."""

    kind: FailureKind
    event: str = ""
    """The server's own word: the event's class, or the state; empty where the server reported no failure."""
    reason: str = ""
    message: str = ""
    log_location: str = ""
    diagnosis: tuple[str, ...] = ()
    """What was known of the VM when the wait ended, a fact a line."""
    advice: Advice | None = None
    """What to do about it."""
    log: tuple[str, ...] = ()
    """The end of the guest's own log, where it could be read."""

    @property
    def name(self) -> str:
        """The server's own word where there is one, else the kind."""
        return self.event or self.kind.value


@dataclass(frozen=True)
class VmOutcome:
    """What is reported about one VM."""

    key: str
    id: str
    name: str
    status: CustomizationStatus
    ready: bool
    """Whether the gate may open as far as this VM is concerned."""
    evidence: Evidence | None = None
    powered_on_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    ready_at: datetime | None = None
    """When the VM was ready for work, by the server's clock."""
    customization_seconds: float | None = None
    """From power-on to the end of the customization, where both are known."""
    failure: Failure | None = None
    host_name: str = ""
    ip_addresses: tuple[str, ...] = ()
    instance_uuid: str = ""
    """The VM's instance UUID, empty where the server has none."""
    accepted: str = ""
    """Why its failure counts as success; empty where it does not."""


@dataclass(frozen=True)
class GateReport:
    """The result of one wait: an outcome per VM, in the order of the request."""

    outcomes: tuple[VmOutcome, ...]
    wait_seconds: float
    """The length of the wait."""
    timed_out: bool = False
    cancelled: bool = False
    ended_at: datetime | None = None
    """The server's time of the newest state that the report is based on."""
    fatal_error: ServerError | None = None
    """What made it certain, during the wait, that waiting longer could not help."""
    notes: tuple[str, ...] = ()
    """What the wait recovered from, for the log."""

    @property
    def ready(self) -> bool:
        """Whether every VM is ready."""
        return all(outcome.ready for outcome in self.outcomes)

    @property
    def is_unfinished(self) -> bool:
        """Whether time alone kept the VMs that are not ready from it."""
        failures = [outcome.failure for outcome in self.outcomes if not outcome.ready]
        return bool(failures) and all(failure is not None and failure.kind.is_lack_of_time for failure in failures)
