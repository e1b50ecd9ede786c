"""A failure that is accepted counts as success, and no later one does: the lifecycle with a source in memory."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_customization_gate.lifecycle import gate
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, PartialFailureError
from pulumi_customization_gate.lifecycle.inputs import SECRET_INPUTS
from tests.unit.lifecycle.test_gate import CONFIG, FAILED, FakeServer, Gate, created, server, stored, the_gate, updated

__all__ = ["server", "the_gate"]

REASON = "host name set by hand, ticket 4711"
VMS = {"web-1": "vm-1", "web-2": "vm-2"}
ACCEPT = {"web-1": REASON}


def closed(the_gate: Gate, server: FakeServer, story: str = "bad", **inputs: Any) -> dict[str, Any]:
    """Returns the outputs of a gate of which one VM failed."""
    server.stories = {"vm-1": story}
    return created(the_gate, vms=VMS, **inputs)


# ---- what is accepted


def test_an_accepted_failure_opens_the_gate(the_gate: Gate, server: FakeServer) -> None:
    """The VM that was repaired counts as ready; reason and failure are in results, in the log and in a warning."""
    first = closed(the_gate, server)
    the_gate.engine.lines.clear()
    second = updated(the_gate, first, vms=VMS, accept=ACCEPT)

    assert (first["ready"], second["ready"], second["opened_at"]) == (False, True, "2025-03-01T12:00:06.000Z")
    assert second["statuses"]["web-1"] == FAILED
    result = second["results"]["web-1"]
    assert (result["accepted"], result["failure"]["kind"]) == (REASON, "CustomizationFailed")
    assert second["results"]["web-2"]["accepted"] is None
    assert the_gate.engine.lines == [
        f"web-1 (name-of-vm-1, vm-1)  CustomizationFailed in 5 s, accepted: {REASON}",
        f"warning: web-1: the customization failed at 2025-03-01T12:00:05.000Z, accepted: {REASON}",
    ]


def test_an_accepted_vm_is_latched(the_gate: Gate, server: FakeServer) -> None:
    """An open gate has no change; an added VM is judged alone, and the warning is repeated."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    assert not the_gate.diff(stored(opened), {"vms": VMS, "accept": ACCEPT}).changes
    the_gate.engine.lines.clear()
    grown = updated(the_gate, opened, vms={**VMS, "web-3": "vm-3"}, accept=ACCEPT)
    assert server.waits[-1][1] == ["vm-1", "vm-2"]
    assert (grown["ready"], grown["results"]["web-1"]) == (True, opened["results"]["web-1"])
    assert [line for line in the_gate.engine.lines if line.startswith("warning: web-1: ")]


def test_the_report_of_another_failure_names_the_accepted_one(the_gate: Gate, server: FakeServer) -> None:
    """A gate that stays closed for another VM says which failure is accepted, and why."""
    server.stories = {"vm-1": "bad", "vm-2": "bad"}
    first = created(the_gate, vms=VMS)
    with pytest.raises(PartialFailureError) as error:
        the_gate.update(stored(first), {"vms": VMS, "accept": ACCEPT})
    lines = str(error.value).splitlines()
    assert lines[0] == "customization failed on 1 of 2 VMs after 0 s"
    assert f"  web-1 (name-of-vm-1, vm-1)  CustomizationFailed in 5 s, accepted: {REASON}" in lines
    assert next(line for line in lines if line.endswith("lists the URN of each VM.")).count("web-1") == 0


def test_what_is_no_longer_accepted_is_judged_again(the_gate: Gate, server: FakeServer) -> None:
    """Without its reason the failure closes the gate."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    again = updated(the_gate, opened, vms=VMS)
    assert (again["ready"], again["results"]["web-1"]["accepted"]) == (False, None)


def test_another_reason_for_the_same_failure_is_stored(the_gate: Gate, server: FakeServer) -> None:
    """A corrected reason waits for nothing."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    waits = len(server.waits)
    again = updated(the_gate, opened, vms=VMS, accept={"web-1": "ticket 4712"})
    assert (again["ready"], again["results"]["web-1"]["accepted"], len(server.waits)) == (True, "ticket 4712", waits)


def test_a_key_that_moves_takes_its_acceptance_along(the_gate: Gate, server: FakeServer) -> None:
    """Another key for the same VM is only another key."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    moved = updated(the_gate, opened, vms={"www": "vm-1", "web-2": "vm-2"}, accept={"www": REASON})
    assert (moved["ready"], moved["results"]["www"]["accepted"]) == (True, REASON)


def test_triggers_judge_an_accepted_vm_by_the_same_failure(the_gate: Gate, server: FakeServer) -> None:
    """The failure that was accepted is accepted wherever it is met again."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    again = updated(the_gate, opened, vms=VMS, accept=ACCEPT, triggers=[1])
    assert (server.waits[-1][1], again["ready"]) == ([], True)


def test_a_failure_without_a_time_can_be_accepted(the_gate: Gate, server: FakeServer) -> None:
    """Where the server has only a state, as Cloud Director does, that state is what is accepted."""
    first = closed(the_gate, server, "bad by state")
    second = updated(the_gate, first, vms=VMS, accept=ACCEPT)
    assert (first["results"]["web-1"]["completed_at"], first["ready"], second["ready"]) == (None, False, True)


def test_a_secret_reason_is_not_stored(the_gate: Gate, server: FakeServer) -> None:
    """A reason that the program marks as a secret is in no output and no line."""
    first = closed(the_gate, server)
    second = updated(the_gate, first, vms=VMS, accept=ACCEPT, **{SECRET_INPUTS: ["accept"]})
    assert (second["ready"], second["results"]["web-1"]["accepted"]) == (True, "[secret]")


# ---- what is not


def test_a_failure_that_was_not_reported_is_not_accepted(the_gate: Gate, server: FakeServer) -> None:
    """A reason that was there before the failure, for example in a new stack, covers nothing, however often it runs."""
    first = closed(the_gate, server, accept=ACCEPT)
    second = updated(the_gate, first, vms=VMS, accept=ACCEPT)
    third = updated(the_gate, second, vms=VMS, accept={"web-1": "seen on Monday"})
    assert [outputs["ready"] for outputs in (first, second, third)] == [False, False, True]
    warning = (
        "warning: web-1: accept does not cover this failure, which was not known when the reason was given; "
        "give another reason to accept it"
    )
    assert the_gate.engine.lines.count(warning) == 2


@pytest.mark.parametrize("triggers", [None, [1]])
def test_a_newer_failure_is_not_accepted(the_gate: Gate, server: FakeServer, triggers: Any) -> None:
    """The VM failed again between the report and the reason, or after it was accepted."""
    first = closed(the_gate, server)
    if triggers:
        first = updated(the_gate, first, vms=VMS, accept=ACCEPT)
    server.stories = {"vm-1": "bad again"}
    second = updated(the_gate, first, vms=VMS, accept=ACCEPT, triggers=triggers)
    assert (second["ready"], second["results"]["web-1"]["accepted"]) == (False, None)


def test_a_new_vm_under_the_key_is_not_accepted(the_gate: Gate, server: FakeServer) -> None:
    """A replaced VM is another one: what was accepted of the old one says nothing about it."""
    opened = updated(the_gate, closed(the_gate, server), vms=VMS, accept=ACCEPT)
    server.stories = {"vm-7": "bad"}
    second = updated(the_gate, opened, vms={**VMS, "web-1": "vm-7"}, accept=ACCEPT)
    assert (second["ready"], second["results"]["web-1"]["accepted"]) == (False, None)


@pytest.mark.parametrize("address", ["vc.example.com", "vc2.example.com"])
def test_another_vm_with_the_same_id_is_not_accepted(the_gate: Gate, server: FakeServer, address: str) -> None:
    """A failure without a time is known by its VM alone: neither another server's VM nor a later one inherits it."""
    server.uuids = {"vm-1": "uuid-1"}
    first = closed(the_gate, server, "bad by state")
    if address == "vc.example.com":
        server.uuids = {"vm-1": "uuid-9"}
    second = updated(Gate({**CONFIG, "vsphere:vsphereServer": address}), first, vms=VMS, accept=ACCEPT)
    assert (second["ready"], second["results"]["web-1"]["accepted"]) == (False, None)


def test_an_accepted_vm_that_is_off_is_not_ready(the_gate: Gate, server: FakeServer) -> None:
    """A repaired VM is held to what holds for every customized one; once it is on, the same reason counts."""
    first = closed(the_gate, server)
    server.stories = {"vm-1": "bad and off"}
    off = updated(the_gate, first, vms=VMS, accept=ACCEPT, timeout=1)
    server.stories = {"vm-1": "bad"}
    on = updated(the_gate, off, vms=VMS, accept=ACCEPT, timeout=1)
    assert (off["ready"], off["results"]["web-1"]["failure"]["kind"]) == (False, "PoweredOff")
    assert on["ready"] is True


# ---- check


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        pytest.param(
            {"vms": VMS, "accept": {"web-3": REASON}},
            "accept: expected keys of the gate's vms, got 'web-3'; did you mean 'web-2'?",
            id="an unknown key",
        ),
        pytest.param(
            {"vms": VMS, "accept": {"web-1": " "}},
            "accept['web-1']: expected a reason that is not empty, for example \"host name set by hand, ticket 4711\", "
            "got ' '",
            id="an empty reason",
        ),
        pytest.param(
            {"vms": VMS, "accept": ["web-1"]},
            'accept: expected a map from keys of vms to reasons, for example {"web-1": "host name set by hand, ticket '
            "4711\"}, got ['web-1']",
            id="a list",
        ),
        pytest.param(
            {"vms": ["vm-1"], "accept": ACCEPT},
            'accept: expected vms to be a map, for example {"web-1": web.moid}, because it names VMs by your keys',
            id="no keys",
        ),
    ],
)
def test_accept_is_checked(inputs: dict[str, Any], problem: str) -> None:
    """A reason is required, and names a VM of the gate."""
    assert gate.check(CONFIG.get, inputs) == [problem]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"vms": {"web-1": UNKNOWN}, "accept": ACCEPT}, id="a VM that is not known yet"),
        pytest.param({"vms": UNKNOWN, "accept": ACCEPT}, id="VMs that are not known yet"),
        pytest.param({"vms": VMS, "accept": {"web-1": UNKNOWN}}, id="a reason that is not known yet"),
        pytest.param({"vms": VMS, "accept": {}}, id="nothing"),
    ],
)
def test_what_a_preview_does_not_know_is_not_wrong(inputs: dict[str, Any]) -> None:
    """Unknown values are normal in a preview."""
    assert gate.check(CONFIG.get, inputs) == []


def test_a_vm_of_a_vapp_is_named_with_it() -> None:
    """On Cloud Director a key may name a vApp, and a reason one VM in it."""
    vapp = "urn:vcloud:vapp:f10538f6-b54c-5f88-93eb-895058492ab5"
    config = {"vcd:url": "https://vcd.example.com", "vcd:org": "acme", "vcd:apiToken": "t0ken"}
    inputs = {"platform": "cloud_director", "vms": {"shop": vapp, "db": vapp.replace("vapp", "vm")}}
    good = gate.check(config.get, {**inputs, "accept": {"shop/app": REASON}})
    bad = gate.check(config.get, {**inputs, "accept": {"db/app": REASON}})
    assert (good, len(bad)) == ([], 1)
