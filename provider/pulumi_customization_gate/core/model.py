"""The nouns of the gate: what is observed of a virtual machine and what is said of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from pulumi_customization_gate.core.errors import ServerError


class CustomizationStatus(enum.Enum):
    """Where the customization of one virtual machine stands.

    The first five are the field's own words (the PowerCLI team's WaitVmCustomization script); the last two are ours.
    """

    VM_NOT_STARTED = "VmNotStarted"
    """The machine is not powered on."""
    CUSTOMIZATION_NOT_STARTED = "CustomizationNotStarted"
    """The machine is powered on and its customization has not begun."""
    CUSTOMIZATION_STARTED = "CustomizationStarted"
    """Customization runs in the guest."""
    CUSTOMIZATION_SUCCEEDED = "CustomizationSucceeded"
    """Customization ended well."""
    CUSTOMIZATION_FAILED = "CustomizationFailed"
    """Customization ended badly."""
    NOT_CUSTOMIZED = "NotCustomized"
    """Nobody asked for a customization of this machine: good with `expect="auto"`, a failure with "required"."""
    VM_REMOVED = "VmRemoved"
    """The machine is not, or no longer, in the inventory."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing that is still to come can change this status within the wait."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {
        CustomizationStatus.CUSTOMIZATION_SUCCEEDED,
        CustomizationStatus.CUSTOMIZATION_FAILED,
        CustomizationStatus.NOT_CUSTOMIZED,
        CustomizationStatus.VM_REMOVED,
    }
)


class Signal(enum.Enum):
    """What a server's event says of a virtual machine, whatever the event's class is called there."""

    VM_STARTING = "starting"
    VM_POWERED_OFF = "powered off"
    VM_REMOVED = "removed"
    VM_MIGRATED = "migrated"
    CUSTOMIZATION_STARTED = "customization started"
    CUSTOMIZATION_SUCCEEDED = "customization succeeded"
    CUSTOMIZATION_FAILED = "customization failed"


class Progress(enum.Enum):
    """What a state that was read says of a customization, whatever the state is called on that server."""

    IDLE = "idle"
    """No customization was requested."""
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Evidence(enum.Enum):
    """Which source decided a verdict."""

    EVENT = "event"
    """A terminal event after the last power-on."""
    EARLIER_EVENT = "earlier_event"
    """The newest terminal event before the last power-on, with nothing requested since."""
    STATE = "state"
    """The state that the server reports: `guest.customizationInfo`, or Cloud Director's status."""
    NO_TRACE = "no_trace"
    """The machine runs, and neither event nor state tells of a customization."""
    INVENTORY = "inventory"
    """The inventory: the machine is not there."""
    STORED = "stored"
    """The outcome of an earlier wait, kept in the stack's state."""


@dataclass(frozen=True)
class VmRef:
    """One virtual machine of a wait."""

    key: str
    """The name under which its outcome is reported."""
    id: str
    """The server's own identifier: a managed object ID, or `vm-{uuid}` on Cloud Director."""
    name: str
    """The inventory name when the wait began."""


@dataclass(frozen=True)
class Event:
    """One event that the server recorded. Two events of one server are ordered by `key` alone."""

    vm: str
    """The `id` of the machine's VmRef."""
    key: int
    signal: Signal
    at: datetime
    """The server's time, timezone-aware."""
    name: str = ""
    """The event's class on the server, for example CustomizationSysprepFailed."""
    reason: str = ""
    message: str = ""
    log_location: str = ""


@dataclass(frozen=True)
class Snapshot:
    """The state of one machine as the server reported it at one moment."""

    vm: str
    """The `id` of the machine's VmRef."""
    at: datetime
    """The server's time just before the state was read, timezone-aware."""
    exists: bool = True
    powered_on: bool | None = None
    """None where the server did not say."""
    booted_at: datetime | None = None
    """The last power-on by the server's clock."""
    specification_pending: bool = False
    """Whether a customization specification waits for the next power-on."""
    state: str = ""
    """The customization state in the server's own word, for example TOOLSDEPLOYPKG_RUNNING or GC_PENDING."""
    message: str = ""
    """What the server says beside the state, or why the machine is not there."""
    tools_running: bool = False
    """Whether VMware Tools runs in the guest."""
    tools_version: str = ""
    """The version of VMware Tools in the server's own form, empty where it does not say."""
    name: str = ""
    host_name: str = ""
    ip_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remembered:
    """An earlier wait found this machine customized; it counts where the server has forgotten."""

    vm: str
    """The `id` of the machine's VmRef."""


Observation = Event | Snapshot | Remembered


@dataclass(frozen=True)
class Failure:
    """Why one machine did not get there."""

    event: str
    """The event's class on the server, or a word of ours: NotFound, NoCustomization, StartTimeout, Timeout, ..."""
    reason: str = ""
    message: str = ""
    log_location: str = ""
    hint: str = ""
    """What to do about it, one sentence."""
    diagnosis: tuple[str, ...] = ()
    """What was known of the machine when the wait gave up, a fact a line."""


@dataclass(frozen=True)
class VmOutcome:
    """What is said of one machine."""

    key: str
    id: str
    name: str
    status: CustomizationStatus
    good: bool
    """Whether the gate may open as far as this machine goes."""
    evidence: Evidence | None = None
    powered_on_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    ready_at: datetime | None = None
    """When the machine was ready for work, by the server's clock."""
    seconds: float | None = None
    """From power-on to the end of the customization, where both are known."""
    failure: Failure | None = None
    host_name: str = ""
    ip_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateReport:
    """The result of one wait: an outcome per machine, in the order of the request."""

    outcomes: tuple[VmOutcome, ...]
    waited: float
    """The length of the wait in seconds."""
    timed_out: bool = False
    cancelled: bool = False
    ended_at: datetime | None = None
    """The server's time of the newest state that the report rests on."""
    trouble: ServerError | None = None
    """What made it certain, in mid-wait, that waiting longer could not help."""
    notes: tuple[str, ...] = ()
    """What the wait rode out, for the log."""

    @property
    def ready(self) -> bool:
        """Whether every machine's outcome is good."""
        return all(outcome.good for outcome in self.outcomes)
