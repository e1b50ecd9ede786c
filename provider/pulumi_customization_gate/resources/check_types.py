"""The types of a gate's `checks`, for programs that use a type checker. A map of the same form is accepted, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from pulumi import Input  # noqa: TC002 -- the same

PerVm = str | Mapping[str, "Input[str]"]
"""One value for all VMs, or a map of values by the keys of `vms`."""


class _AnyVms(TypedDict, total=False):
    vms: Input[Sequence[Input[str]]]
    """The VMs that the check is about, by their keys; all of them by default."""


class TcpPortCheck(_AnyVms):
    """A port accepts a connection from the computer that runs Pulumi."""

    kind: Literal["tcp_port"]
    port: Input[int]
    """From 1 to 65535."""


class _AddressOptions(_AnyVms, total=False):
    family: Input[Literal[4, 6]]
    """4 for IPv4, 6 for IPv6; either by default."""
    ignore: Input[Sequence[Input[str]]]
    """Networks in CIDR notation whose addresses do not count, for example that of the template."""


class AddressCheck(_AddressOptions):
    """The guest has a usable address: not a link-local, loopback or multicast address."""

    kind: Literal["address"]


class _GuestHeartbeatOptions(_AnyVms, total=False):
    color: Input[Literal["green", "yellow", "red", "gray"]]
    """The status of the heartbeat of VMware Tools; "green" by default."""


class GuestHeartbeatCheck(_GuestHeartbeatOptions):
    """The heartbeat of VMware Tools has a status."""

    kind: Literal["guest_heartbeat"]


class _GuestInfoOptions(_AnyVms, total=False):
    value: Input[PerVm]
    """A regular expression in RE2 syntax that matches the whole value; any value by default."""


class GuestInfoCheck(_GuestInfoOptions):
    """The guest has set a key."""

    kind: Literal["guest_info"]
    key: Input[str]
    """A key that begins with `guestinfo.`"""


class NetworkAdaptersConnectedCheck(_AnyVms):
    """Every network adapter is connected."""

    kind: Literal["network_adapters_connected"]


class HostNameCheck(_AnyVms):
    """The guest reports a host name."""

    kind: Literal["host_name"]
    value: Input[PerVm]


class IpInNetworkCheck(_AnyVms):
    """An address of the guest is in a network."""

    kind: Literal["ip_in_network"]
    network: Input[PerVm]
    """A network in CIDR notation."""


class _CommandOptions(_AnyVms, total=False):
    exit_code: Input[int]
    """The exit code with which the script ends; 0 by default."""


class CommandCheck(_CommandOptions):
    """A script in the guest ends with an exit code. It is run until it does, so it must be safe to repeat."""

    kind: Literal["command"]
    script: Input[str]
    """The script's text: bash on Linux, PowerShell on Windows."""


class CloudInitCheck(_AnyVms):
    """The status of cloud-init in the guest is "done"."""

    kind: Literal["cloud_init"]


Check = (
    TcpPortCheck
    | AddressCheck
    | GuestHeartbeatCheck
    | GuestInfoCheck
    | NetworkAdaptersConnectedCheck
    | HostNameCheck
    | IpInNetworkCheck
    | CommandCheck
    | CloudInitCheck
)
"""One of a gate's checks."""
