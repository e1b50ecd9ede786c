"""vCenter's events become observations; nothing else does."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pyVmomi import VmomiSupport, vim

from pulumi_customization_gate.core.model import Event
from pulumi_customization_gate.core.status import Signal
from pulumi_customization_gate.vsphere.events import PAGE, event_filter, observations
from pulumi_customization_gate.vsphere.vocabulary import EVENTS, STATES

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def vcenter_event(kind: type, *, key: int = 7, moid: str | None = "vm-87", **values: Any) -> Any:
    vm = moid and vim.event.VmEventArgument(name="web-2", vm=vim.VirtualMachine(moid))
    message = {"createdTime": NOON, "fullFormattedMessage": "what happened", **values}
    return kind(key=key, chainId=key, userName="", vm=vm or None, **message)


def an_event(
    signal: Signal, name: str, *, reason: str = "", message: str = "what happened", log_location: str = ""
) -> Event:
    return Event("vm-87", 7, signal, NOON, name, reason, message, log_location)


EACH_CLASS = [
    pytest.param(vim.event.VmStartingEvent, {}, an_event(Signal.VM_STARTING, "VmStartingEvent"), id="power-on"),
    pytest.param(vim.event.VmPoweredOnEvent, {}, an_event(Signal.VM_POWERED_ON, "VmPoweredOnEvent"), id="powered on"),
    pytest.param(
        vim.event.DrsVmPoweredOnEvent, {}, an_event(Signal.VM_POWERED_ON, "DrsVmPoweredOnEvent"), id="power-on by DRS"
    ),
    pytest.param(
        vim.event.VmRestartedOnAlternateHostEvent,
        {},
        an_event(Signal.VM_POWERED_ON, "VmRestartedOnAlternateHostEvent"),
        id="restart by HA",
    ),
    pytest.param(vim.event.VmSuspendedEvent, {}, an_event(Signal.VM_SUSPENDED, "VmSuspendedEvent"), id="suspension"),
    pytest.param(vim.event.VmResumingEvent, {}, an_event(Signal.VM_RESUMING, "VmResumingEvent"), id="resumption"),
    pytest.param(vim.event.VmPoweredOffEvent, {}, an_event(Signal.VM_POWERED_OFF, "VmPoweredOffEvent"), id="power-off"),
    pytest.param(vim.event.VmRemovedEvent, {}, an_event(Signal.VM_REMOVED, "VmRemovedEvent"), id="removal"),
    pytest.param(vim.event.VmMigratedEvent, {}, an_event(Signal.VM_MIGRATED, "VmMigratedEvent"), id="migration"),
    pytest.param(vim.event.DrsVmMigratedEvent, {}, an_event(Signal.VM_MIGRATED, "DrsVmMigratedEvent"), id="DRS"),
    pytest.param(
        vim.event.CustomizationStartedEvent,
        {"logLocation": "/var/log/vmware-imc/toolsDeployPkg.log"},
        an_event(
            Signal.CUSTOMIZATION_STARTED,
            "CustomizationStartedEvent",
            log_location="/var/log/vmware-imc/toolsDeployPkg.log",
        ),
        id="start",
    ),
    pytest.param(
        vim.event.CustomizationSucceeded,
        {"logLocation": "<No Log>"},
        an_event(Signal.CUSTOMIZATION_SUCCEEDED, "CustomizationSucceeded"),
        id="success, no log",
    ),
    pytest.param(
        vim.event.CustomizationFailed,
        {"logLocation": "", "reason": "customizationDisabled"},
        an_event(Signal.CUSTOMIZATION_FAILED, "CustomizationFailed", reason="customizationDisabled"),
        id="failure with a reason",
    ),
    pytest.param(
        vim.event.CustomizationSysprepFailed,
        {"logLocation": "C:\\log", "sysprepVersion": "1", "systemVersion": "2", "fullFormattedMessage": None},
        an_event(Signal.CUSTOMIZATION_FAILED, "CustomizationSysprepFailed", message="", log_location="C:\\log"),
        id="failure without a message",
    ),
    *(
        pytest.param(
            getattr(vim.event, name), {"logLocation": ""}, an_event(Signal.CUSTOMIZATION_FAILED, name), id=name
        )
        for name in (
            "CustomizationLinuxIdentityFailed",
            "CustomizationNetworkSetupFailed",
            "CustomizationUnknownFailure",
        )
    ),
]


@pytest.mark.parametrize(("kind", "values", "event"), EACH_CLASS)
def test_observations(kind: type, values: dict[str, Any], event: Event) -> None:
    """Each requested class of event becomes one observation, with all that a verdict or a person needs."""
    begin = time.monotonic()
    (seen,) = observations([vcenter_event(kind, **values)])

    assert begin <= seen.read_at <= time.monotonic()
    assert event == replace(seen, read_at=math.inf)


def test_only_what_is_requested_becomes_an_observation() -> None:
    """Other classes, also those that derive from one that counts, and events about no VM are passed over."""
    other = [
        vcenter_event(vim.event.VmStartingSecondaryEvent),
        vcenter_event(vim.event.UserLoginSessionEvent, moid=None, ipAddress="", locale="", sessionId=""),
        vcenter_event(vim.event.CustomizationSucceeded, moid=None, logLocation=""),
    ]

    assert list(observations(other)) == []


def test_times_are_utc() -> None:
    """A time is the same instant, shown in UTC, whatever time zone the server writes."""
    abroad = NOON.astimezone(timezone(timedelta(hours=9)))
    (event,) = observations([vcenter_event(vim.event.VmStartingEvent, createdTime=abroad)])

    assert (NOON, timezone.utc) == (event.at, event.at.tzinfo)


POWER = ("VmPoweredOnEvent", "VmPoweredOffEvent", "VmSuspendedEvent", "VmResumingEvent", "VmRemovedEvent")


def test_every_class_of_power_event_is_requested() -> None:
    """Each subclass of a power event of the API is listed by name, for the same reason."""
    known = [getattr(vim.event, name[10:]) for name in VmomiSupport.ListDataTypes() if name.startswith("vim.event.")]
    bases = tuple(getattr(vim.event, name) for name in POWER)
    names = {kind.__name__.rsplit(".", 1)[-1] for kind in known if issubclass(kind, bases)}

    assert names == {name for name in EVENTS if issubclass(getattr(vim.event, name), bases)}


def test_every_class_of_customization_event_is_requested() -> None:
    """Each concrete customization event of the API is listed by name, because a filter may not cover subclasses."""
    known = {name.rsplit(".", 1)[-1] for name in VmomiSupport.ListDataTypes() if name.startswith("vim.event.Custom")}
    customization = {name for name in known if issubclass(getattr(vim.event, name), vim.event.CustomizationEvent)}

    assert customization - {"CustomizationEvent"} == {name for name in EVENTS if name.startswith("Customization")}


def test_every_class_that_is_requested_exists() -> None:
    """A server refuses a filter with a class that it does not know."""
    assert [name for name in EVENTS if not issubclass(getattr(vim.event, name), vim.event.VmEvent)] == []


def test_every_state_of_the_api_has_a_meaning() -> None:
    """Each state that the API knows for `guest.customizationInfo` is listed."""
    known = set(vim.vm.GuestInfo.CustomizationStatus.values)

    assert known == set(STATES)


def test_filter_is_bounded_by_type_and_time() -> None:
    """A filter always names its classes and its time, and asks for the messages."""
    spec = event_filter(NOON, NOON + timedelta(seconds=1))

    assert (set(EVENTS), PAGE, False, None) == (
        set(spec.eventTypeId),
        spec.maxCount,
        spec.disableFullMessage,
        spec.entity,
    )
    assert (NOON, NOON + timedelta(seconds=1)) == (spec.time.beginTime, spec.time.endTime)
    assert not spec.type


def test_filter_of_one_entity_covers_what_is_in_it() -> None:
    """A folder covers the VMs below it."""
    folder = vim.Folder("group-v3")
    spec = event_filter(None, entity=folder)

    assert (folder, "all") == (spec.entity.entity, spec.entity.recursion)
