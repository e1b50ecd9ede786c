"""Why a VM is not ready, in the lines below its entry in the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.core.status import PowerState
from pulumi_customization_gate.vsphere.diagnosis import LAST_EVENTS, explain
from tests.unit.core.timeline import at, failed, migrated, read, started, starting, succeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.core.model import Event, Snapshot

NEVER_ON = read(60, "PENDING", on=False, pending=True, tools=False)

CAUSES = [
    pytest.param(None, [], "the user may not read the state of the VM; grant the role Read-only on it", id="no right"),
    pytest.param(
        NEVER_ON,
        [],
        "the VM was never powered on; its customization starts after the first power-on",
        id="never powered on",
    ),
    pytest.param(read(60, on=False, tools=False), [], "the VM is powered off; power it on", id="off"),
    pytest.param(
        read(60, "RUNNING", tools=False),
        [started(5)],
        "VMware Tools are not running in the guest, and customization needs them; "
        "install them in the template, and check on the console whether the guest boots",
        id="no Tools",
    ),
    pytest.param(
        read(60),
        [starting(1), started(5)],
        "the customization does not end in the guest; see /var/log/vmware-imc or C:\\Windows\\Temp\\vmware-imc there",
        id="hangs, by event",
    ),
    pytest.param(
        read(60, "RUNNING"),
        [],
        "the customization does not end in the guest; see /var/log/vmware-imc or C:\\Windows\\Temp\\vmware-imc there",
        id="hangs, by state",
    ),
    pytest.param(
        read(60, "PENDING"),
        [starting(1)],
        "VMware Tools are running but do not apply the specification; the template may disable it "
        "(vmware-toolbox-cmd config get deployPkg enable-customization) or lack the package open-vm-tools-deploypkg",
        id="not taken up",
    ),
    pytest.param(
        read(60, "IDLE"),
        [starting(1)],
        "no customization was requested: the VM was cloned without a customization specification",
        id="nobody asked",
    ),
]


@pytest.mark.parametrize(("snapshot", "events", "cause"), CAUSES)
def test_likeliest_cause(snapshot: Snapshot | None, events: Sequence[Event], cause: str) -> None:
    """The first line is one cause, with what to do about it."""
    reported = explain(snapshot, events)

    assert f"likely cause: {cause}" == reported[0]
    assert [line for line in reported if line.startswith("likely cause")] == reported[:1]


@pytest.mark.parametrize(
    ("snapshot", "events"),
    [
        pytest.param(read(60, "SUCCEEDED"), [], id="by state"),
        pytest.param(read(60), [starting(1), started(2), succeeded(5), starting(10)], id="by event"),
    ],
)
def test_a_customized_vm_that_is_not_ready_has_no_cause(snapshot: Snapshot, events: Sequence[Event]) -> None:
    """What is missing is in the VM's own line; "no customization requested" would be wrong."""
    assert [line for line in explain(snapshot, events) if line.startswith("likely cause")] == []


def test_whole_diagnosis() -> None:
    """Below the cause are power, Tools, specification, state, the last events with their ages, and migrations."""
    snapshot = replace(read(200, "FAILED", message="no\x1b[2J deployPkg"), booted_at=at(10), tools_version="12421")
    events = [starting(10), migrated(100), failed(70), migrated(190)]

    assert explain(snapshot, events)[1:] == [
        "power: on for 3 min 10 s; VMware Tools: running (12.4.5); specification: none pending",
        "customizationInfo: TOOLSDEPLOYPKG_FAILED: no deployPkg",
        "event: DrsVmMigratedEvent at 12:03:10Z, 10 s earlier",
        "event: DrsVmMigratedEvent at 12:01:40Z, 1 min 40 s earlier",
        "event: CustomizationSysprepFailed at 12:01:10Z, 2 min 10 s earlier",
        "event: VmStartingEvent at 12:00:10Z, 3 min 10 s earlier",
        "migrations seen: 2",
    ]


@pytest.mark.parametrize(
    ("reported", "shown"),
    [("12352", " (12.2.0)"), ("10341", " (10.3.5)"), ("2147483647", ""), ("0", ""), ("", ""), ("unknown", "")],
)
def test_version_of_the_tools(reported: str, shown: str) -> None:
    """The number of a VMware Tools release is shown as VMware writes it; an unknown number is not shown."""
    facts = explain(replace(read(60), tools_version=reported), [])[1]

    assert f"VMware Tools: running{shown};" in facts


def test_diagnosis_of_a_vm_without_reports() -> None:
    """What is not known is said, too."""
    assert explain(replace(NEVER_ON, state="", power=PowerState.UNKNOWN), [])[1:] == [
        "power: unknown; VMware Tools: not running; specification: pending",
        "customizationInfo: not reported by this vCenter",
        "event: none available",
    ]


def test_diagnosis_without_a_read_still_shows_the_events() -> None:
    """Events have no age where the server's present time is unknown."""
    assert explain(None, [starting(10)])[1:] == ["event: VmStartingEvent at 12:00:10Z"]


def test_only_the_last_events_are_reported_newest_first() -> None:
    """A VM with a long history has a short diagnosis, in whatever order its events came."""
    reported = [
        line for line in explain(None, [starting(i) for i in (3, 9, 1, 7, 5, 8, 2)]) if line.startswith("event")
    ]

    assert reported == [f"event: VmStartingEvent at 12:00:0{i}Z" for i in (9, 8, 7, 5, 3)]
    assert len(reported) == LAST_EVENTS
