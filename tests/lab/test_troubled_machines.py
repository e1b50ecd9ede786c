"""What can happen to a machine while a gate waits for it, and to the clocks around it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from pulumi_customization_gate.core.model import CustomizationStatus, Evidence
from tests.lab.centre import finish, linux, running, status, until
from tests.lab.scene import FAILED, SUCCEEDED, Machine, Scene, failures, scene, verdicts

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import GateReport

SUBCLASS = "CustomizationSysprepFailed"
REMOVED = CustomizationStatus.VM_REMOVED


def object_of(stage: Scene, vm: Machine) -> Any:
    return stage.centre.machine(vm.moid)


def evidence(report: GateReport) -> dict[str, Evidence | None]:
    return {outcome.key: outcome.evidence for outcome in report.outcomes}


# ---- rights


def test_no_permission_on_one_machine_of_three(stage: Scene) -> None:
    """One machine out of sight ends the wait at once, says who lacks what, and takes nothing from the others."""
    vms = {key: stage.machine(duration="50ms") for key in ("one", "two", "hidden")}
    until(lambda: all(status(object_of(stage, vm)) == "SUCCEEDED" for vm in vms.values()))
    stage.centre.lab.add_fault("no_permission", vm=vms["hidden"].name)
    report = stage.begin(vms).report()

    assert {key: verdicts(report)[key] for key in ("one", "two")} == {"one": SUCCEEDED, "two": SUCCEEDED}
    assert failures(report) == {"hidden": "NoPermission"}
    message = report.outcomes[2].failure.message if report.outcomes[2].failure else ""
    assert message == f"{stage.centre.lab.user} may not read it; grant the role Read-only on it, or on its folder"


def test_a_machine_out_of_sight_keeps_no_folder_from_being_watched(stage: Scene) -> None:
    """A user of one folder who may not read one machine in it watches the folder for the others."""
    shown, hidden = stage.machine(), stage.machine()
    until(lambda: "CustomizationStartedEvent" in stage.story(shown))
    stage.centre.lab.add_fault("no_permission", vm=hidden.name)
    stage.centre.lab.add_fault("NoPermission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    wait = stage.begin({"shown": shown, "hidden": hidden}, stop_on_missing=False)
    until(lambda: "may not read the events of the whole inventory: watching vm only" in wait.notes)
    stage.centre.lab.end(shown.name)
    report = wait.report()

    assert verdicts(report)["shown"] is SUCCEEDED
    assert failures(report) == {"hidden": "NoPermission"}


# ---- what happens to a machine


def test_a_machine_that_is_deleted(stage: Scene) -> None:
    """A machine deleted in mid-wait is told as removed; the other's end is waited for."""
    wait, vms = stage.watching("lost", "good")
    finish(object_of(stage, vms["lost"]).PowerOffVM_Task())
    finish(object_of(stage, vms["lost"]).Destroy_Task())
    until(lambda: wait.statuses.get("lost") is REMOVED)
    stage.centre.lab.end(vms["good"].name)
    report = wait.report()

    assert verdicts(report) == {"lost": REMOVED, "good": SUCCEEDED}
    assert failures(report) == {"lost": "VmRemoved"}


def test_a_machine_that_is_renamed(stage: Scene) -> None:
    """A machine renamed in mid-wait is the same one: it is known by its ID, and reported by its new name."""
    wait, vms = stage.watching("web")
    finish(object_of(stage, vms["web"]).Rename_Task("renamed"))
    stage.centre.lab.end(vms["web"].moid)
    report = wait.report()

    assert verdicts(report) == {"web": SUCCEEDED}
    assert report.outcomes[0].name == "renamed"


def test_a_machine_that_is_moved_to_another_host(stage: Scene) -> None:
    """A migration in mid-wait, on the way to success or to failure, changes nothing of the verdict."""
    wait, vms = stage.watching("good", "bad")
    for vm in vms.values():
        stage.move(vm)
    stage.centre.lab.end(vms["good"].name)
    stage.centre.lab.end(vms["bad"].name, SUBCLASS)

    assert verdicts(wait.report()) == {"good": SUCCEEDED, "bad": FAILED}


def test_an_ha_restart_before_the_end(stage: Scene) -> None:
    """A restart in the midst of the customization opens nothing: the gate waits for the end that comes after it."""
    wait, vms = stage.watching("good", "bad")
    for vm in vms.values():
        stage.centre.lab.power(vm.name, "ha_restart")
        stage.centre.lab.post_event(vm.moid, "CustomizationStartedEvent")
    stage.hear_the_long_poll()
    stage.hear_the_long_poll()
    assert not wait.ending.done()
    stage.centre.lab.post_event(vms["good"].moid, "CustomizationSucceeded")
    stage.centre.lab.post_event(vms["bad"].moid, SUBCLASS)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert evidence(report) == {"good": Evidence.EVENT, "bad": Evidence.EVENT}


@pytest.mark.parametrize("kind", ["ha_restart", "off and on"])
def test_a_restart_after_the_end(stage: Scene, kind: str) -> None:
    """A machine restarted after its success, or its failure, keeps that verdict: nobody asked for another one."""
    vms = {"good": stage.machine(duration="50ms"), "bad": stage.machine(duration="50ms", outcome=SUBCLASS)}
    until(lambda: "CustomizationSucceeded" in stage.story(vms["good"]) and SUBCLASS in stage.story(vms["bad"]))
    for vm in vms.values():
        for power in ("off", "on") if kind == "off and on" else (kind,):
            stage.centre.lab.power(vm.name, power)
    report = stage.begin(vms).report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert evidence(report) == {"good": Evidence.EARLIER_EVENT, "bad": Evidence.EARLIER_EVENT}


def test_a_restart_between_the_end_and_the_others_end(stage: Scene) -> None:
    """A machine that restarts in mid-wait after its success stays good while the gate waits for another one."""
    wait, vms = stage.watching("first", "second")
    stage.centre.lab.end(vms["first"].name)
    until(lambda: wait.statuses.get("first") is SUCCEEDED)
    stage.centre.lab.power(vms["first"].name, "ha_restart")
    stage.hear_the_long_poll()
    stage.centre.lab.end(vms["second"].name)

    assert verdicts(wait.report()) == {"first": SUCCEEDED, "second": SUCCEEDED}


def again(stage: Scene, vm: Machine, **plan: str) -> None:
    """Has a machine that was customized be customized once more, at the next power-on."""
    stage.centre.lab.power(vm.name, "off")
    finish(object_of(stage, vm).CustomizeVM_Task(linux(host_name="again")))
    stage.centre.lab.plan(vm.name, **plan)


def customized(stage: Scene) -> Machine:
    vm = stage.machine(duration="50ms")
    until(lambda: "CustomizationSucceeded" in stage.story(vm))
    return vm


@pytest.mark.parametrize("begins", ["while it is off", "while it runs"])
@pytest.mark.parametrize("outcome", ["succeeded", SUBCLASS])
def test_a_stale_success(stage: Scene, begins: str, outcome: str) -> None:
    """The success of an earlier power-on opens no gate before a second customization, and does not outweigh its end."""
    vm = customized(stage)
    again(stage, vm, duration="1h", startDelay="50ms")
    if begins == "while it is off":
        wait = stage.begin({"web": vm})
        until(lambda: wait.statuses)
        stage.centre.lab.power(vm.name, "on")
        until(lambda: wait.statuses["web"] is CustomizationStatus.CUSTOMIZATION_STARTED)
    else:
        stage.centre.lab.power(vm.name, "on")
        until(lambda: "CustomizationStartedEvent" in stage.story(vm))
        wait = stage.begin({"web": vm})
    stage.hear_the_long_poll()
    stage.hear_the_long_poll()
    assert not wait.ending.done()
    stage.centre.lab.end(vm.name, outcome)
    report = wait.report()
    stage.centre.lab.forget(vm.name)

    assert verdicts(report) == {"web": SUCCEEDED if outcome == "succeeded" else FAILED}
    assert evidence(report) == {"web": Evidence.EVENT}
    assert SUCCEEDED not in {o.status for update in wait.updates[:-1] for o in update.outcomes}


def test_a_second_customization_that_failed_before_the_wait(stage: Scene) -> None:
    """A failure after an earlier success is a failure, also where both lie behind."""
    vm = customized(stage)
    again(stage, vm, outcome=SUBCLASS, message="no product key")
    stage.centre.lab.power(vm.name, "on")
    until(lambda: SUBCLASS in stage.story(vm))
    report = stage.begin({"web": vm}).report()
    stage.centre.lab.forget(vm.name)

    assert failures(report) == {"web": SUBCLASS}
    assert report.outcomes[0].failure is not None
    assert report.outcomes[0].failure.message == "no product key"


# ---- clocks


@pytest.mark.parametrize("hours", [1, -1])
def test_a_client_clock_that_is_an_hour_off(stage: Scene, hours: int) -> None:
    """A machine that succeeded and one that ends in mid-wait are judged alike, however wrong our own clock is."""
    early, late = customized(stage), stage.machine()
    began = stage.centre.service.CurrentTime()
    with time_machine.travel(began + timedelta(hours=hours)):
        wait = stage.begin({"early": early, "late": late})
        until(lambda: wait.statuses.get("early") is SUCCEEDED)
        stage.hear_the_long_poll()
        stage.centre.lab.end(late.name)
        report = wait.report()

    assert verdicts(report) == {"early": SUCCEEDED, "late": SUCCEEDED}
    assert evidence(report) == {"early": Evidence.EVENT, "late": Evidence.EVENT}
    ended = report.outcomes[1].completed_at
    assert ended is not None
    assert abs(ended - began) < timedelta(minutes=5), "told by the server's clock"


@pytest.mark.parametrize("offset", ["1h", "-1h"])
def test_a_guest_clock_that_is_an_hour_off(stage: Scene, offset: str) -> None:
    """What the guest's clock says counts for nothing, with or without events."""
    vms = {"good": stage.machine(guestClockOffset=offset), "purged": stage.machine(guestClockOffset=offset)}
    until(lambda: all("CustomizationStartedEvent" in stage.story(vm) for vm in vms.values()))
    stage.centre.lab.end(vms["purged"].name)
    stage.centre.lab.purge_events()
    wait = stage.begin(vms)
    until(lambda: wait.statuses.get("purged") is SUCCEEDED)
    stage.centre.lab.end(vms["good"].name)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "purged": SUCCEEDED}
    assert evidence(report) == {"good": Evidence.EVENT, "purged": Evidence.STATE}


# ---- old servers


def test_a_vcenter_that_tells_no_state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 7.0.2 events alone tell, through a lost session and an HA restart as well."""
    with (
        running(tmp_path, "-api-version", "6.7.0.0", "-hosts", "2") as old,
        scene(old, monkeypatch) as stage,
    ):
        vms = {key: stage.machine() for key in ("good", "bad", "restarted")}
        until(lambda: all("CustomizationStartedEvent" in stage.story(vm) for vm in vms.values()))
        names = {key: vm.name for key, vm in vms.items()}
        wait = stage.begin(vms)
        stage.hear_the_long_poll()
        stage.centre.lab.power(names["restarted"], "ha_restart")
        stage.centre.lab.end(names["good"])
        stage.centre.lab.terminate_sessions()
        stage.centre.lab.end(names["bad"], SUBCLASS)
        until(lambda: re.search("watching again", wait.notes))
        assert not wait.ending.done()
        stage.centre.lab.post_event(vms["restarted"].moid, "CustomizationSucceeded")
        report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED, "restarted": SUCCEEDED}
