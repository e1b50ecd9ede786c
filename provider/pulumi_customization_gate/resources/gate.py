"""The resource CustomizationGate for Pulumi programs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pulumi

from pulumi_customization_gate.core.addresses import first_usable
from pulumi_customization_gate.core.errors import ConfigurationError, InvalidReferenceError
from pulumi_customization_gate.lifecycle.gate import OUTPUTS, PROPERTIES
from pulumi_customization_gate.lifecycle.inputs import VM_URNS, VM_UUIDS, shown, texts_in
from pulumi_customization_gate.lifecycle.value_types import nearest
from pulumi_customization_gate.platforms import PLATFORMS, VSPHERE, Platform
from pulumi_customization_gate.resources.gate_provider import CustomizationGateProvider
from pulumi_customization_gate.resources.movable import Host, MovableResource

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from pulumi_customization_gate.resources.check_types import Check

T = TypeVar("T")

Reference = "Input[str] | pulumi.Resource"
"""A managed object ID, an instance or BIOS UUID, an inventory path, a Cloud Director URN or href, or a resource."""


class CustomizationGate(MovableResource, module="customization", name="CustomizationGate"):
    """Blocks until the guest customization of VMs has succeeded, and fails with the reason if it has not.

    Resources that must wait use the values that `after` returns. One gate for many VMs is one wait. The gate writes
    nothing to the server, and can be run again at any time.

    Args:
        resource_name: The gate's name in the stack.
        vms: The VMs: a list of references, or a map of your own keys to them. A reference is a managed object ID
            (`vm.moid`), an instance or BIOS UUID, an inventory path, on Cloud Director a URN or href, or a resource
            with `moid`.
        platform: "vsphere" (default) or "cloud_director".
        config_namespace: The namespace of stack config that holds server and credentials; default "vsphere" or "vcd".
        timeout: The time for the whole wait, in seconds or as a duration such as "30m"; default `custom_timeouts`,
            else 1800.
        start_timeout: The time in which customization must have started, from the later of the start of the wait and
            the VM's last power-on; default the smaller of 600 and `timeout`, on Cloud Director `timeout`.
        expect: "required" (default): a VM with no trace of a customization fails early. "optional": it passes as
            NotCustomized.
        ready_when: "customized" (default), or "guest_operations": after success, guest operations must stay ready
            for `settle`.
        settle: The time for which guest operations must stay ready; default 30.
        checks: Conditions that must hold after success.
        accept: A map from your keys to reasons: a VM whose customization failed and that was repaired by hand counts as
            ready. A reason covers the failure that the gate has reported by then, and no later one.
        on_failure: "fail" (default), or "report": the gate opens, and `statuses` reports what failed.
        guest_logs: Whether a failure shows the last 40 lines of the guest's customization log, if config or
            environment has guest credentials; default true.
        triggers: A map or a list of anything; a change judges all VMs again.
        host: "dynamic" (default): this package runs the resource, and nothing else is needed. "plugin": the native
            provider runs it, and takes the connection from its own config or arguments. A resource can move from one
            to the other without a change.
        opts: The resource's options.

    Raises:
        TypeError: If a resource in `vms` has no managed object ID, or if the host cannot take an argument.
    """

    _properties = PROPERTIES

    ready: Output[bool]
    """Whether every VM is ready."""
    statuses: Output[dict[str, str]]
    """The status of each VM, by your key; for a list by the VM's name, or its ID where two share a name."""
    addresses: Output[dict[str, str]]
    """The first usable IP address of each VM that reports one, by the same keys."""
    results: Output[dict[str, Any]]
    """The result of each VM, by your key: name, moid, instance_uuid, status, evidence, powered_on_at, started_at,
    completed_at, ready_at (ISO 8601, UTC, the server's clock), customization_seconds, failure {kind, event, reason,
    message, log_location, log}, accepted, host_name, ip_addresses."""
    wait_seconds: Output[float]
    """The length of the last wait in seconds."""
    opened_at: Output[str]
    """When the gate opened, by the server's clock (ISO 8601, UTC)."""
    server: Output[dict[str, str]]
    """The server on which the VMs were judged: its address, and its id, which is the instance UUID of a vCenter, or the
    address of a Cloud Director."""

    def __init__(
        self,
        resource_name: str,
        vms: Input[Sequence[Input[str] | pulumi.Resource] | Mapping[str, Input[str] | pulumi.Resource]],
        *,
        platform: Input[Literal["vsphere", "cloud_director"]] | None = None,
        config_namespace: Input[str] | None = None,
        timeout: Input[float | str] | None = None,
        start_timeout: Input[float | str] | None = None,
        expect: Input[Literal["required", "optional"]] | None = None,
        ready_when: Input[Literal["customized", "guest_operations"]] | None = None,
        settle: Input[float | str] | None = None,
        checks: Input[Sequence[Input[Check | Mapping[str, Any]]]] | None = None,
        accept: Input[Mapping[str, Input[str]]] | None = None,
        on_failure: Input[Literal["fail", "report"]] | None = None,
        guest_logs: Input[bool] | None = None,
        triggers: Input[Mapping[str, Any] | Sequence[Any]] | None = None,
        host: Host = "dynamic",
        opts: ResourceOptions | None = None,
    ) -> None:
        references = _references(vms, platform)
        inputs = {
            "vms": references,
            "platform": platform,
            "config_namespace": config_namespace,
            "timeout": timeout,
            "start_timeout": start_timeout,
            "expect": expect,
            "ready_when": ready_when,
            "settle": settle,
            "checks": checks,
            "accept": accept,
            "on_failure": on_failure,
            "guest_logs": guest_logs,
            "triggers": triggers,
        }
        uuids, urns = _known(vms, _platform(platform).uuid_attribute), _known(vms, "urn")
        sent = {**inputs, VM_UUIDS: uuids, VM_URNS: urns, **dict.fromkeys(OUTPUTS)}
        super().__init__(CustomizationGateProvider(), host, resource_name, sent, opts)
        self._references = pulumi.Output.from_input(references)

    def after(self, value: Input[T]) -> Output[T]:
        """Returns the value once the gate is open; a resource that uses it waits for the gate.

        A preview knows it if it knows the value itself. When the gate is updated because of one VM, the guest work of
        the other VMs does not change.

        Args:
            value: Any value, for example `vm.moid`.

        Raises:
            ConfigurationError: In the output, if the value names a VM that is among the gate's `vms` and that the gate
                has not judged. `pulumi up --target` of the work alone leaves the gate as it was.
        """

        async def once_open(both: Sequence[Any]) -> T:
            # In a preview of an update the gate's outputs are unknown, and this output must not be.
            references, results = await self._references.future(), await self.results.future()
            if (vm := _not_judged(both[0], references, results)) is not None:
                raise ConfigurationError(
                    f"{vm} is in the vms of this gate, and the gate has not judged it: run `pulumi up` without "
                    f"`--target`, or with the gate as a target too: --target '{await self.urn.future()}'"
                )
            opened: T = both[0]
            return opened

        return pulumi.Output.all(value, self.id).apply(once_open)

    def address(self, key: str) -> Output[str]:
        """Returns the first usable IP address of a VM: it is not link-local, loopback or multicast.

        Args:
            key: The VM's key in `results`: your own, or for a list the VM's name.

        Raises:
            ConfigurationError: In the output, if there is no such VM, or if it reports no such address.
        """
        return self.results.apply(lambda results: _address(results, key))


def _not_judged(value: Any, references: Any, results: Any) -> str | None:
    """Returns the first text in a value that names a VM of the gate without a result, as far as both are known."""
    if references is None or results is None:
        return None
    given = set(filter(None, map(_identifier, texts_in(references))))
    judged = {_identifier(str(result["moid"])) for result in results.values()}
    return next((text for text in texts_in(value) if _identifier(text) in given - judged), None)


def _identifier(text: str) -> str | None:
    """Returns the identifier that a reference spells, None where only the server knows it."""
    for platform in PLATFORMS.values():
        with contextlib.suppress(InvalidReferenceError):
            identifier: str | None = platform.parse_reference(text, None).vm_id
            return identifier
    return None


def _address(results: Mapping[str, Mapping[str, Any]], key: str) -> str:
    if key not in results:
        hint = nearest(key, results)
        raise ConfigurationError(
            f"key: expected a key of the gate's results, got {shown(key)}" + (f"; {hint}" if hint else "")
        )
    reported = results[key].get("ip_addresses") or ()
    if address := first_usable(reported):
        return address
    raise ConfigurationError(
        f"{shown(key)} has no usable IP address: VMware Tools reported {shown(list(reported) or None)}. "
        'The check {"kind": "address"} lets the gate wait for one'
    )


def _known(vms: Any, attribute: str) -> Any:
    """Returns an attribute of each VM that is a resource, in the form of `vms`; None where none has it."""

    def value_of(vm: Any) -> Any:
        return getattr(vm, attribute, None) if attribute and isinstance(vm, pulumi.Resource) else None

    if isinstance(vms, Mapping):
        values: Any = {key: value for key, vm in vms.items() if (value := value_of(vm)) is not None}
        return values or None
    if isinstance(vms, Sequence) and not isinstance(vms, str):
        values = [value_of(vm) for vm in vms]
        return values if any(value is not None for value in values) else None
    return None


def _platform(platform: object) -> Platform:
    return PLATFORMS.get(platform, VSPHERE) if isinstance(platform, str) else VSPHERE


def _references(vms: Any, platform: object) -> Any:
    """Replaces each resource by its reference."""
    if isinstance(vms, Mapping):
        return {key: _reference(vm, platform) for key, vm in vms.items()}
    if isinstance(vms, Sequence) and not isinstance(vms, str):
        return [_reference(vm, platform) for vm in vms]
    if isinstance(vms, pulumi.Resource):
        raise TypeError(f"vms: expected a list or a map of VMs, for example [web], got one {type(vms).__name__}")
    return vms


def _reference(vm: Any, platform: object) -> Any:
    if not isinstance(vm, pulumi.Resource):
        return vm
    output = getattr(vm, _platform(platform).resource_attribute, None)
    if output is None:
        raise TypeError(
            "vms: expected a vsphere.VirtualMachine or another resource with a moid, or the VM's reference as a "
            f"string, got {type(vm).__name__}, which has no moid"
        )
    return output
