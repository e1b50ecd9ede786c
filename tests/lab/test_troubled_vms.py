"""What can happen to a VM while a gate waits for it, and to the clocks around it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from pulumi_customization_gate.core.status import CustomizationStatus, Evidence
from tests.lab.fault_harness import (
    FAILED,
    RUNNING,
    SUCCEEDED,
    VM,
    FaultHarness,
    failures,
    open_harness,
    refused,
    verdicts,
)
from tests.lab.vcenter_fixture import finish, linux, running, status, until

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import GateReport

SUBCLASS = "CustomizationSysprepFailed"
REMOVED = CustomizationStatus.VM_REMOVED


def object_of(harness: FaultHarness, vm: VM) -> Any:
    return harness.vcenter.vm(vm.moid)


def evidence(report: GateReport) -> dict[str, Evidence | None]:
    return {outcome.key: outcome.evidence for outcome in report.outcomes}


# ---- rights


def test_no_permission_on_one_vm_of_three(harness: FaultHarness) -> None:
    """A VM that may not be read ends its wait at once, names user and privilege, and does not affect the others."""
    vms = {key: harness.vm(duration="50ms") for key in ("one", "two", "hidden")}
    until(lambda: all(status(object_of(harness, vm)) == "SUCCEEDED" for vm in vms.values()))
    harness.vcenter.lab.add_fault("no_permission", vm=vms["hidden"].name)
    report = harness.begin(vms).report()

    assert {key: verdicts(report)[key] for key in ("one", "two")} == {"one": SUCCEEDED, "two": SUCCEEDED}
    assert failures(report) == {"hidden": "NoPermission"}
    message = report.outcomes[2].failure.message if report.outcomes[2].failure else ""
    assert message == f"{harness.vcenter.lab.user} may not read it; grant the role Read-only on it, or on its folder"


def test_a_vm_out_of_sight_keeps_no_folder_from_being_watched(harness: FaultHarness) -> None:
    """A user of one folder who may not read one VM in it watches the folder for the others."""
    shown, hidden = harness.vm(), harness.vm()
    until(lambda: "CustomizationStartedEvent" in harness.story(shown))
    harness.vcenter.lab.add_fault("no_permission", vm=hidden.name)
    harness.vcenter.lab.add_fault("NoPermission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    wait = harness.begin({"shown": shown, "hidden": hidden}, stop_on_missing=False)
    until(lambda: "may not read events of the whole inventory; reading those of vm" in wait.notes)
    harness.vcenter.lab.end(shown.name)
    report = wait.report()

    assert verdicts(report)["shown"] is SUCCEEDED
    assert failures(report) == {"hidden": "NoPermission"}


def test_one_look_without_permission_decides_nothing(harness: FaultHarness) -> None:
    """A VM that is readable again a moment later is neither removed nor forbidden: its success opens the gate."""
    vm = harness.vm()
    until(lambda: "CustomizationStartedEvent" in harness.story(vm))
    harness.vcenter.lab.add_fault("no_permission", vm=vm.name)
    wait = harness.begin({"web": vm})
    until(lambda: wait.updates)
    assert not any(outcome.instance_uuid for outcome in wait.updates[0].outcomes), "the first look found it"
    harness.vcenter.lab.clear_faults()
    until(lambda: any(outcome.instance_uuid for outcome in wait.updates[-1].outcomes))
    harness.vcenter.lab.end(vm.name)
    report = wait.report()

    assert verdicts(report) == {"web": SUCCEEDED}
    assert report.ready


# ---- what happens to a VM


def test_a_vm_that_is_deleted(harness: FaultHarness) -> None:
    """A VM that is deleted during the wait is reported as removed; the wait for the other VM continues."""
    wait, vms = harness.watching("lost", "good")
    finish(object_of(harness, vms["lost"]).PowerOffVM_Task())
    finish(object_of(harness, vms["lost"]).Destroy_Task())
    until(lambda: wait.statuses.get("lost") is REMOVED)
    harness.vcenter.lab.end(vms["good"].name)
    report = wait.report()

    assert verdicts(report) == {"lost": REMOVED, "good": SUCCEEDED}
    assert failures(report) == {"lost": "VmRemoved"}


def test_a_vm_that_is_renamed(harness: FaultHarness) -> None:
    """A VM that is renamed during the wait is the same VM by its ID, and is reported by its new name."""
    wait, vms = harness.watching("web")
    finish(object_of(harness, vms["web"]).Rename_Task("renamed"))
    harness.vcenter.lab.end(vms["web"].moid)
    report = wait.report()

    assert verdicts(report) == {"web": SUCCEEDED}
    assert report.outcomes[0].name == "renamed"


def test_a_vm_that_is_moved_to_another_host(harness: FaultHarness) -> None:
    """A migration during the wait changes neither a success nor a failure."""
    wait, vms = harness.watching("good", "bad")
    for vm in vms.values():
        harness.move(vm)
    harness.vcenter.lab.end(vms["good"].name)
    harness.vcenter.lab.end(vms["bad"].name, SUBCLASS)

    assert verdicts(wait.report()) == {"good": SUCCEEDED, "bad": FAILED}


def test_an_ha_restart_before_the_end(harness: FaultHarness) -> None:
    """A restart during the customization does not open the gate: it waits for the end that follows."""
    wait, vms = harness.watching("good", "bad")
    for vm in vms.values():
        harness.vcenter.lab.power(vm.name, "ha_restart")
    harness.hear_the_long_poll()
    harness.hear_the_long_poll()
    assert not wait.ending.done()
    for vm in vms.values():
        harness.vcenter.lab.power(vm.name, "off")
        harness.vcenter.lab.customize(vm.moid)
        harness.vcenter.lab.power(vm.name, "on")
    until(lambda: all("CustomizationStartedEvent" in harness.story(vm) for vm in vms.values()))
    harness.vcenter.lab.end(vms["good"].moid, "succeeded")
    harness.vcenter.lab.end(vms["bad"].moid, SUBCLASS)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert evidence(report) == {"good": Evidence.EVENT, "bad": Evidence.EVENT}


@pytest.mark.parametrize("kind", ["ha_restart", "off and on"])
def test_a_restart_after_the_end(harness: FaultHarness, kind: str) -> None:
    """A VM that is restarted after its success or failure keeps that verdict, because no customization is pending."""
    vms = {"good": harness.vm(duration="50ms"), "bad": harness.vm(duration="50ms", outcome=SUBCLASS)}
    until(lambda: "CustomizationSucceeded" in harness.story(vms["good"]) and SUBCLASS in harness.story(vms["bad"]))
    for vm in vms.values():
        for power in ("off", "on") if kind == "off and on" else (kind,):
            harness.vcenter.lab.power(vm.name, power)
    report = harness.begin(vms).report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert evidence(report) == {"good": Evidence.EARLIER_EVENT, "bad": Evidence.EARLIER_EVENT}


def test_a_restart_between_the_end_and_the_others_end(harness: FaultHarness) -> None:
    """A VM that restarts after its success stays ready while the gate waits for another VM."""
    wait, vms = harness.watching("first", "second")
    harness.vcenter.lab.end(vms["first"].name)
    until(lambda: wait.statuses.get("first") is SUCCEEDED)
    harness.vcenter.lab.power(vms["first"].name, "ha_restart")
    harness.hear_the_long_poll()
    harness.vcenter.lab.end(vms["second"].name)

    assert verdicts(wait.report()) == {"first": SUCCEEDED, "second": SUCCEEDED}


def test_a_power_on_whose_event_was_lost(harness: FaultHarness) -> None:
    """A VM that is customized again while its events are lost is running by its state, despite its old success."""
    wait, vms = harness.watching("web", "last")
    web = vms["web"].name
    harness.vcenter.lab.end(web)
    harness.vcenter.lab.power(web, "off")
    until(lambda: wait.statuses["web"] is SUCCEEDED)
    harness.hear_the_long_poll()
    refused(harness)
    harness.vcenter.lab.customize(web)
    harness.vcenter.lab.power(web, "on")
    until(lambda: status(object_of(harness, vms["web"])) == "RUNNING")
    harness.vcenter.lab.purge_events()
    harness.clear_up()
    until(lambda: wait.statuses["web"] is RUNNING)
    harness.vcenter.lab.end(vms["last"].name)
    harness.hear_the_long_poll()
    assert not wait.ending.done()
    harness.vcenter.lab.end(web, SUBCLASS)

    assert verdicts(wait.report()) == {"web": FAILED, "last": SUCCEEDED}


@pytest.mark.parametrize("outcome", ["CustomizationSucceeded", SUBCLASS])
def test_an_idle_state_after_an_ha_restart_hides_no_end(harness: FaultHarness, outcome: str) -> None:
    """A VM whose state is IDLE since it was restarted is judged by its earlier end, where none is required as well."""
    vm = harness.vm(custom=False)
    until(lambda: status(object_of(harness, vm)) == "IDLE")
    harness.vcenter.lab.post_event(vm.moid, outcome)
    harness.vcenter.lab.power(vm.name, "ha_restart")
    report = harness.begin({"web": vm}, requires_customization=False).report()

    assert verdicts(report) == {"web": SUCCEEDED if outcome == "CustomizationSucceeded" else FAILED}
    assert evidence(report) == {"web": Evidence.EARLIER_EVENT}


def again(harness: FaultHarness, vm: VM, **plan: str) -> None:
    """Has a VM that was customized be customized once more, at the next power-on."""
    harness.vcenter.lab.power(vm.name, "off")
    finish(object_of(harness, vm).CustomizeVM_Task(linux(host_name="again")))
    harness.vcenter.lab.plan(vm.name, **plan)


def customized(harness: FaultHarness) -> VM:
    vm = harness.vm(duration="50ms")
    until(lambda: "CustomizationSucceeded" in harness.story(vm))
    return vm


@pytest.mark.parametrize("begins", ["while it is off", "while it runs"])
@pytest.mark.parametrize("outcome", ["succeeded", SUBCLASS])
def test_a_stale_success(harness: FaultHarness, begins: str, outcome: str) -> None:
    """The success of an earlier power-on opens no gate before a second customization, and does not outweigh its end."""
    vm = customized(harness)
    again(harness, vm, duration="1h", startDelay="50ms")
    if begins == "while it is off":
        wait = harness.begin({"web": vm})
        until(lambda: wait.statuses)
        harness.vcenter.lab.power(vm.name, "on")
        until(lambda: wait.statuses["web"] is CustomizationStatus.CUSTOMIZATION_STARTED)
    else:
        harness.vcenter.lab.power(vm.name, "on")
        until(lambda: "CustomizationStartedEvent" in harness.story(vm))
        wait = harness.begin({"web": vm})
    harness.hear_the_long_poll()
    harness.hear_the_long_poll()
    assert not wait.ending.done()
    harness.vcenter.lab.end(vm.name, outcome)
    report = wait.report()
    harness.vcenter.lab.forget(vm.name)

    assert verdicts(report) == {"web": SUCCEEDED if outcome == "succeeded" else FAILED}
    assert evidence(report) == {"web": Evidence.EVENT}
    assert SUCCEEDED not in {o.status for update in wait.updates[:-1] for o in update.outcomes}


def test_a_second_customization_that_failed_before_the_wait(harness: FaultHarness) -> None:
    """A failure after an earlier success is a failure, also where both lie behind."""
    vm = customized(harness)
    again(harness, vm, outcome=SUBCLASS, message="no product key")
    harness.vcenter.lab.power(vm.name, "on")
    until(lambda: SUBCLASS in harness.story(vm))
    report = harness.begin({"web": vm}).report()
    harness.vcenter.lab.forget(vm.name)

    assert failures(report) == {"web": SUBCLASS}
    assert report.outcomes[0].failure is not None
    assert report.outcomes[0].failure.message == "no product key"


# ---- clocks


@pytest.mark.parametrize("hours", [1, -1])
def test_a_client_clock_that_is_an_hour_off(harness: FaultHarness, hours: int) -> None:
    """A VM that succeeded before and one that ends during the wait are judged alike, however wrong our clock is."""
    early, late = customized(harness), harness.vm()
    began = harness.vcenter.service.CurrentTime()
    with time_machine.travel(began + timedelta(hours=hours)):
        wait = harness.begin({"early": early, "late": late})
        until(lambda: wait.statuses.get("early") is SUCCEEDED)
        harness.hear_the_long_poll()
        harness.vcenter.lab.end(late.name)
        report = wait.report()

    assert verdicts(report) == {"early": SUCCEEDED, "late": SUCCEEDED}
    assert evidence(report) == {"early": Evidence.EVENT, "late": Evidence.EVENT}
    ended = report.outcomes[1].completed_at
    assert ended is not None
    assert abs(ended - began) < timedelta(minutes=5), "told by the server's clock"


@pytest.mark.parametrize("offset", ["1h", "-1h"])
def test_a_guest_clock_that_is_an_hour_off(harness: FaultHarness, offset: str) -> None:
    """What the guest's clock says counts for nothing, with or without events."""
    vms = {"good": harness.vm(guestClockOffset=offset), "purged": harness.vm(guestClockOffset=offset)}
    until(lambda: all("CustomizationStartedEvent" in harness.story(vm) for vm in vms.values()))
    harness.vcenter.lab.end(vms["purged"].name)
    harness.vcenter.lab.purge_events()
    wait = harness.begin(vms)
    until(lambda: wait.statuses.get("purged") is SUCCEEDED)
    harness.vcenter.lab.end(vms["good"].name)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "purged": SUCCEEDED}
    assert evidence(report) == {"good": Evidence.EVENT, "purged": Evidence.STATE}


# ---- old servers


def test_a_vcenter_that_reports_no_state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 7.0.2 events alone decide, also after a lost session and an HA restart."""
    with (
        running(tmp_path, "-api-version", "6.7.0.0", "-hosts", "2") as old,
        open_harness(old, monkeypatch) as harness,
    ):
        vms = {key: harness.vm() for key in ("good", "bad", "restarted")}
        until(lambda: all("CustomizationStartedEvent" in harness.story(vm) for vm in vms.values()))
        names = {key: vm.name for key, vm in vms.items()}
        wait = harness.begin(vms)
        harness.hear_the_long_poll()
        harness.vcenter.lab.power(names["restarted"], "ha_restart")
        harness.vcenter.lab.end(names["good"])
        harness.vcenter.lab.terminate_sessions()
        harness.vcenter.lab.end(names["bad"], SUBCLASS)
        until(lambda: re.search("watching again", wait.notes))
        assert not wait.ending.done()
        harness.vcenter.lab.post_event(vms["restarted"].moid, "CustomizationSucceeded")
        report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED, "restarted": SUCCEEDED}
