"""What the power, the customization and the failure of a VM can be, and what an event or a piece of evidence can mean.

These are the core's own words: a platform's `vocabulary` turns its server's into them.
"""

from __future__ import annotations

import enum


class CustomizationStatus(enum.Enum):
    """The state of the customization of one VM.

    The first five are the field's own words (the PowerCLI team's WaitVmCustomization script); the last two are ours.
    """

    VM_NOT_STARTED = "VmNotStarted"
    """The VM is not powered on."""
    CUSTOMIZATION_NOT_STARTED = "CustomizationNotStarted"
    """The VM is powered on and its customization has not started."""
    CUSTOMIZATION_STARTED = "CustomizationStarted"
    """Customization runs in the guest."""
    CUSTOMIZATION_SUCCEEDED = "CustomizationSucceeded"
    """Customization succeeded."""
    CUSTOMIZATION_FAILED = "CustomizationFailed"
    """Customization failed."""
    NOT_CUSTOMIZED = "NotCustomized"
    """No customization was requested: ready where none is required, a failure where one is."""
    VM_REMOVED = "VmRemoved"
    """The VM is not, or no longer, in the inventory."""

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
    """What a server's event means for a VM, whatever the event's class is called there."""

    VM_STARTING = "starting"
    """The beginning of a power-on."""
    VM_POWERED_ON = "powered on"
    """The end of a power-on; the only report of it where no VM_STARTING precedes."""
    VM_POWERED_OFF = "powered off"
    VM_SUSPENDED = "suspended"
    VM_RESUMING = "resuming"
    """The end of a suspension, which is not a power-on."""
    VM_REMOVED = "removed"
    VM_MIGRATED = "migrated"
    CUSTOMIZATION_STARTED = "customization started"
    CUSTOMIZATION_SUCCEEDED = "customization succeeded"
    CUSTOMIZATION_FAILED = "customization failed"

    @property
    def is_end(self) -> bool:
        """Whether the event ends a customization."""
        return self in (Signal.CUSTOMIZATION_SUCCEEDED, Signal.CUSTOMIZATION_FAILED)


class PowerState(enum.Enum):
    """Whether a VM runs."""

    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, powered_on: bool | None) -> PowerState:
        """Returns the power state of a server that distinguishes only on and off."""
        return cls.UNKNOWN if powered_on is None else cls.ON if powered_on else cls.OFF

    @property
    def is_on(self) -> bool | None:
        """Whether the VM runs, None where that is not known."""
        return None if self is PowerState.UNKNOWN else self is PowerState.ON


class Progress(enum.Enum):
    """What a state that was read means for a customization, whatever the state is called on that server."""

    IDLE = "idle"
    """No customization was requested."""
    DISABLED = "disabled"
    """Customization is disabled for this VM, so none can come, whether VMware Tools run or not."""
    PENDING = "pending"
    """A customization was requested and has not started."""
    PENDING_OR_RUNNING = "pending or running"
    """The server does not distinguish the two: a start is overdue only once VMware Tools could have begun."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A state that is not documented: it may mean anything."""

    @property
    def is_idle(self) -> bool:
        """Whether no customization was requested."""
        return self in (Progress.IDLE, Progress.DISABLED)

    @property
    def is_open(self) -> bool:
        """Whether a customization is still to end."""
        return self in (Progress.PENDING, Progress.PENDING_OR_RUNNING, Progress.RUNNING)

    @property
    def is_end(self) -> bool:
        """Whether a customization has ended."""
        return self in (Progress.SUCCEEDED, Progress.FAILED)


class Evidence(enum.Enum):
    """Which source decided a verdict."""

    EVENT = "event"
    """A terminal event after the last power-on."""
    EARLIER_EVENT = "earlier_event"
    """The newest terminal event before the last power-on, with nothing requested since."""
    STATE = "state"
    """The state that the server reports: `guest.customizationInfo`, or Cloud Director's status."""
    NO_TRACE = "no_trace"
    """The VM runs, and neither an event nor a state indicates a customization."""
    INVENTORY = "inventory"
    """The inventory: the VM is not there."""
    STORED = "stored"
    """The outcome of an earlier wait, kept by the caller."""


class FailureKind(enum.Enum):
    """What kind of thing kept a VM from being ready; the value is the word that reports show."""

    CUSTOMIZATION_FAILED = "CustomizationFailed"
    NO_CUSTOMIZATION = "NoCustomization"
    """No customization was requested and one is required."""
    NOT_FOUND = "NotFound"
    """The inventory never had such a VM."""
    NO_PERMISSION = "NoPermission"
    """The user may not read the VM, which is not to say that it was removed."""
    VM_REMOVED = "VmRemoved"
    """The VM left the inventory during the wait."""
    POWERED_OFF = "PoweredOff"
    """The VM is customized and was powered off, or suspended, at the end of the wait."""
    START_TIMEOUT = "StartTimeout"
    """The customization did not start in time."""
    TIMEOUT = "Timeout"
    """The deadline of the wait passed."""
    NOT_READY = "NotReady"
    """The VM is customized and did not become ready in time."""
    UNFINISHED = "Unfinished"
    """The wait ended for another reason while this VM was still in progress."""

    @property
    def is_absence(self) -> bool:
        """Whether the VM is not there: nothing is known of its customization."""
        return self in (FailureKind.NOT_FOUND, FailureKind.NO_PERMISSION, FailureKind.VM_REMOVED)

    @property
    def is_lack_of_time(self) -> bool:
        """Whether a longer wait might have ended well."""
        return self in (
            FailureKind.POWERED_OFF,
            FailureKind.START_TIMEOUT,
            FailureKind.TIMEOUT,
            FailureKind.NOT_READY,
            FailureKind.UNFINISHED,
        )
