"""The newest word, on real sockets: off, customized again, keys that wrap, a clock that is set, there again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pyVmomi import vim

from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.wait import wait as core_wait
from pulumi_customization_gate.vsphere import reconciliation
from tests.lab.soap_server import SoapServer
from tests.lab.sources import vsphere_source
from tests.lab.test_vsphere_source import moid, settings, wait
from tests.lab.vcenter_fixture import TEST_TIMEOUT, linux, running, until
from tests.unit.vsphere.fake_vcenter import NOON, FakeVcenter

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi_customization_gate.core.model import GateReport
    from pulumi_customization_gate.core.progress import Update
    from tests.lab.vcenter_fixture import VCenter

SUCCESS = "CustomizationSucceeded", "succeeded"


def customized(vcenter: VCenter, end: str = "CustomizationSucceeded") -> tuple[str, str]:
    """Returns the managed object ID and the name of a VM whose customization ended with an event."""
    vm = vcenter.clone(custom=linux(), plan={"duration": "50ms", "outcome": end.replace(*SUCCESS)})
    until(lambda: end in vcenter.story(vm))
    return moid(vm), str(vm.name)


def reported(report: GateReport) -> list[tuple[str, bool, str]]:
    return [(o.status.value, o.ready, o.failure.name if o.failure else "") for o in report.outcomes]


def test_customized_and_off_is_not_ready(vcenter: VCenter) -> None:
    """The gate stays closed while the VM is off, says so, and opens once it is on."""
    vm, _ = customized(vcenter)
    vcenter.lab.power(vm, "off")
    off = wait(vcenter, {"web": vm}, WaitRules(timeout=2))
    timer = threading.Timer(1.0, lambda: vcenter.lab.power(vm, "on"))
    timer.start()
    on = wait(vcenter, {"web": vm}, WaitRules(timeout=TEST_TIMEOUT))
    timer.join()

    assert reported(off) == [("CustomizationSucceeded", False, "PoweredOff")]
    assert off.outcomes[0].failure is not None
    assert off.outcomes[0].failure.message == "the VM is customized and powered off"
    assert reported(on) == [("CustomizationSucceeded", True, "")]


def test_customized_again_just_before_the_wait(tmp_path: Path) -> None:
    """Before vCenter 7.0.2 an old success does not open the gate between the second power-on and its start."""
    with running(tmp_path, "-api-version", "7.0.1.0") as vcenter:
        vm, name = customized(vcenter)
        vcenter.lab.power(vm, "off")
        vcenter.lab.customize(vm)
        vcenter.lab.plan(name, startDelay="2s", duration="1s")
        vcenter.lab.power(vm, "on")
        began = time.monotonic()
        report = wait(vcenter, {"web": vm}, WaitRules(timeout=TEST_TIMEOUT, start_timeout=TEST_TIMEOUT))
        lasted = time.monotonic() - began

    assert reported(report) == [("CustomizationSucceeded", True, "")]
    assert lasted > 1.0
    assert report.outcomes[0].started_at is not None


def test_keys_wrap_and_a_clock_is_set(tmp_path: Path) -> None:
    """A success from before the wrap, dated in the future, does not open the gate for the customization after it."""
    with running(tmp_path, "-first-event-key", str(2**31 - 60)) as vcenter:
        vcenter.lab.set_clock(25_200)
        vm, name = customized(vcenter)
        vcenter.lab.set_clock(0)
        vcenter.lab.post_event("linux-template", "CustomizationStartedEvent", count=60)
        vcenter.lab.power(vm, "off")
        vcenter.lab.customize(vm)
        vcenter.lab.plan(name, outcome="CustomizationSysprepFailed", duration="1s")
        timer = threading.Timer(0.5, lambda: vcenter.lab.power(vm, "on"))
        timer.start()
        report = wait(vcenter, {"web": vm}, WaitRules(timeout=TEST_TIMEOUT))
        timer.join()

    assert reported(report) == [("CustomizationFailed", False, "CustomizationSysprepFailed")]


@pytest.mark.parametrize("end", ["CustomizationSysprepFailed", "CustomizationSucceeded"])
@pytest.mark.parametrize("is_waiting", [True, False], ids=["during the wait", "before the wait"])
def test_a_clock_set_back_dates_the_second_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_waiting: bool, end: str
) -> None:
    """Its start and end are dated hours before its own power-on; the first one's failure is not taken for its end."""
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 0.2)
    with running(tmp_path) as vcenter, ThreadPoolExecutor() as threads:
        vm, name = customized(vcenter, "CustomizationFailed")
        vcenter.lab.power(vm, "off")
        vcenter.lab.customize(vm)
        vcenter.lab.plan(name, startDelay="500ms", duration="24h")
        vcenter.lab.power(vm, "on")
        started = threading.Event()

        def judged() -> GateReport:
            source = vsphere_source(settings(vcenter.lab), {"web": vm})
            return core_wait(source, WaitRules(timeout=TEST_TIMEOUT), listener=lambda _: started.set())

        waiting = threads.submit(judged) if is_waiting else None
        assert waiting is None or started.wait(TEST_TIMEOUT)
        vcenter.lab.set_clock(-25_200)
        until(lambda: "CustomizationStartedEvent" in vcenter.story(vcenter.find(name)))
        vcenter.lab.end(vm, end.replace(*SUCCESS))
        vcenter.lab.set_clock(0)
        report = judged() if waiting is None else waiting.result(TEST_TIMEOUT)

    is_success = end == "CustomizationSucceeded"
    wanted = ("CustomizationSucceeded", True, "") if is_success else ("CustomizationFailed", False, end)
    assert reported(report) == [wanted]


def test_a_clock_set_back_dates_the_whole_second_customization(tmp_path: Path) -> None:
    """No event since the boot reports the success that the state shows, only one of the failure before it."""
    with running(tmp_path) as vcenter:
        vm, name = customized(vcenter, "CustomizationFailed")
        vcenter.lab.set_clock(-25_200)
        vcenter.lab.power(vm, "off")
        vcenter.lab.customize(vm)
        vcenter.lab.plan(name, outcome="succeeded", duration="50ms")
        vcenter.lab.power(vm, "on")
        until(lambda: "CustomizationSucceeded" in vcenter.story(vcenter.find(name)))
        vcenter.lab.set_clock(0)
        report = wait(vcenter, {"web": vm}, WaitRules(timeout=TEST_TIMEOUT))

    assert reported(report) == [("CustomizationSucceeded", True, "")]


def test_one_look_that_does_not_find_a_vm_decides_nothing() -> None:
    """A VM that is there again at the next look is not removed: its success opens the gate."""
    vcenter = FakeVcenter()
    vcenter.state.add("vm-6", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
    looks: list[CustomizationStatus] = []

    def listen(update: Update) -> None:
        looks.append(update.outcomes[1].status)
        if len(looks) == 1:
            vcenter.state.add("vm-7", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_RUNNING")
        elif looks[-1] is CustomizationStatus.CUSTOMIZATION_STARTED:
            vcenter.state.add("vm-7", guest__customizationInfo__customizationStatus="TOOLSDEPLOYPKG_SUCCEEDED")
            vcenter.events.happen(vim.event.CustomizationSucceeded, "vm-7", NOON)

    with SoapServer(vcenter).serving() as server:
        source = vsphere_source(server.settings(), {"db": "vm-6", "web": "vm-7"})
        report = core_wait(source, WaitRules(timeout=TEST_TIMEOUT), listener=listen)

    assert reported(report) == [("CustomizationSucceeded", True, ""), ("CustomizationSucceeded", True, "")]
    assert looks[0] is CustomizationStatus.VM_NOT_STARTED
    assert CustomizationStatus.VM_REMOVED not in looks
