"""What a preflight finds of a Cloud Director and its VMs, in memory."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director.cloud import Plan, vapp_uuid
from pulumi_customization_gate import reachability
from pulumi_customization_gate.cloud_director import preflight
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.platforms import CLOUD_DIRECTOR
from tests.unit.cloud_director import in_memory

if TYPE_CHECKING:
    from tests.unit.cloud_director.in_memory import InMemory


@pytest.fixture(autouse=True)
def in_memory_server(lab: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "findings", lambda *_: iter(()))
    monkeypatch.setattr(preflight, "acquire", lab._connect)
    # The lab's answers carry its clock's time.
    monkeypatch.setattr(in_memory, "START", datetime.now(timezone.utc) - timedelta(seconds=lab.clock.now))


def looked(lab: InMemory, *vms: str) -> list[Finding]:
    found = list(CLOUD_DIRECTOR.preflight(lab.settings, vms))
    assert lab.settings.password not in str(found)
    return found


def test_a_server_that_a_gate_can_work_with(lab: InMemory) -> None:
    """A vApp stands for its VMs, each with its name; the session ends."""
    lab.vm("web-0")
    vm = lab.vm("web-1")
    found = looked(lab, vm.urn, f"urn:vcloud:vapp:{vapp_uuid('web')}")

    assert [(f.check, f.state) for f in found] == [
        (Check.LOGIN, State.OK),
        (Check.VERSION, State.OK),
        (Check.CLOCK, State.OK),
        *[(Check.VM, State.OK)] * 3,
    ]
    assert found[0].message.startswith("as ann of acme, after ")
    assert found[3].subject == f"web-1 (vm-{vm.uuid})"
    assert found[3].message == "its customization status can be read: GC_PENDING"
    assert lab.server.is_closed


def test_what_does_not_apply_or_is_not_there(lab: InMemory) -> None:
    """Each reference has a finding of its own."""
    unknown = "urn:vcloud:{}:00000000-0000-4000-8000-000000000000"
    off = lab.cloud.add("off", plan=Plan("disabled"))
    found = looked(lab, "web-0", unknown.format("vm"), unknown.format("vapp"), off.urn)[3:]

    assert [f.state for f in found] == [State.FAILED, State.FAILED, State.FAILED, State.WARNING]
    assert "expected a VM of Cloud Director" in found[0].message
    assert all("View VM" in f.remedy for f in found[1:3])
    assert found[3].message == "guest customization is not enabled"


def test_a_refused_login_ends_it(lab: InMemory) -> None:
    """The finding says what the gate would say."""
    lab.cloud.password = "another"
    (found,) = looked(lab)

    assert (found.check, found.state) == (Check.LOGIN, State.FAILED)


def test_a_wrong_clock_is_a_warning(lab: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate works with it."""
    monkeypatch.setattr(in_memory, "START", datetime.now(timezone.utc))
    (clock,) = [f for f in looked(lab) if f.check is Check.CLOCK]

    assert (clock.state, clock.message[-24:]) == (State.WARNING, "ahead of this computer's")


def test_a_server_that_stops_answering_is_the_last_finding(lab: InMemory) -> None:
    """What was found before it stays."""
    findings = CLOUD_DIRECTOR.preflight(lab.settings, [lab.vm("web-0").urn])
    first = next(findings)
    lab.server.is_reachable = False
    *_, last = findings

    assert (first.state, last.check, last.state) == (State.OK, Check.CONNECTION, State.FAILED)


def test_an_untrusted_certificate_ends_it_before_the_login(lab: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password is sent."""
    bad = Finding(Check.CERTIFICATE, State.FAILED, "vcd.example.com", "not trusted")
    monkeypatch.setattr(reachability, "findings", lambda *_: iter([bad]))

    assert looked(lab) == [bad]
    assert lab.server.log == []
