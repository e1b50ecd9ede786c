"""The failure guide shows what the engine really prints: each of its blocks is produced here, and compared."""

from __future__ import annotations

import re
import signal
import threading
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere
import pytest
from pyVmomi import vim

from lab import vcenter_client
from lab.bootstrap import build_vcenter
from lab.paths import ROOT, Home
from pulumi_customization_components import GatedFleet
from pulumi_customization_gate import CustomizationGate
from tests.lab.test_docs import SERVER, as_shape
from tests.stack.background import Running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.engine import Engine

HEAD = "  pulumi-python:dynamic/customization:CustomizationGate ({}):"
GUIDE = ROOT / "docs" / "failures.md"
ESXI = "esxi-1.example.com"
"""What the guide calls a server that is not a vCenter."""
REFERENCE = "vm-87"
"""A VM that no gate gets to look for."""


def shown() -> dict[str, list[str]]:
    """Returns the lines of each block of the guide that is what a gate printed, by the gate's name."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    heads = re.compile(re.escape(HEAD).replace(r"\{\}", "(.*)") + "\n")
    return {head[1]: block[head.end() :].splitlines() for block in blocks if (head := heads.match(block))}


def printed(output: str, gate: str) -> list[str]:
    """Returns the lines that the engine printed of a gate at the end of an operation."""
    _, _, rest = output.rpartition("\n" + HEAD.format(gate) + "\n")
    return rest.split("\n\n")[0].splitlines()


def assert_is_printed(output: str, gate: str, *, at: dict[str, str]) -> None:
    """Holds a block of the guide against the engine's output; numbers, times and the server's address may differ."""
    lines = printed(output, gate)
    for address, name in at.items():
        lines = [line.replace(address, name) for line in lines]
    written = [as_shape(line) for line in lines]
    assert [line for line in map(as_shape, shown()[gate]) if line not in written] == [], "\n".join(lines)


@pytest.fixture(scope="module")
def esxi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vcenter_client.Lab]:
    """A server that is not a vCenter."""
    folder = tmp_path_factory.mktemp("esxi")
    yield vcenter_client.start(build_vcenter(Home()), folder, ("-esxi",))
    vcenter_client.stop(build_vcenter(Home()), folder)


def one_gate(name: str, **arguments: Any) -> Any:
    """Returns a program of one gate."""

    def program() -> None:
        CustomizationGate(name, **arguments)

    return program


WAITS = ("failed", "late", "slow", "untouched", "unknown", "forbidden", "removed", "unready")


def test_every_block_is_produced_here() -> None:
    """A block of a gate that no test of this module has would be a claim."""
    others = {"refused", "untrusted", "host", "wrong", "missing", "cancelled"}
    assert shown().keys() == {*WAITS, *others}


def test_ends_of_a_wait(engine: Engine) -> None:
    """One `up` with a gate for each way in which a wait can end badly."""

    def vm(name: str = "web", **plan: Any) -> str:
        return engine.vm(engine.unique(name), **plan)

    failures = {
        "CustomizationFailed": {"reason": "userDefinedScriptDisabled", "message": "Customization of the guest failed."},
        "CustomizationLinuxIdentityFailed": {"message": "An error occurred while setting up Linux identity."},
        "CustomizationNetworkSetupFailed": {
            "message": "An error occurred while setting up network properties of the guest OS."
        },
        "CustomizationSysprepFailed": {
            "message": "The version of Sysprep that is provided does not match the guest.",
            "logLocation": "C:\\Windows\\Temp\\vmware-imc",
        },
        "CustomizationUnknownFailure": {"message": "An error occurred while customizing the guest."},
    }
    failed = [vm(outcome=outcome, **plan) for outcome, plan in failures.items()]
    late = [vm(outcome="never-starts"), vm(startDelay="1h"), vm(startDelay="1h")]
    forbidden = vm()
    with engine.lab.connected() as service:
        engine.lab.power(_name(service, late[2]), "off")
        engine.lab.add_fault("no_permission", vm=_name(service, forbidden))
    good, slow, untouched = vm(), vm("db", outcome="never-ends"), vm(specification=False)
    removed, unready = vm(outcome="never-ends"), vm(guestOperationsLag="1h")

    def program() -> None:
        CustomizationGate("failed", vms=[*failed, good])
        CustomizationGate("late", vms=late, start_timeout=2)
        CustomizationGate("slow", vms=[slow, good], timeout=3)
        CustomizationGate("untouched", vms=[untouched])
        CustomizationGate("unknown", vms={"web-1": "vm-4711", "web-2": "/DC0/vm/shop/web-2", "web-3": good})
        CustomizationGate("forbidden", vms={"web-1": forbidden})
        CustomizationGate("removed", vms=[removed])
        CustomizationGate("unready", vms=[unready], ready_when="guest_operations", timeout=4)

    engine.lab.reset_stats()
    remover = threading.Thread(target=_remove_in_mid_wait, args=(engine, removed))
    remover.start()
    result = engine.stack(program).up(parallel=100)
    remover.join()
    engine.lab.clear_faults()
    assert not result.succeeded
    for gate in WAITS:
        assert_is_printed(result.output, gate, at={engine.lab.server: SERVER})


def _name(service: Any, moid: str) -> str:
    return str(vim.VirtualMachine(moid, service._stub).name)


def _remove_in_mid_wait(engine: Engine, moid: str) -> None:
    until(lambda: engine.lab.stats()["calls"].get("QueryEvents", 0) >= len(WAITS) - 1)
    with engine.lab.connected() as service:
        engine.lab.power(_name(service, moid), "off")
        vm: Any = vim.VirtualMachine(moid, service._stub)
        vm.Destroy_Task()


def test_a_server_that_cannot_be_used(engine: Engine, esxi: vcenter_client.Lab) -> None:
    """A refused login, an untrusted certificate, and a server that is not a vCenter."""
    names = {engine.lab.server: SERVER, esxi.server: ESXI}
    elsewhere = {"vsphere:vsphereServer": esxi.server, "vsphere:password": esxi.password}
    gates: dict[str, tuple[dict[str, str | None], dict[str, str]]] = {
        "refused": ({"vsphere:password": "mistyped"}, {}),
        # The lab has the system trust its authority; here that is another lab's.
        "untrusted": ({"customization:caFile": None}, {"SSL_CERT_FILE": esxi.ca_file}),
        "host": ({**elsewhere, "customization:caFile": esxi.ca_file}, {}),
    }
    for gate, (config, environment) in gates.items():
        stack = engine.stack(one_gate(gate, vms=[REFERENCE]), config=config, environment=environment)
        assert_is_printed(stack.up().output, gate, at=names)


def test_invalid_input_at_preview(engine: Engine) -> None:
    """All that is wrong with a gate is said at once, and so is all that is missing."""
    wrong = one_gate(
        "wrong",
        vms={"web-1": "web-1"},
        timeout=300,
        start_timeout=600,
        settle=-1,
        expect="optinal",
        on_failure="ignore",
    )
    assert_is_printed(engine.stack(wrong).preview().output, "wrong", at={})
    empty: dict[str, str | None] = {"vsphere:vsphereServer": None, "vsphere:password": None}
    missing = engine.stack(one_gate("missing", vms=[REFERENCE]), config=empty)
    assert_is_printed(missing.preview().output, "missing", at={})


def test_ctrl_c_and_kill(engine: Engine) -> None:
    """One SIGTERM, like one Ctrl-C, leaves a report; a kill leaves a note, which the next run shows as a warning."""
    moid = engine.vm(engine.unique("web"), outcome="never-ends")
    cancelled = engine.stack(one_gate("cancelled", vms=[moid]))
    output = _interrupted(engine, cancelled, signal.SIGTERM)
    assert_is_printed(output, "cancelled", at={})

    killed = engine.stack(one_gate("killed", vms=[moid]))
    _interrupted(engine, killed, signal.SIGKILL)
    guide = GUIDE.read_text(encoding="utf-8")
    assert _sentence("the stack is currently locked", killed.up().output) in guide
    killed.unlock()
    engine.lab.end(moid)
    again = killed.up()
    assert again.succeeded, again.output
    assert _sentence("Attempting to deploy or update", again.output) in guide


def test_vms_move_into_a_fleet(engine: Engine) -> None:
    """The options of the page on upgrading: no VM is replaced, and the gate judges them by their history."""
    fleet = engine.unique("moved")

    def vm(name: str, domain: str = "example.com") -> vsphere.VirtualMachineArgs:
        datacenter = vsphere.get_datacenter(name="DC0")
        cluster = vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id)
        datastore = vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id)
        template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
        customize = vsphere.VirtualMachineCloneCustomizeArgs(
            timeout=0,
            linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(host_name=name, domain=domain),
            network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
        )
        clone = vsphere.VirtualMachineCloneArgs(template_uuid=template.id, customize=customize)
        return vsphere.VirtualMachineArgs(
            name=name,
            resource_pool_id=cluster.resource_pool_id,
            datastore_id=datastore.id,
            disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
            clone=clone,
            wait_for_guest_net_timeout=0,
        )

    def before() -> None:
        for number in range(2):
            vsphere.VirtualMachine(f"{fleet}-{number}", vm(f"{fleet}-{number}"))

    def after() -> None:
        moved = pulumi.ResourceOptions(
            aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)], ignore_changes=["clone"]
        )
        # A difference in `clone`, as the component makes one where it turns a wait off there.
        GatedFleet(fleet, 2, lambda name: vm(name, "example.org"), vm_opts=moved)

    stack = engine.stack(before)
    first = stack.up()
    assert first.succeeded, first.output
    second = stack.up(after)
    assert second.succeeded, second.output
    assert {name: steps for name, steps in second.changes.items() if name != fleet and steps != ["update"]} == {}
    assert second.changes[fleet] == ["create", "create"]
    page = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
    assert "aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]" in page
    assert 'ignore_changes=["clone"]' in page


def _interrupted(engine: Engine, stack: Any, number: signal.Signals) -> str:
    engine.lab.reset_stats()
    running = Running(stack)
    until(lambda: engine.lab.stats()["calls"].get("QueryEvents", 0) >= 1)
    cli = running.cli()
    assert cli is not None
    cli.send_signal(number)
    return running.wait().output


def _sentence(start: str, output: str) -> str:
    """Returns the sentence of an output that begins like this."""
    found = re.search(re.escape(start) + r"[^.\n]*\.", output)
    assert found, output
    return found[0]


README = ROOT / "README.md"
FAILURE = {
    "outcome": "CustomizationLinuxIdentityFailed",
    "message": "An error occurred while setting up Linux identity.",
}


@pytest.mark.parametrize(
    ("plan", "heading"),
    [pytest.param({}, "What you see", id="success"), pytest.param(FAILURE, "What a failure looks like", id="failure")],
)
def test_the_program_of_the_readme(engine: Engine, plan: dict[str, str], heading: str) -> None:
    """The program of the README runs as it is written, and prints what the README shows."""
    text = README.read_text(encoding="utf-8")
    _, _, section = text.partition(f"## {heading}\n")
    source, shown = _block(text), _block(section)
    prefix = engine.unique("shop") + "-"
    code = compile(source.replace("web-", prefix), "README.md", "exec")
    engine.lab.plan(f"{prefix}0", duration="6s")
    engine.lab.plan(f"{prefix}1", duration="7s", **plan)

    result = engine.stack(lambda: exec(code, {})).up()  # noqa: S102 -- the README's program

    assert result.succeeded == (not plan), result.output
    output = re.sub("urn:pulumi:[^:]+::[^:]+::", "urn:pulumi:dev::web::", result.output.replace(prefix, "web-"))
    written = [as_shape(line) for line in output.splitlines()]
    assert [line for line in map(as_shape, shown.splitlines()) if line not in written] == [], result.output


def _block(text: str) -> str:
    """Returns the first block of code or output of a text."""
    found = re.search(r"^```(?:python)?\n(import .*?|  .*?| \+.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]
