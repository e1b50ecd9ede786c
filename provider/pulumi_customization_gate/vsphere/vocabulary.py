"""vSphere's words for what happens to a VM, and what each means for the gate."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.status import PowerState, Progress, Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Mapping[str, Signal] = MappingProxyType(
    {
        "VmStartingEvent": Signal.VM_STARTING,
        "VmPoweredOnEvent": Signal.VM_POWERED_ON,
        "DrsVmPoweredOnEvent": Signal.VM_POWERED_ON,
        "VmRestartedOnAlternateHostEvent": Signal.VM_POWERED_ON,
        "VmPoweredOffEvent": Signal.VM_POWERED_OFF,
        "VmPowerOffOnIsolationEvent": Signal.VM_POWERED_OFF,
        "VmShutdownOnIsolationEvent": Signal.VM_POWERED_OFF,
        "VmSuspendedEvent": Signal.VM_SUSPENDED,
        "VmResumingEvent": Signal.VM_RESUMING,
        "VmRemovedEvent": Signal.VM_REMOVED,
        "VmMigratedEvent": Signal.VM_MIGRATED,
        "DrsVmMigratedEvent": Signal.VM_MIGRATED,
        "CustomizationStartedEvent": Signal.CUSTOMIZATION_STARTED,
        "CustomizationSucceeded": Signal.CUSTOMIZATION_SUCCEEDED,
        "CustomizationFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationLinuxIdentityFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationNetworkSetupFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationSysprepFailed": Signal.CUSTOMIZATION_FAILED,
        "CustomizationUnknownFailure": Signal.CUSTOMIZATION_FAILED,
    }
)
"""Event classes. Every concrete class is listed, because a filter by class may not cover its subclasses (vSphere Web
Services API, EventFilterSpec.eventTypeId)."""

STATES: Mapping[str, Progress] = MappingProxyType(
    {
        "TOOLSDEPLOYPKG_IDLE": Progress.IDLE,
        "TOOLSDEPLOYPKG_PENDING": Progress.PENDING,
        "TOOLSDEPLOYPKG_RUNNING": Progress.RUNNING,
        "TOOLSDEPLOYPKG_SUCCEEDED": Progress.SUCCEEDED,
        "TOOLSDEPLOYPKG_FAILED": Progress.FAILED,
    }
)
"""`guest.customizationInfo.customizationStatus` (GuestInfoCustomizationStatus, API 7.0.2)."""

POWER: Mapping[str, PowerState] = MappingProxyType(
    {"poweredOn": PowerState.ON, "poweredOff": PowerState.OFF, "suspended": PowerState.SUSPENDED}
)
"""`runtime.powerState` (VirtualMachinePowerState)."""


def progress_of(state: str) -> Progress | None:
    """Returns what a state means, None where the server reports none."""
    return STATES.get(state, Progress.UNKNOWN) if state else None
