"""The types of a gate's `checks`, for programs that are checked by a type checker. A map of the same form does too."""

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


class _GuestHeartbeatOptions(_AnyVms, total=False):
    color: Input[Literal["green", "yellow", "red", "gray"]]
    """The status of the heartbeat of VMware Tools; "green" by default."""


class GuestHeartbeatCheck(_GuestHeartbeatOptions):
    """The heartbeat of VMware Tools has a status."""

    kind: Literal["guest_heartbeat"]


class _GuestInfoOptions(_AnyVms, total=False):
    value: Input[PerVm]
    """A regular expression that the whole value matches; any value by default."""


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


Check = (
    TcpPortCheck
    | GuestHeartbeatCheck
    | GuestInfoCheck
    | NetworkAdaptersConnectedCheck
    | HostNameCheck
    | IpInNetworkCheck
)
"""One of a gate's checks."""
