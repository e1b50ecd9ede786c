"""The guest's customization log on the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings

if TYPE_CHECKING:
    from tests.stack.engine import Engine

USER, PASSWORD = "deploy", "only-for-this-guest"


def test_a_failure_brings_the_guests_log_along(engine: Engine) -> None:
    """The error and the output `results` have the last lines of the log that is in the guest."""
    moid = engine.vm(engine.unique("web"), outcome="CustomizationFailed", guestUser=USER, guestPassword=PASSWORD)
    lab = engine.lab
    with acquire(VsphereSettings(lab.server, lab.user, lab.password, ca_file=lab.ca_file)) as session:
        guest = Guest(session, moid, GuestCredentials(USER, PASSWORD), Deadline(30))
        guest.make_directory("/var/log/vmware-imc", parents=True, exist_ok=True)
        guest.upload("/var/log/vmware-imc/toolsDeployPkg.log", b"first\nERROR: the domain is not reachable\n")

    def program() -> None:
        CustomizationGate("gate", vms={"web": moid})

    config = {"customization:guestUser": USER}
    stack = engine.stack(program, config=config, environment={"GUEST_PASSWORD": PASSWORD})
    failed = stack.up()

    assert not failed.succeeded
    assert "guest log /var/log/vmware-imc/toolsDeployPkg.log, last 2 lines:" in failed.errors
    assert "| ERROR: the domain is not reachable" in failed.errors
    failure = stack.resource("gate")["outputs"]["results"]["web"]["failure"]
    assert failure["log"][-1] == "| ERROR: the domain is not reachable"
