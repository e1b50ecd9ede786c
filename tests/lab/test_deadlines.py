"""Deadlines hold within a second whatever the network and the server do, and say what was known by then."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from lab.fault_proxy import SILENT, LinkConditions
from tests.lab.fault_harness import CALL, VM, FaultHarness, cut_off, failures, refused, rule
from tests.lab.vcenter_fixture import TEST_TIMEOUT, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.core.model import Failure, GateReport

TIMEOUT = 3.0
START_TIMEOUT = 2.5
LATE = 1.0
"""Seconds after a deadline by which the report has to be there."""
ATTEMPTS = 3
"""How often that is tried: the computer may be busy with other tests."""


def flood(harness: FaultHarness) -> None:
    harness.vcenter.done("POST", "/events", {"vm": "vm-0", "type": "CustomizationStartedEvent", "count": 1500})


WORK = "CurrentTime|RetrievePropertiesEx|CreateCollectorForEvents|WaitForUpdatesEx|ReadNextEvents|QueryEvents"
"""What a wait calls, but to log in and out."""

FAULTS = [
    pytest.param(lambda _: None, id="none"),
    pytest.param(lambda s: s.proxy.set_conditions(SILENT), id="accepts and never answers"),
    pytest.param(lambda s: s.proxy.half_open(), id="half-open"),
    pytest.param(lambda s: s.proxy.set_conditions(LinkConditions(delay=CALL / 4)), id="slow answers"),
    pytest.param(lambda s: s.proxy.set_conditions(LinkConditions(delay=2 * CALL)), id="answers that come too late"),
    pytest.param(cut_off, id="TLS broken off"),
    pytest.param(refused, id="refused, as in a restart"),
    pytest.param(rule("http503"), id="HTTP 503"),
    pytest.param(rule("hang"), id="calls that hang"),
    pytest.param(rule("truncate"), id="answers cut short"),
    pytest.param(rule("reset"), id="connection reset"),
    pytest.param(rule("not_authenticated", method=WORK), id="session ended, again and again"),
    pytest.param(rule("NoPermission", without_entity=True), id="a query without entity refused"),
    pytest.param(rule("host_communication"), id="a fault of the server"),
    pytest.param(lambda s: s.vcenter.lab.purge_events(), id="events purged"),
    pytest.param(flood, id="more events than a collector holds"),
]


def timed(harness: FaultHarness, vm: VM, **rules: float) -> tuple[Callable[[], GateReport], Callable[[], float]]:
    """Begins a wait; returns how to get its report, and how to get the seconds that the whole of it took."""
    took: list[float] = []
    began = time.monotonic()
    wait = harness.begin({"web": vm}, **rules)
    wait.ending.add_done_callback(lambda _: took.append(time.monotonic() - began))
    until(lambda: wait.updates or wait.ending.done())
    assert wait.updates, wait.ending.exception()
    return wait.report, lambda: took[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_deadlines_hold(harness: FaultHarness, fault: Callable[[FaultHarness], object]) -> None:
    """Neither the end that never comes nor the start that never comes is waited for longer than was asked."""
    endless, idle = harness.vm(outcome="never-ends"), harness.vm(outcome="never-starts")
    until(lambda: "CustomizationStartedEvent" in harness.story(endless))
    for _ in range(ATTEMPTS):
        end, end_took = timed(harness, endless, timeout=TIMEOUT)
        start, start_took = timed(harness, idle, start_timeout=START_TIMEOUT)
        fault(harness)

        assert failures(start()) == {"web": "StartTimeout"}
        assert failures(end()) == {"web": "Timeout"}
        assert end().timed_out
        for report, asked in ((end(), TIMEOUT), (start(), START_TIMEOUT)):
            assert report.wait_seconds >= asked
            assert any(line.startswith("likely cause: ") for line in failure_of(report).diagnosis)
        late = max(end_took() - TIMEOUT, start_took() - START_TIMEOUT)
        if late < LATE:
            break
        harness.clear_up()
    assert late < LATE


def failure_of(report: GateReport) -> Failure:
    (outcome,) = report.outcomes
    assert outcome.failure is not None
    return outcome.failure


def test_a_diagnosis_says_all_that_is_known(harness: FaultHarness) -> None:
    """Power, VMware Tools, specification, state, the last events with their ages, migrations, and what to do."""
    vm = harness.vm(outcome="never-ends")
    until(lambda: "CustomizationStartedEvent" in harness.story(vm))
    harness.move(vm)
    failure = failure_of(harness.begin({"web": vm}, timeout=TIMEOUT).report())

    reported = "\n".join(failure.diagnosis)
    assert failure.message == "the customization started and has not ended"
    for line in (
        r"likely cause: the customization does not end in the guest; see /var/log/vmware-imc or .*",
        r"power: on for [\d.]+ m?s; VMware Tools: running \(\d+\.\d+\.\d+\); specification: none pending",
        r"customizationInfo: TOOLSDEPLOYPKG_RUNNING",
        r"event: CustomizationStartedEvent at \d\d:\d\d:\d\d.*, [\d.]+ m?s earlier",
        r"migrations seen: 1",
    ):
        assert re.search(f"^{line}$", reported, re.MULTILINE), (line, reported)


def test_no_trace_of_a_customization_is_reported_early(harness: FaultHarness) -> None:
    """A VM without a requested customization is reported once its VMware Tools run, not after start_timeout."""
    vm = harness.vm(custom=False, startDelay="500ms")
    report = harness.begin({"web": vm}, start_timeout=4 * TEST_TIMEOUT).report()

    assert failures(report) == {"web": "NoCustomization"}
    assert report.wait_seconds < TEST_TIMEOUT
    assert failure_of(report).diagnosis[0].startswith("likely cause: no customization was requested: ")
