"""Stacks as the SDK hands them to a rule, and what a rule reports about them."""

from __future__ import annotations

from typing import Any

from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

UNKNOWN = UNKNOWN_STRING_VALUE
VM = "vsphere:index/virtualMachine:VirtualMachine"
GATE = "pulumi-python:dynamic/customization:CustomizationGate"
SCRIPT = "pulumi-python:dynamic/customization:GuestScript"
FILE = "pulumi-python:dynamic/customization:GuestFile"
COMMAND = "command:remote:Command"
LINUX = {"linuxOptions": {"hostName": "web", "domain": "lab"}, "timeout": 0}


def provider(kind: str, name: str = "", **props: Any) -> PolicyProviderResource:
    """Returns a provider: `name` begins with "default" for the engine's own."""
    name = name or kind
    urn = f"urn:pulumi:dev::shop::pulumi:providers:{kind}::{name}"
    return PolicyProviderResource(f"pulumi:providers:{kind}", unknown_checking_proxy(props), urn, name)


def resource(
    kind: str,
    name: str,
    props: dict[str, Any] | None = None,
    *,
    after: list[PolicyResource] | None = None,
    by: dict[str, list[PolicyResource]] | None = None,
    parent: PolicyResource | None = None,
    provided_by: PolicyProviderResource | None = None,
) -> PolicyResource:
    """Returns a resource as the SDK hands it to a rule: `after` by an option, `by` through the values of properties."""
    options = PolicyResourceOptions(
        protect=False,
        ignore_changes=[],
        delete_before_replace=None,
        aliases=[],
        custom_timeouts=PolicyCustomTimeouts(0, 0, 0),
        additional_secret_outputs=[],
        parent=parent and parent.urn,
    )
    dependencies = [*(after or []), *(other for others in (by or {}).values() for other in others)]
    custom = provided_by or (None if kind.startswith(("shop:", "pulumi:", "customization-gate:")) else provider("any"))
    return PolicyResource(
        kind,
        unknown_checking_proxy(props or {}),
        f"urn:pulumi:dev::shop::{kind}::{name}",
        name,
        options,
        custom,
        parent,
        dependencies,
        by or {},
    )


def customized_vm(name: str = "web", customize: Any = LINUX, **props: Any) -> PolicyResource:
    """Returns a VM with a customization whose outputs are unknown and whose waits of pulumi-vsphere are off."""
    options = {key: props.pop(key) for key in ("parent", "after", "by", "provided_by") if key in props}
    clone = {"templateUuid": "t"} | ({} if customize is None else {"customize": customize})
    known = {"name": name, "moid": UNKNOWN, "uuid": UNKNOWN, "waitForGuestNetTimeout": 0, "clone": clone}
    return resource(VM, name, known | props, **options)


def gate(
    *vms: PolicyResource, name: str = "gate", provided_by: PolicyProviderResource | None = None, **props: Any
) -> PolicyResource:
    """Returns a gate whose `vms` take an unknown output of each VM."""
    known = {"vms": [UNKNOWN] * len(vms)} | props
    return resource(GATE, name, known, by={"vms": list(vms)}, provided_by=provided_by)


def judge(policy: StackValidationPolicy, *resources: PolicyResource, **config: Any) -> list[tuple[str, str]]:
    """Returns name and message of every violation. The order of resources, arbitrary in the engine, is reversed."""
    found: list[tuple[str, str]] = []
    policy.validate(
        StackValidationArgs(list(reversed(resources)), config),
        lambda message, urn=None: found.append((str(urn).rpartition("::")[2], message)),
    )
    return found


def violators(policy: StackValidationPolicy, *resources: PolicyResource, **config: Any) -> list[str]:
    """Returns the names of the resources that violate a rule."""
    return [name for name, _ in judge(policy, *resources, **config)]
