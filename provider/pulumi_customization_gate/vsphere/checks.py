"""What can be asked of a customized VM beside its customization: conditions, judged on what was read of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 -- dataclass fields are read at run time
from typing import Any

from pulumi_customization_gate.core.text import sanitize

GUEST_OPERATIONS_PATHS = (
    "runtime.powerState",
    "guest.guestOperationsReady",
    "guest.toolsRunningStatus",
    "guest.guestState",
)
PATHS: Mapping[str, tuple[str, ...]] = {
    "tcp_port": ("guest.net", "guest.ipAddress"),
    "guest_heartbeat": ("guestHeartbeatStatus",),
    "guest_info": ("config.extraConfig",),
    "network_adapters_connected": ("config.hardware.device",),
    "host_name": ("guest.hostName",),
    "ip_in_network": ("guest.net", "guest.ipAddress"),
}
"""The properties that each kind of check needs."""


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

    def no_guest_operations(self) -> str:
        """Returns why guest operations are not ready, or nothing if they are."""
        if not self.powered_on:
            return "the VM is powered off"
        if not self.tools_running:
            return "VMware Tools are not running"
        if not self.guest_running or not self.guest_operations_ready:
            return "VMware Tools are running, but guest operations are not ready"
        return ""


@dataclass(frozen=True)
class Check:
    """One condition, as the user wrote it."""

    kind: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Check:
        """Returns the check of a map without problems."""
        return cls(str(given["kind"]), {name: value for name, value in given.items() if name != "kind"})

    def __str__(self) -> str:
        return self.kind

    def is_for(self, key: str) -> bool:
        """Whether the check is about the VM of this key."""
        only = self.options.get("vms")
        return only is None or key in only

    def unmet(self, key: str, facts: GuestFacts, answers: Callable[[str, int], str]) -> str:
        """Returns why the condition does not hold, or nothing if it does.

        Args:
            key: The VM's key.
            facts: What was read of it.
            answers: Returns why a port of an address is not reachable, or nothing if it is.
        """
        reason = _REASONS[self.kind](self.options, key, facts, answers)
        return f"{self.kind}: {reason}" if reason else ""


Answers = Callable[[str, int], str]


def _tcp_port(options: Mapping[str, Any], _key: str, facts: GuestFacts, answers: Answers) -> str:
    port = int(options["port"])
    if not facts.addresses:
        return "the guest reports no address"
    reasons = []
    for address in facts.addresses:
        reason = answers(address, port)
        if not reason:
            return ""
        reasons.append(f"{sanitize(address)} {reason}")
    return f"port {port} is not reachable: {', '.join(reasons)}"


def _guest_heartbeat(options: Mapping[str, Any], _key: str, facts: GuestFacts, _answers: Answers) -> str:
    wanted = options.get("color") or "green"
    return "" if facts.heartbeat == wanted else f"expected {wanted}, got {sanitize(facts.heartbeat) or 'unknown'}"


def _guest_info(options: Mapping[str, Any], key: str, facts: GuestFacts, _answers: Answers) -> str:
    name, pattern = options["key"], _of(options.get("value"), key)
    if name not in facts.guest_info:
        return f"{name} is not set"
    value = facts.guest_info[name]
    if pattern is None or re.fullmatch(pattern, value):
        return ""
    return f"expected {name} to match {pattern!r}, got {sanitize(value, 100)!r}"


def _network_adapters_connected(_options: Mapping[str, Any], _key: str, facts: GuestFacts, _answers: Answers) -> str:
    loose = [sanitize(label) for label, connected in facts.network_adapters.items() if not connected]
    return f"{' and '.join(loose)} {'is' if len(loose) == 1 else 'are'} not connected" if loose else ""


def _host_name(options: Mapping[str, Any], key: str, facts: GuestFacts, _answers: Answers) -> str:
    wanted = _of(options["value"], key)
    if wanted is None:
        return ""
    name = facts.host_name.lower().rstrip(".")
    if wanted.lower() in {name, name.partition(".")[0]}:
        return ""
    return f"expected {wanted!r}, got {sanitize(facts.host_name)!r}"


def _ip_in_network(options: Mapping[str, Any], key: str, facts: GuestFacts, _answers: Answers) -> str:
    wanted = _of(options["network"], key)
    if wanted is None:
        return ""
    network = ipaddress.ip_network(wanted, strict=False)
    if any(ipaddress.ip_address(address.partition("%")[0]) in network for address in facts.addresses):
        return ""
    shown = ", ".join(map(sanitize, facts.addresses))
    return f"expected an address in {wanted}, got {shown or 'none'}"


def _of(value: Any, key: str) -> Any:
    """Returns what counts for a VM: a map has it by the VM's key."""
    return value.get(key) if isinstance(value, Mapping) else value


_REASONS: Mapping[str, Callable[[Mapping[str, Any], str, GuestFacts, Answers], str]] = {
    "tcp_port": _tcp_port,
    "guest_heartbeat": _guest_heartbeat,
    "guest_info": _guest_info,
    "network_adapters_connected": _network_adapters_connected,
    "host_name": _host_name,
    "ip_in_network": _ip_in_network,
}


def checks_of(given: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Returns the checks of maps without problems."""
    return tuple(map(Check.of, given))
