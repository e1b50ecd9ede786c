"""What can be asked of a customized VM beside its customization: conditions, judged on what was read of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.addresses import parse_address, usable_addresses
from pulumi_customization_gate.core.patterns import LONGEST_TEXT, matches_whole
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from pulumi_customization_gate.vsphere.guest_facts import GuestFacts
    from pulumi_customization_gate.vsphere.ports import Endpoint

GUEST_OPERATIONS_PATHS = (
    "runtime.powerState",
    "guest.guestOperationsReady",
    "guest.toolsRunningStatus",
    "guest.guestState",
)
PATHS: Mapping[str, tuple[str, ...]] = {
    "tcp_port": ("guest.net", "guest.ipAddress"),
    "address": ("guest.net", "guest.ipAddress"),
    "guest_heartbeat": ("guestHeartbeatStatus",),
    "guest_info": ("config.extraConfig",),
    "network_adapters_connected": ("config.hardware.device",),
    "host_name": ("guest.hostName",),
    "ip_in_network": ("guest.net", "guest.ipAddress"),
    "command": (),
    "cloud_init": (),
}
"""The properties that each kind of check needs."""
IN_GUEST = frozenset({"command", "cloud_init"})
"""The kinds that are made in the guest, by guest operations."""
MOST_ENDPOINTS = 8
"""Addresses of one guest that are tried, and shown: a guest may report any number."""


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
        """Returns why the condition does not hold, or nothing if it does; not for a kind of IN_GUEST.

        Args:
            key: The VM's key.
            facts: What was read of it.
            answers: Returns why a port of an address is not reachable, or nothing if it is.
        """
        reason = _REASONS[self.kind](self.options, key, facts, answers)
        return f"{self.kind}: {reason}" if reason else ""

    def endpoints(self, facts: GuestFacts) -> list[Endpoint]:
        """Returns the ports that judging needs an answer of."""
        return list(_endpoints(self.options, facts)) if self.kind == "tcp_port" else []


Answers = Callable[[str, int], str]


def _tcp_port(options: Mapping[str, Any], _key: str, facts: GuestFacts, answers: Answers) -> str:
    tried = list(_endpoints(options, facts))
    if not tried:
        return f"expected an IP address, got {_shown_addresses(facts)}"
    reasons = []
    for address, port in tried:
        reason = answers(address, port)
        if not reason:
            return ""
        reasons.append(f"{address} {reason}")
    return f"port {int(options['port'])} is not reachable: {', '.join(reasons)}"


def _endpoints(options: Mapping[str, Any], facts: GuestFacts) -> Iterator[Endpoint]:
    """Yields where a port is tried: at IP addresses only, because a name could lead to another host than the guest."""
    found = dict.fromkeys(address for address in map(parse_address, facts.addresses) if address is not None)
    # The zone of a link-local IPv6 address is the guest's own: from here the address leads nowhere.
    reachable = [address for address in found if address.version == 4 or not address.is_link_local]  # noqa: PLR2004
    for address in reachable[:MOST_ENDPOINTS]:
        yield str(address), int(options["port"])


def _shown_addresses(facts: GuestFacts) -> str:
    shown = [sanitize(address, 50) for address in facts.addresses[:MOST_ENDPOINTS]]
    more = len(facts.addresses) - len(shown)
    return (", ".join(shown) + (f" and {more} more" if more else "")) or "none"


def _address(options: Mapping[str, Any], _key: str, facts: GuestFacts, _answers: Answers) -> str:
    family = options.get("family")
    ignored = [ipaddress.ip_network(network, strict=False) for network in options.get("ignore") or ()]
    if usable_addresses(facts.addresses, ignored, None if family is None else int(family)):
        return ""
    wanted = "a usable address" if family is None else f"a usable IPv{int(family)} address"
    outside = f" outside {', '.join(map(str, ignored))}" if ignored else ""
    return f"expected {wanted}{outside}, got {_shown_addresses(facts)}"


def _guest_heartbeat(options: Mapping[str, Any], _key: str, facts: GuestFacts, _answers: Answers) -> str:
    wanted = options.get("color") or "green"
    return "" if facts.heartbeat == wanted else f"expected {wanted}, got {sanitize(facts.heartbeat) or 'unknown'}"


def _guest_info(options: Mapping[str, Any], key: str, facts: GuestFacts, _answers: Answers) -> str:
    name, pattern = options["key"], _of(options.get("value"), key)
    if name not in facts.guest_info:
        return f"{name} is not set"
    value = facts.guest_info[name]
    if pattern is None:
        return ""
    if len(value) > LONGEST_TEXT:
        return f"expected {name} to have at most {LONGEST_TEXT} characters, got {len(value)}"
    if matches_whole(pattern, value):
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
    if any(address in network for address in map(parse_address, facts.addresses) if address is not None):
        return ""
    return f"expected an address in {wanted}, got {_shown_addresses(facts)}"


def _of(value: Any, key: str) -> Any:
    """Returns what counts for a VM: a map has it by the VM's key."""
    return value.get(key) if isinstance(value, Mapping) else value


_REASONS: Mapping[str, Callable[[Mapping[str, Any], str, GuestFacts, Answers], str]] = {
    "tcp_port": _tcp_port,
    "address": _address,
    "guest_heartbeat": _guest_heartbeat,
    "guest_info": _guest_info,
    "network_adapters_connected": _network_adapters_connected,
    "host_name": _host_name,
    "ip_in_network": _ip_in_network,
}


def checks_of(given: Sequence[Mapping[str, Any]]) -> tuple[Check, ...]:
    """Returns the checks of maps without problems."""
    return tuple(map(Check.of, given))
