"""The policy pack on the real engine: what it stops before anything is made, and what it lets pass."""

from __future__ import annotations

import json
import runpy
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere
import pytest
from pulumi import automation
from pulumi.dynamic import CreateResult, ResourceProvider

from lab import policy_runner
from lab.order_probe import OrderProbe
from lab.paths import ROOT
from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.policies.options import GATE, VSPHERE_VM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stack.engine import Engine, Result, Stack

_LAB = {"workTypes": ["pulumi-python:dynamic/lab:*"]}
PROBE_IS_WORK = {
    "guest-work-waits-for-gate": _LAB,
    "address-comes-from-gate": _LAB,
    "address-is-not-empty": _LAB,
}


@pytest.fixture
def pack(engine: Engine, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Gives the options of an operation that runs the pack with some configuration of its rules."""

    def options(**rules: Any) -> dict[str, Any]:
        config = tmp_path / "policy.json"
        merged = {**PROBE_IS_WORK, **{name.replace("_", "-"): value for name, value in rules.items()}}
        config.write_text(json.dumps(merged), encoding="utf-8")
        runnable = policy_runner.runnable(engine.cli, tmp_path)
        return {"policy_packs": [str(runnable)], "policy_pack_configs": [str(config)]}

    return options


def customized_vm(name: str, resource: str = "web") -> vsphere.VirtualMachine:
    """Returns a customized clone of the lab's template."""
    datacenter = vsphere.get_datacenter(name="DC0")
    template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
    return vsphere.VirtualMachine(
        resource,
        name=name,
        resource_pool_id=vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id).resource_pool_id,
        datastore_id=vsphere.get_datastore(name="LocalDS_0", datacenter_id=datacenter.id).id,
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=template.disks[0].size)],
        guest_id=template.guest_id,
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid=template.id,
            customize=vsphere.VirtualMachineCloneCustomizeArgs(
                timeout=0,
                linux_options=vsphere.VirtualMachineCloneCustomizeLinuxOptionsArgs(
                    host_name="web", domain="example.com"
                ),
                network_interfaces=[vsphere.VirtualMachineCloneCustomizeNetworkInterfaceArgs()],
            ),
        ),
        wait_for_guest_net_timeout=0,
    )


def vm_from_specification(resource: str, opts: pulumi.ResourceOptions | None = None) -> vsphere.VirtualMachine:
    """Returns a VM for a preview, with a specification that is stored in vCenter, for which the VM resource waits."""
    return vsphere.VirtualMachine(
        resource,
        resource_pool_id="pool",
        datastore_id="datastore",
        disks=[vsphere.VirtualMachineDiskArgs(label="disk0", size=10)],
        clone=vsphere.VirtualMachineCloneArgs(
            template_uuid="template", customization_spec=vsphere.VirtualMachineCloneCustomizationSpecArgs(id="linux")
        ),
        wait_for_guest_net_timeout=0,
        opts=opts,
    )


class _Echo(ResourceProvider):
    """Creates a resource from its inputs."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("work", props)


class Work(pulumi.dynamic.Resource, module="lab", name="Work"):
    """Replaces work that connects to an address, such as a remote command."""

    def __init__(
        self, name: str, connection: pulumi.Input[dict[str, Any]], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(_Echo(), name, {"connection": connection}, opts)


def violations(result: Result) -> list[tuple[str, str, str]]:
    """Returns level, rule and resource of every violation that the engine reported, in the order of the alphabet."""
    events = [event.policy_event for event in result.events if event.policy_event]
    return sorted(
        (event.enforcement_level, event.policy_name, str(event.resource_urn).rpartition("::")[2]) for event in events
    )


def made(stack: Stack) -> list[str]:
    """Returns the names of what the stack has made."""
    kinds = ("vsphere:index/virtualMachine", "pulumi-python:")
    return sorted(item["urn"].rpartition("::")[2] for item in stack.resources if item["type"].startswith(kinds))


def test_stops_the_preview_of_an_ungated_stack(engine: Engine, pack: Callable[..., dict[str, Any]]) -> None:
    """A violation fails the preview, which makes nothing; the same program with a gate passes preview and update."""
    name = engine.unique("web")

    def ungated() -> None:
        OrderProbe("work", customized_vm(name).moid)

    def gated() -> None:
        vm = customized_vm(name)
        gate = CustomizationGate("gate", vms=[vm])
        OrderProbe("work", gate.after(vm.moid))

    stack = engine.stack(ungated)
    stopped = stack.preview(**pack())
    assert not stopped.succeeded
    assert violations(stopped) == [
        ("mandatory", "customized-vm-requires-gate", "web"),
        ("mandatory", "guest-work-waits-for-gate", "work"),
    ]
    assert 'Write: gate = CustomizationGate("web-gate", vms=[web.moid])' in stopped.output
    assert made(stack) == []

    passed = stack.preview(gated, **pack())
    assert passed.succeeded, passed.output
    up = stack.up(**pack())
    assert up.succeeded, up.output
    assert violations(passed) + violations(up) == []
    assert made(stack) == ["gate", "web", "work"]

    stopped_again = stack.preview(ungated, **pack())
    assert violations(stopped_again) == violations(stopped)
    assert not stopped_again.succeeded


def test_a_gate_that_would_not_stop_the_stack_is_not_enough(
    engine: Engine, pack: Callable[..., dict[str, Any]]
) -> None:
    """A gate over another VM with `depends_on`, and one that only reports, violate the rules, also once both exist."""
    names = engine.unique("web"), engine.unique("db")

    def other() -> None:
        web, db = customized_vm(names[0]), customized_vm(names[1], "db")
        CustomizationGate("gate", vms=[db], opts=pulumi.ResourceOptions(depends_on=[web]))

    def reports() -> None:
        web, db = customized_vm(names[0]), customized_vm(names[1], "db")
        gate = CustomizationGate("gate", vms=[web, db], on_failure="report")
        OrderProbe("work", gate.after(web.moid))

    stack = engine.stack(other)
    stopped = stack.preview(**pack())
    assert violations(stopped) == [("mandatory", "customized-vm-requires-gate", "web")]
    assert stack.up().succeeded
    known = stack.preview(**pack())
    assert not known.succeeded
    assert violations(known) == violations(stopped)
    weak = stack.preview(reports, **pack())
    assert violations(weak) == [
        ("mandatory", "customized-vm-requires-gate", "db"),
        ("mandatory", "customized-vm-requires-gate", "web"),
        ("mandatory", "guest-work-waits-for-gate", "work"),
    ]
    assert 'has on_failure="report", so the gate opens when a VM fails' in weak.output
    allow = {"allow": ["on_failure"]}
    allowed = stack.preview(**pack(customized_vm_requires_gate=allow, guest_work_waits_for_gate={**_LAB, **allow}))
    assert allowed.succeeded, allowed.output


def test_stops_the_address_of_a_vm_whose_network_wait_is_off(
    engine: Engine, pack: Callable[..., dict[str, Any]]
) -> None:
    """The preview stops it; where the address is still unknown, the update stops after the gate, before the work."""
    name = engine.unique("web")
    engine.lab.plan(name, duration="3s")  # The VM is made before it has an address, however busy the computer is.

    def by_name() -> None:
        vm = customized_vm(name)
        gate = CustomizationGate("gate", vms=[vm])
        Work("work", {"host": gate.after(vm.name)})

    def direct(*, is_secret: bool) -> None:
        vm = customized_vm(name)
        gate = CustomizationGate("gate", vms=[vm])
        connection = {"host": vm.default_ip_address, "user": "root"}
        value = pulumi.Output.secret(connection) if is_secret else connection
        Work("work", value, pulumi.ResourceOptions(depends_on=[gate]))

    def after() -> None:
        vm = customized_vm(name)
        gate = CustomizationGate("gate", vms=[vm])
        Work("work", {"host": gate.after(vm.default_ip_address), "user": "root"})

    stack = engine.stack(partial(direct, is_secret=False))
    expected = [("mandatory", "address-comes-from-gate", "work")]
    for is_secret in (False, True):
        assert violations(stack.preview(partial(direct, is_secret=is_secret), **pack())) == expected
    fine = stack.preview(by_name, **pack())
    assert fine.succeeded, fine.output

    late = stack.up(after, **pack())
    assert not late.succeeded
    assert violations(late) == [("mandatory", "address-is-not-empty", "work")]
    assert made(stack) == ["gate", "web"]
    assert set(violations(stack.preview(**pack()))) >= set(expected)


def test_a_pack_of_ones_own_imports_the_rules(engine: Engine, tmp_path: Path) -> None:
    """The example of a pack has the rules but one, a rule of its own, and levels of its own."""
    example = policy_runner.runnable(engine.cli, tmp_path, ROOT / "examples" / "policy_pack")
    own: dict[str, Any] = {"policy_packs": [str(example)]}

    def program() -> None:
        web, _, _ = map(vm_from_specification, ("web", "shop-db", "legacy-1"))
        CustomizationGate("gate", vms=[web], timeout=1)

    stack = engine.stack(program)
    result = stack.preview(**own)
    assert violations(result) == [
        ("advisory", "vm-names-its-team", "legacy-1"),
        ("advisory", "vm-names-its-team", "web"),
        ("mandatory", "customized-vm-requires-gate", "shop-db"),
        ("mandatory", "gated-vm-does-not-wait-twice", "web"),
    ], result.output


def test_advises_without_stopping(engine: Engine, pack: Callable[..., dict[str, Any]]) -> None:
    """An advisory violation is shown and stops nothing; levels and exemptions come from the configuration."""

    def program() -> None:
        vm = customized_vm("web")
        CustomizationGate("gate", vms=[vm], timeout=60)
        OrderProbe("work", vm.moid)

    stack = engine.stack(program)
    advised = stack.preview(
        **pack(guest_work_waits_for_gate={**PROBE_IS_WORK["guest-work-waits-for-gate"], "enforcementLevel": "advisory"})
    )
    assert advised.succeeded, advised.output
    assert violations(advised) == [
        ("advisory", "gate-timeout-is-sane", "gate"),
        ("advisory", "guest-work-waits-for-gate", "work"),
    ]
    exempt = [{"name": "*", "reason": "the test of exemptions"}]
    silent = stack.preview(
        **pack(guest_work_waits_for_gate={"exempt": exempt}, gate_timeout_is_sane={"exempt": exempt})
    )
    assert violations(silent) == []


def test_the_advice_for_existing_vms_is_enough(engine: Engine, pack: Callable[..., dict[str, Any]]) -> None:
    """The engine reports `ignore_changes` to the rule: no change is asked of a VM that keeps its clone."""

    def program(opts: pulumi.ResourceOptions | None = None) -> None:
        CustomizationGate("gate", vms=[vm_from_specification("web", opts)])

    stack = engine.stack(program)
    advised = stack.preview(**pack())
    assert violations(advised) == [("advisory", "gated-vm-does-not-wait-twice", "web")], advised.output
    assert 'ignore_changes=["clone"]' in advised.output
    followed = stack.preview(lambda: program(pulumi.ResourceOptions(ignore_changes=["clone"])), **pack())
    assert followed.succeeded, followed.output
    assert violations(followed) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"exempt": [{"name": "web"}]}, "reason is required", id="against the schema"),
        pytest.param({"exemptions": []}, "got exemptions", id="beside the schema"),
    ],
)
def test_refuses_an_invalid_configuration(
    engine: Engine,
    pack: Callable[..., dict[str, Any]],
    config: dict[str, Any],
    message: str,
) -> None:
    """A configuration that would not do what it looks like fails the preview and says what is wrong."""
    stack = engine.stack(lambda: pulumi.export("x", 1))
    result = stack.preview(**pack(customized_vm_requires_gate=config))
    assert not result.succeeded
    assert message in result.output + result.errors


def test_passes_the_example(engine: Engine, pack: Callable[..., dict[str, Any]]) -> None:
    """The example of this repository keeps every rule, the advisory ones included."""
    workspace = automation.LocalWorkspace(work_dir=str(ROOT), pulumi_command=engine._command)
    declared: Any = workspace.project_settings().config
    config = {f"tests:{key}": str(value["default"]) for key, value in declared.items()}

    def program() -> None:
        runpy.run_path(str(ROOT / "__main__.py"))

    result = engine.stack(program, config=config).preview(**pack())
    assert result.succeeded, result.output
    assert violations(result) == []
    kinds = {event.resource_pre_event.metadata.type for event in result.events if event.resource_pre_event}
    assert kinds >= {GATE, VSPHERE_VM}
