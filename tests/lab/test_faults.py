"""Faults of the network and of the server during the wait: the right verdict, and a message about the fault."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lab.fault_proxy import NORMAL, SILENT, LinkConditions
from pulumi_customization_gate.core.errors import AuthenticationError, CertificateError
from pulumi_customization_gate.vsphere import event_feed, refused_logins
from tests.lab.fault_harness import (
    FAILED,
    READ_TIMEOUT,
    SUCCEEDED,
    FaultHarness,
    cut_off,
    failures,
    open_harness,
    refused,
    rule,
    verdicts,
)
from tests.lab.vcenter_fixture import TEST_TIMEOUT, running, until

if TYPE_CHECKING:
    from collections.abc import Callable

SUBCLASS = "CustomizationNetworkSetupFailed"


def trouble(
    seconds: float, begin: Callable[[FaultHarness], object], end: Callable[[FaultHarness], object]
) -> Callable[..., None]:
    """Returns a fault that lasts; the VMs' customizations end while it does."""

    def play(harness: FaultHarness, ends: Callable[[], None]) -> None:
        begin(harness)
        ends()
        threading.Event().wait(seconds)
        end(harness)

    return play


def strike(deed: Callable[[FaultHarness], object]) -> Callable[..., None]:
    """Returns a fault of a moment; the customizations end right after it."""
    return trouble(0, deed, lambda _: None)


def conditions(kind: LinkConditions) -> Callable[[FaultHarness], object]:
    return lambda harness: harness.proxy.set_conditions(kind)


def no_rule(harness: FaultHarness) -> None:
    harness.vcenter.lab.clear_faults()


normal = conditions(NORMAL)
LONG_ENOUGH = 1.5 * READ_TIMEOUT
"""Seconds in which a wait cannot but notice."""

FAULTS = [
    pytest.param(
        strike(lambda s: s.vcenter.lab.terminate_sessions()), "session not authenticated", id="session terminated"
    ),
    pytest.param(
        strike(lambda s: s.vcenter.lab.terminate_sessions(cancel_waits=True)),
        "call canceled by the server|session not authenticated",
        id="session terminated, calls cancelled",
    ),
    pytest.param(strike(lambda s: s.vcenter.lab.reset_connections()), "connection lost", id="connection reset"),
    pytest.param(strike(lambda s: s.proxy.reset()), "connection lost", id="connection reset on the way"),
    pytest.param(trouble(LONG_ENOUGH, conditions(SILENT), normal), "timed out after", id="accepts and never answers"),
    pytest.param(
        trouble(LONG_ENOUGH, cut_off, normal),
        "connection lost",
        id="TLS broken off",
    ),
    pytest.param(
        trouble(LONG_ENOUGH, refused, lambda s: s.proxy.accept()),
        "connection lost",
        id="refused by the VM",
    ),
    pytest.param(trouble(3 * READ_TIMEOUT, conditions(SILENT), normal), "timed out after", id="half-open, all of them"),
    pytest.param(strike(lambda s: s.proxy.half_open()), "timed out after", id="half-open, the old ones"),
    pytest.param(trouble(LONG_ENOUGH, rule("http503"), no_rule), "503", id="HTTP 503"),
    pytest.param(strike(rule("http502", count=5)), "502", id="HTTP 502 from a proxy, five times"),
    pytest.param(trouble(LONG_ENOUGH, rule("hang"), no_rule), "timed out after", id="calls that hang"),
    pytest.param(
        trouble(LONG_ENOUGH, rule("truncate"), no_rule),
        "malformed response|connection lost",
        id="answers cut short",
    ),
    pytest.param(
        trouble(LONG_ENOUGH, rule("host_communication"), no_rule), "HostCommunication", id="a fault of the server"
    ),
]


@pytest.mark.parametrize(("play", "reported"), FAULTS)
def test_a_fault_is_ridden_out(harness: FaultHarness, play: Callable[..., None], reported: str) -> None:
    """During a fault a VM that succeeds, one that fails, and the fault are all reported correctly and at once."""
    wait, vms = harness.watching("good", "bad")

    def ends() -> None:
        harness.vcenter.lab.end(vms["good"].name)
        harness.vcenter.lab.end(vms["bad"].name, SUBCLASS, message="no adapter")

    play(harness, ends)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert failures(report) == {"bad": SUBCLASS}
    assert re.search(reported, "\n".join(report.notes)), report.notes
    assert wait.notes == "\n".join(report.notes)


@pytest.mark.parametrize("delay", [LinkConditions(delay=0.2), None], ids=["on the way", "by the server"])
def test_slow_answers_are_waited_for(harness: FaultHarness, delay: LinkConditions | None) -> None:
    """Slow answers within the time-out are not a fault: nothing is retried, and nothing is missed."""
    wait, vms = harness.watching("web")
    if delay is not None:
        harness.proxy.set_conditions(delay)
    else:
        harness.vcenter.lab.add_fault("delay", method="*", seconds=0.3)
    harness.vcenter.lab.end(vms["web"].name)
    report = wait.report()

    assert verdicts(report) == {"web": SUCCEEDED}
    assert not report.notes


@pytest.mark.parametrize("events", ["kept", "lost"])
@pytest.mark.parametrize("moment", ["while it is away", "once it is back"])
def test_a_restart_of_the_server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, events: str, moment: str) -> None:
    """A vCenter that restarts during the wait loses session, collector and perhaps events, but no verdict changes."""
    with running(tmp_path, "-vms", "2") as vcenter, open_harness(vcenter, monkeypatch) as harness:
        wait, vms = harness.watching("good", "bad")
        if moment == "while it is away":
            vcenter.lab.end(vms["good"].name)
            vcenter.lab.end(vms["bad"].name, "CustomizationFailed", message="no adapter")
        vcenter.lab.restart(1.0, events=events)
        if moment == "once it is back":
            until(lambda: "watching again after" in wait.notes)
            vcenter.lab.end(vms["good"].name)
            vcenter.lab.end(vms["bad"].name, "CustomizationFailed", message="no adapter")
        report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert re.search("connection refused|connection lost", "\n".join(report.notes)), report.notes


def test_more_events_than_a_collector_holds(harness: FaultHarness) -> None:
    """More than a thousand unread events push those that count out of the collector: they are read once more."""
    wait, vms = harness.watching("good", "bad")
    noise = {"vm": "vm-0", "type": "CustomizationStartedEvent", "count": 2000}
    harness.vcenter.lab.add_fault("delay", method="ReadNextEvents", seconds=TEST_TIMEOUT)
    harness.vcenter.done("POST", "/events", noise)
    harness.vcenter.lab.end(vms["good"].name)
    harness.vcenter.lab.end(vms["bad"].name, SUBCLASS)
    harness.vcenter.done("POST", "/events", noise)
    harness.vcenter.lab.clear_faults()  # nothing is read before
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert failures(report) == {"bad": SUBCLASS}
    assert "more events than the collector holds; reading the history" in "\n".join(report.notes)


def test_events_that_are_purged(harness: FaultHarness) -> None:
    """An end whose event was deleted before it could be read is known from the state."""
    wait, vms = harness.watching("good", "bad")
    harness.proxy.set_conditions(SILENT)
    harness.vcenter.lab.end(vms["good"].name)
    harness.vcenter.lab.end(vms["bad"].name, SUBCLASS, message="no adapter")
    harness.vcenter.lab.purge_events()
    harness.proxy.set_conditions(NORMAL, old=False)
    report = wait.report()

    assert verdicts(report) == {"good": SUCCEEDED, "bad": FAILED}
    assert failures(report) == {"bad": "TOOLSDEPLOYPKG_FAILED"}
    assert "timed out after" in "\n".join(report.notes)


def test_a_query_without_an_entity_that_is_refused(harness: FaultHarness) -> None:
    """A privilege that is removed during the wait limits the collector to the VMs' folder, and the log says so."""
    wait, vms = harness.watching("web")
    harness.vcenter.lab.add_fault("NoPermission", method="CreateCollectorForEvents|QueryEvents", without_entity=True)
    harness.vcenter.lab.reset_connections()
    until(lambda: "may not read events of the whole inventory; reading those of vm" in wait.notes)
    harness.vcenter.lab.end(vms["web"].name)

    assert verdicts(wait.report()) == {"web": SUCCEEDED}


def test_a_certificate_that_changes_during_the_wait(harness: FaultHarness, tmp_path: Any) -> None:
    """Another certificate is not sat out until the deadline: the wait ends with what it is, and with its report."""
    wait, _ = harness.watching("web")
    with running(tmp_path) as other:
        harness.proxy.retarget(other.lab.server)
        harness.proxy.reset()
        report = wait.report()

        assert isinstance(report.fatal_error, CertificateError)
        assert "is not trusted" in str(report.fatal_error)
        assert other.lab.stats()["logins"] == {"ok": 1, "failed": 0}, "no password was sent there but the test's own"
    harness.proxy.retarget(harness.vcenter.lab.server)
    harness.assert_nothing_is_left()


def test_a_password_that_is_changed_during_the_wait(harness: FaultHarness) -> None:
    """A session that ends after the password was changed costs four refused logins, and ends the wait."""
    wait, _ = harness.watching("web")
    before = harness.vcenter.lab.stats()["logins"]["failed"]
    harness.vcenter.lab.add_fault("InvalidLogin", method="Login")
    harness.vcenter.lab.terminate_sessions()
    report = wait.report()

    assert isinstance(report.fatal_error, AuthenticationError)
    assert harness.vcenter.lab.hits() == [1 + refused_logins.RETRIES]
    assert harness.vcenter.lab.stats()["logins"]["failed"] == before


def test_a_hanging_long_poll_ends_with_its_wait(harness: FaultHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that ends leaves no thread and no connection behind, also where its long poll has lost its server."""
    monkeypatch.setattr(event_feed, "LONGEST_POLL", 10 * TEST_TIMEOUT)
    monkeypatch.setattr(event_feed, "JOIN_TIMEOUT", 0.5)
    others = set(threading.enumerate())  # A login of an earlier test may still wait for its response.
    wait, _ = harness.watching("web")
    harness.proxy.half_open()
    harness.stop.set()
    assert wait.report().cancelled

    until(lambda: not [t for t in threading.enumerate() if t not in others and t.name.startswith("customization-gate")])
    until(lambda: harness.proxy.connections == 0)


def test_two_waits_share_what_is_recovered(harness: FaultHarness) -> None:
    """Waits of one process lose and recover one session: one login, one collector, and both waits continue."""
    first, vms = harness.watching("one")
    second, others = harness.watching("two")
    before = harness.vcenter.lab.stats()["logins"]["ok"]
    harness.vcenter.lab.terminate_sessions(cancel_waits=True)
    until(lambda: "watching again" in first.notes and "watching again" in second.notes)
    for vm in (*vms.values(), *others.values()):
        harness.vcenter.lab.end(vm.name)

    assert verdicts(first.report()) == {"one": SUCCEEDED}
    assert verdicts(second.report()) == {"two": SUCCEEDED}
    assert harness.vcenter.lab.stats()["logins"]["ok"] == before + 1


def test_a_cancellation_amid_a_fault(harness: FaultHarness) -> None:
    """A wait whose server does not answer ends at once when the user cancels it."""
    wait, _ = harness.watching("web")
    harness.proxy.set_conditions(SILENT)
    harness.stop.set()
    report = wait.ending.result(TEST_TIMEOUT)

    assert report.cancelled
    assert failures(report) == {"web": "WaitStopped"} or report.outcomes[0].failure is not None
