"""One wait on real sockets, with a network that can misbehave in between, and what the tests of faults do to it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from lab.fault_proxy import NORMAL, LinkConditions, proxy_for
from pulumi_customization_gate.core import confirmation
from pulumi_customization_gate.core import wait as core_wait
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.core.status import CustomizationStatus
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.vsphere import event_feed, reconciliation, refused_logins, session
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.sources import vsphere_source
from tests.lab.vcenter_fixture import TEST_TIMEOUT, VCenter, finish, linux, until
from tests.lab.vcenter_fixture import session as session_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    import pytest

    from lab.fault_proxy import FaultProxy
    from pulumi_customization_gate.core.model import GateReport
    from pulumi_customization_gate.core.progress import Update

CALL = 1.0
"""Seconds without a byte after which a call is given up here."""
POLL = 1.0
"""Seconds that a long poll lasts here."""
READ_TIMEOUT = POLL + CALL
"""Seconds after which an unanswered long poll is given up here."""
LONG = 4 * TEST_TIMEOUT
"""Seconds that a wait may last which is to end by itself."""

RUNNING = CustomizationStatus.CUSTOMIZATION_STARTED
SUCCEEDED = CustomizationStatus.CUSTOMIZATION_SUCCEEDED
FAILED = CustomizationStatus.CUSTOMIZATION_FAILED


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets all times of a session to a tenth or less; what they bound stays in the same order."""
    monkeypatch.setattr(session, "CALL_TIMEOUT", CALL)
    monkeypatch.setattr(session, "EVENT_QUERY_TIMEOUT", CALL)
    monkeypatch.setattr(session, "START_TIMEOUT", TEST_TIMEOUT)
    monkeypatch.setattr(refused_logins, "RETRY_INTERVAL", 0.1)
    monkeypatch.setattr(event_feed, "LONGEST_POLL", POLL)
    monkeypatch.setattr(event_feed, "LONGEST_PAUSE", 0.5)
    monkeypatch.setattr(reconciliation, "RECONCILE_EVERY", 5.0)
    monkeypatch.setattr(reconciliation, "UNDECIDED_INTERVAL", 0.5)
    # The last look leaves more of the second that a deadline may be late by to a VM that is busy with other tests.
    for module in (core_wait, confirmation):
        monkeypatch.setattr(module, "FINAL_READ_TIMEOUT", 0.4)


@dataclass(frozen=True)
class VM:
    """A VM, known without asking the server."""

    moid: str
    name: str


@dataclass
class Wait:
    """A wait that runs in a thread."""

    ending: Future[GateReport]
    updates: list[Update] = field(default_factory=list)

    @property
    def statuses(self) -> dict[str, CustomizationStatus]:
        """The latest status of each VM."""
        outcomes = self.updates[-1].outcomes if self.updates else ()
        return {outcome.key: outcome.status for outcome in outcomes}

    @property
    def notes(self) -> str:
        """What was ridden out so far, a line each."""
        return "\n".join(note for update in self.updates for note in update.notes)

    def report(self) -> GateReport:
        """Returns the report once the wait is over."""
        return self.ending.result(LONG + TEST_TIMEOUT)


@dataclass
class FaultHarness:
    """A simulated vCenter, a proxy in front of it, and waits that go through the proxy."""

    vcenter: VCenter
    proxy: FaultProxy
    pool: ThreadPoolExecutor
    stop: threading.Event
    services: tuple[Any, ...]
    """The tests' own sessions."""

    def vm(self, *, custom: bool = True, **plan: str) -> VM:
        """Clones a VM and switches it on; its customization does not end by itself unless the plan says so."""
        plan = {"startDelay": "50ms", "duration": "1h", **plan}
        vm = self.vcenter.clone(custom=linux() if custom else None, plan=plan)
        return VM(str(vm._moId), vm.name)

    def story(self, vm: VM) -> list[str]:
        """Returns the classes of a VM's events since its last power-on."""
        return self.vcenter.story(self.vcenter.vm(vm.moid))

    def settings(self) -> VsphereSettings:
        """Returns the settings that lead through the network."""
        lab = self.vcenter.lab
        return VsphereSettings(self.proxy.address, lab.user, lab.password, ca_file=lab.ca_file)

    def move(self, vm: VM) -> None:
        """Moves a VM to another host."""
        root, found = self.vcenter.content.rootFolder, self.vcenter.vm(vm.moid)
        view = self.vcenter.content.viewManager.CreateContainerView(root, [vim.HostSystem], recursive=True)
        hosts = {host._moId: host for host in view.view}
        view.Destroy()
        other = next(host for moid, host in hosts.items() if moid != found.runtime.host._moId)
        finish(found.MigrateVM_Task(host=other, priority="defaultPriority"))
        assert found.runtime.host._moId == other._moId

    def begin(self, vms: Mapping[str, VM], **rules: Any) -> Wait:
        """Begins a wait for VMs."""
        references = {key: vm.moid for key, vm in vms.items()}
        source = vsphere_source(self.settings(), references)
        updates: list[Update] = []
        rules = {"timeout": LONG, "start_timeout": LONG, **rules}
        ending = self.pool.submit(wait, source, WaitRules(**rules), listener=updates.append, cancelled=self.stop.is_set)
        return Wait(ending, updates)

    def watching(self, *keys: str) -> tuple[Wait, dict[str, VM]]:
        """Returns a wait that has seen the customization of new VMs begin, and holds its long poll."""
        vms = {key: self.vm() for key in keys}
        until(lambda: all("CustomizationStartedEvent" in self.story(vm) for vm in vms.values()))
        polls = self.polls()
        wait = self.begin(vms)
        until(lambda: wait.ending.done() or wait.statuses == dict.fromkeys(keys, RUNNING))
        until(lambda: self.polls() > polls)
        assert not wait.ending.done(), wait.ending.result()
        return wait, vms

    def hear_the_long_poll(self) -> None:
        """Returns when another long poll has begun."""
        before = self.polls()
        until(lambda: self.polls() > before)

    def polls(self) -> int:
        """Returns how many long polls the server has seen."""
        return int(self.vcenter.lab.stats()["calls"].get("WaitForUpdatesEx", 0))

    def held(self) -> dict[str, int]:
        """Returns the sessions and collectors that the server holds for waits: all but the tests' own."""
        stats = self.vcenter.lab.stats()
        own = sum(_is_logged_in(service) for service in self.services)
        return {"sessions": stats["sessions"] - own, "collectors": stats["collectors"]}

    def calm_down(self) -> None:
        """Ends all waits and all faults."""
        self.stop.set()
        self.clear_up()

    def clear_up(self) -> None:
        """Ends all faults."""
        self.vcenter.lab.clear_faults()
        self.proxy.accept()
        self.proxy.set_conditions(NORMAL)

    def assert_nothing_is_left(self) -> None:
        """Waits until the server holds nothing for waits any more."""
        with contextlib.suppress(AssertionError):
            until(lambda: not any(self.held().values()))
        held = self.held()
        assert held == {"sessions": 0, "collectors": 0}, held


def _is_logged_in(service: Any) -> bool:
    service._stub.DropConnections()  # a test may have broken them off
    try:
        return service.content.sessionManager.currentSession is not None
    except vim.fault.NotAuthenticated:
        return False


@contextlib.contextmanager
def open_harness(vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultHarness]:
    """Yields a harness; at its end the link is normal, every wait has ended and nothing of it is left on the server."""
    hurry(monkeypatch)
    with contextlib.ExitStack() as held:
        # A session of its own, for it may be ended, and its connections broken.
        service = held.enter_context(session_of(vcenter.lab))
        proxy = held.enter_context(proxy_for(vcenter.lab.server))
        pool, stop = held.enter_context(ThreadPoolExecutor(16)), threading.Event()
        # Where a test fails its waits would go on, and the pool would wait for them.
        held.callback(stop.set)
        services = (vcenter.service, service)
        one = FaultHarness(VCenter(vcenter.lab, service, vcenter.numbers), proxy, pool, stop, services)
        yield one
        one.calm_down()
        one.assert_nothing_is_left()


def refused(harness: FaultHarness) -> None:
    """Refuses new connections, and resets the open ones."""
    harness.proxy.refuse()
    harness.proxy.reset()


def cut_off(harness: FaultHarness) -> None:
    """Resets the open connections, and new ones during their TLS handshake."""
    harness.proxy.set_conditions(LinkConditions(cut_after=100))
    harness.proxy.reset()


def rule(kind: str, **how: str | float | bool) -> Callable[[FaultHarness], object]:
    """Returns a fault of calls, of all unless a method is named."""
    return lambda harness: harness.vcenter.lab.add_fault(kind, **{"method": "*", **how})


def failures(report: GateReport) -> dict[str, str]:
    """Returns what each VM that is not good failed with."""
    return {o.key: o.failure.name for o in report.outcomes if o.failure is not None}


def verdicts(report: GateReport) -> dict[str, CustomizationStatus]:
    """Returns the verdict of each VM."""
    return {outcome.key: outcome.status for outcome in report.outcomes}
