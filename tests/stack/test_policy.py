"""The policy pack on the real engine: what it stops before anything is made, and what it lets pass."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_vsphere as vsphere
import pytest
from pulumi import automation

from lab import policy_runner
from lab.order_probe import OrderProbe
from lab.paths import ROOT
from pulumi_customization_gate import CustomizationGate
from pulumi_customization_gate.policies.options import GATE, VSPHERE_VM

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.engine import Engine, Result, Stack

WITNESS_IS_WORK = {"guest-work-waits-for-gate": {"workTypes": ["pulumi-python:dynamic/lab:*"]}}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables with which a CLI without language hosts, or with them, runs a pack in this environment."""
    policy_runner.install(tmp_path)
    return {"PATH": os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])}


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Gives the options of an operation that runs the pack with some configuration of its rules."""

    def options(**rules: Any) -> dict[str, Any]:
        config = tmp_path / "policy.json"
        merged = {**WITNESS_IS_WORK, **{name.replace("_", "-"): value for name, value in rules.items()}}
        config.write_text(json.dumps(merged), encoding="utf-8")
        return {"policy_packs": [str(policy_runner.PACK)], "policy_pack_configs": [str(config)]}

    return options


def machine(name: str) -> vsphere.VirtualMachine:
    """Returns a customized clone of the lab's template."""
    datacenter = vsphere.get_datacenter(name="DC0")
    template = vsphere.get_virtual_machine(name="linux-template", datacenter_id=datacenter.id)
    return vsphere.VirtualMachine(
        "web",
        name=name,
        resource_pool_id=vsphere.get_compute_cluster(name="DC0_C0", datacenter_id=datacenter.id).resource_pool_id,
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


def test_stops_the_preview_of_an_ungated_stack(
    engine: Engine, environment: dict[str, str], pack: Callable[..., dict[str, Any]]
) -> None:
    """A violation fails the preview, which makes nothing; the same program with a gate passes preview and update."""
    name = engine.unique("web")

    def ungated() -> None:
        OrderProbe("work", machine(name).moid)

    def gated() -> None:
        vm = machine(name)
        gate = CustomizationGate("gate", vms=[vm])
        OrderProbe("work", gate.after(vm.moid))

    stack = engine.stack(ungated, environment=environment)
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


def test_advises_without_stopping(
    engine: Engine, environment: dict[str, str], pack: Callable[..., dict[str, Any]]
) -> None:
    """An advisory violation is shown and stops nothing; levels and exemptions come from the configuration."""

    def program() -> None:
        vm = machine("web")
        CustomizationGate("gate", vms=[vm], timeout=60)
        OrderProbe("work", vm.moid)

    stack = engine.stack(program, environment=environment)
    advised = stack.preview(
        **pack(
            guest_work_waits_for_gate={**WITNESS_IS_WORK["guest-work-waits-for-gate"], "enforcementLevel": "advisory"}
        )
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


def test_the_advice_for_machines_that_exist_is_enough(
    engine: Engine, environment: dict[str, str], pack: Callable[..., dict[str, Any]]
) -> None:
    """The engine tells the rule of `ignore_changes`: a machine that keeps its clone is not asked to change it."""
    specification = vsphere.VirtualMachineCloneCustomizationSpecArgs(id="linux")
    clone = vsphere.VirtualMachineCloneArgs(template_uuid="template", customization_spec=specification)

    def program(opts: pulumi.ResourceOptions | None = None) -> None:
        vm = vsphere.VirtualMachine(
            "web", resource_pool_id="pool", clone=clone, wait_for_guest_net_timeout=0, opts=opts
        )
        CustomizationGate("gate", vms=[vm])

    stack = engine.stack(program, environment=environment)
    advised = stack.preview(**pack())
    assert violations(advised) == [("advisory", "gated-vm-does-not-wait-twice", "web")], advised.output
    assert 'ignore_changes=["clone"]' in advised.output
    followed = stack.preview(lambda: program(pulumi.ResourceOptions(ignore_changes=["clone"])), **pack())
    assert followed.succeeded, followed.output
    assert violations(followed) == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        pytest.param({"exempt": [{"name": "web"}]}, "reason is required", id="against the schema"),
        pytest.param({"exemptions": []}, "has no key exemptions", id="beside the schema"),
    ],
)
def test_refuses_a_bad_configuration(
    engine: Engine,
    environment: dict[str, str],
    pack: Callable[..., dict[str, Any]],
    config: dict[str, Any],
    said: str,
) -> None:
    """A configuration that would not do what it looks like fails the preview and says what is wrong."""
    stack = engine.stack(lambda: pulumi.export("x", 1), environment=environment)
    result = stack.preview(**pack(customized_vm_requires_gate=config))
    assert not result.succeeded
    assert said in result.output + result.errors


def test_passes_the_example(engine: Engine, environment: dict[str, str], pack: Callable[..., dict[str, Any]]) -> None:
    """The example of this repository keeps every rule, the advisory ones included."""
    workspace = automation.LocalWorkspace(work_dir=str(ROOT), pulumi_command=engine._command)
    declared: Any = workspace.project_settings().config
    config = {f"tests:{key}": str(value["default"]) for key, value in declared.items()}

    def program() -> None:
        runpy.run_path(str(ROOT / "__main__.py"))

    result = engine.stack(program, config=config, environment=environment).preview(**pack())
    assert result.succeeded, result.output
    assert violations(result) == []
    kinds = {event.resource_pre_event.metadata.type for event in result.events if event.resource_pre_event}
    assert kinds >= {GATE, VSPHERE_VM}
