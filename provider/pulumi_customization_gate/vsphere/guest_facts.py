"""What vCenter reports of guests, read in one call: any text may be in it, because the guest chooses most of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.properties import retrieve_readable, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.vsphere.session import Session


@dataclass(frozen=True)
class GuestFacts:
    """What was read of one VM at one moment."""

    at: datetime
    """The server's time, timezone-aware."""
    powered_on: bool = False
    tools_running: bool = False
    guest_running: bool = False
    guest_operations_ready: bool = False
    heartbeat: str = ""
    host_name: str = ""
    addresses: tuple[str, ...] = ()
    network_adapters: Mapping[str, bool] = field(default_factory=dict)
    """Whether each network adapter is connected, by its label."""
    guest_info: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """Why nothing could be read of it."""

    def no_guest_operations(self) -> str:
        """Returns why guest operations are not ready, or nothing if they are."""
        if not self.powered_on:
            return "the VM is powered off"
        if not self.tools_running:
            return "VMware Tools are not running"
        if not self.guest_running or not self.guest_operations_ready:
            return "VMware Tools are running, but guest operations are not ready"
        return ""


def read_facts(session: Session, moids: Sequence[str], paths: Sequence[str]) -> dict[str, GuestFacts]:
    """Reads properties of VMs in one call; of a guest with a text that cannot be parsed the facts are that error.

    Args:
        session: The vCenter's session.
        moids: The VMs' managed object IDs; none make no call.
        paths: The properties.
    """
    if not moids:
        return {}
    at = session.current_time()
    vms = [vim.VirtualMachine(moid, session.stub) for moid in moids]
    contents, unreadable = retrieve_readable(session, vms, {vim.VirtualMachine: paths})
    faults = {
        moid: GuestFacts(at.astimezone(timezone.utc), fault=f"the guest could not be read: {error}")
        for moid, error in unreadable.items()
    }
    return {moid_of(content.obj): facts_of(content, at) for content in contents} | faults


def facts_of(content: Any, at: datetime) -> GuestFacts:
    """Returns what the server reported of one VM; a property that it left out counts as false."""
    values = values_of(content)
    network_adapters = [device for device in values.get("config.hardware.device") or () if _is_network_adapter(device)]
    primary = values.get("guest.ipAddress")
    addresses = [ip for adapter in values.get("guest.net") or () for ip in adapter.ipAddress or ()]
    return GuestFacts(
        at=at.astimezone(timezone.utc),
        powered_on=values.get("runtime.powerState") == "poweredOn",
        tools_running=values.get("guest.toolsRunningStatus") == "guestToolsRunning",
        guest_running=values.get("guest.guestState") == "running",
        guest_operations_ready=bool(values.get("guest.guestOperationsReady")),
        heartbeat=str(values.get("guestHeartbeatStatus") or ""),
        host_name=str(values.get("guest.hostName") or ""),
        addresses=tuple(dict.fromkeys([primary, *addresses] if primary else addresses)),
        network_adapters={
            _label(adapter): bool(adapter.connectable and adapter.connectable.connected) for adapter in network_adapters
        },
        guest_info={
            option.key: str(option.value)
            for option in values.get("config.extraConfig") or ()
            if str(option.key).startswith("guestinfo.")
        },
    )


def _is_network_adapter(device: Any) -> bool:
    return isinstance(device, vim.vm.device.VirtualEthernetCard)


def _label(adapter: Any) -> str:
    with contextlib.suppress(AttributeError):
        return str(adapter.deviceInfo.label)
    return f"network adapter {adapter.key}"
