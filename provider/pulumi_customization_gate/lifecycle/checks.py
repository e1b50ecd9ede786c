"""The kinds of a gate's `checks`, described once, and the rules about the VMs' keys in them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_customization_gate.core.patterns import fault_of
from pulumi_customization_gate.lifecycle.collection_types import ListOf, OneOrPerVm
from pulumi_customization_gate.lifecycle.description import Argument, OneOfKinds, Record
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import BadInput, is_list, shown
from pulumi_customization_gate.lifecycle.value_types import Choice, Text, WholeChoice, WholeNumber, Wrong, nearest

COLORS = ("green", "yellow", "red", "gray")
_HIGHEST_PORT = 65535
_LOWEST_EXIT_CODE, _HIGHEST_EXIT_CODE = -(2**31), 2**32 - 1
IN_GUEST = frozenset({"command", "cloud_init"})
"""The kinds that are made in the guest, which needs guest credentials."""


def _pattern_fault(text: str) -> str | None:
    return fault_of(text) if text else ""


def _network_fault(text: str) -> str | None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return ""
    return None


_VMS = Argument(
    "vms",
    ListOf(
        Text("a list of keys of the gate's vms", lambda _: None), "a list of keys of the gate's vms", may_be_empty=False
    ),
    "the VMs that the check is about, by their keys; all of them by default",
)


def _kind(kind: str, text: str, example: str, *fields: Argument) -> Record:
    return Record(kind, text, example, (*fields, _VMS))


KINDS = (
    _kind(
        "tcp_port",
        "a port accepts a connection from the computer that runs Pulumi",
        '{"kind": "tcp_port", "port": 22}',
        Argument(
            "port",
            WholeNumber(f"a whole number from 1 to {_HIGHEST_PORT}", 1, _HIGHEST_PORT),
            "the port that accepts a connection from the computer that runs Pulumi",
            is_required=True,
        ),
    ),
    _kind(
        "address",
        "the guest has a usable address: not a link-local, loopback or multicast address",
        '{"kind": "address", "family": 4, "ignore": ["10.9.0.0/16"]}',
        Argument("family", WholeChoice((4, 6)), "4 for IPv4, 6 for IPv6; either by default"),
        Argument(
            "ignore",
            ListOf(
                Text("a network in CIDR notation", _network_fault),
                "a list of networks in CIDR notation",
                may_be_empty=False,
            ),
            "networks whose addresses do not count, for example that of the template",
        ),
    ),
    _kind(
        "guest_heartbeat",
        "the heartbeat of VMware Tools has a status",
        '{"kind": "guest_heartbeat", "color": "green"}',
        Argument("color", Choice(COLORS), "the status of the heartbeat of VMware Tools", default="green"),
    ),
    _kind(
        "guest_info",
        "the guest has set a key",
        '{"kind": "guest_info", "key": "guestinfo.ready", "value": "yes|true"}',
        Argument(
            "key",
            Text(
                "a key that begins with guestinfo.",
                lambda text: None if re.fullmatch(r"guestinfo\..+", text) else "",
            ),
            "the key that the guest sets",
            is_required=True,
        ),
        Argument(
            "value",
            OneOrPerVm(Text("a regular expression in RE2 syntax (no lookaround, no backreference)", _pattern_fault)),
            "what the whole value matches, in RE2 syntax; any value by default",
        ),
    ),
    _kind("network_adapters_connected", "every network adapter is connected", '{"kind": "network_adapters_connected"}'),
    _kind(
        "host_name",
        "the guest reports a host name",
        '{"kind": "host_name", "value": {"web-1": "web-1.example.com"}}',
        Argument(
            "value",
            OneOrPerVm(Text("a host name", lambda text: None if text else "")),
            "the host name that the guest reports",
            is_required=True,
        ),
    ),
    _kind(
        "ip_in_network",
        "an address of the guest is in a network",
        '{"kind": "ip_in_network", "network": "192.168.10.0/24"}',
        Argument(
            "network",
            OneOrPerVm(Text("a network in CIDR notation", _network_fault)),
            "the network that an address of the guest is in",
            is_required=True,
        ),
    ),
    _kind(
        "command",
        "a script in the guest ends with an exit code; it is run until it does, so it must be safe to repeat",
        '{"kind": "command", "script": "systemctl is-active nginx"}',
        Argument(
            "script",
            Text("the text of a script"),
            "a script for the guest: bash on Linux, PowerShell on Windows",
            is_required=True,
        ),
        Argument(
            "exit_code",
            WholeNumber(
                f"a whole number from {_LOWEST_EXIT_CODE} to {_HIGHEST_EXIT_CODE}",
                _LOWEST_EXIT_CODE,
                _HIGHEST_EXIT_CODE,
            ),
            "the exit code with which it ends",
            default=0,
        ),
    ),
    _kind("cloud_init", "the status of cloud-init in the guest is done", '{"kind": "cloud_init"}'),
)
"""Every kind of check."""
EXAMPLES: Mapping[str, str] = {record.kind: record.example for record in KINDS}
CHECKS = ListOf(OneOfKinds(KINDS), f"a list of maps, for example [{KINDS[0].example}]")
"""What the argument `checks` takes."""


@dataclass(frozen=True)
class Keys:
    """The keys of a gate's `vms`, as far as they are known."""

    known: tuple[str, ...]
    are_references: bool
    """`vms` is a list: a VM is named by its reference."""
    are_all_known: bool

    @classmethod
    def of(cls, vms: object) -> Keys | None:
        """Returns the keys, or None where nothing is known of them or `vms` is not a list or a map."""
        if isinstance(vms, Mapping):
            return cls(tuple(map(str, vms)), are_references=False, are_all_known=True)
        if not isinstance(vms, Sequence) or isinstance(vms, str):
            return None
        known = tuple(vm for vm in vms if isinstance(vm, str))
        return cls(known, are_references=True, are_all_known=not any(map(is_unknown, vms)))

    def may_have(self, key: str, is_reference: Callable[[str], bool]) -> bool:
        """Whether a key is one of them, or may turn out to be one."""
        return key in self.known or (not self.are_all_known and is_reference(key))


def key_problems(
    checks: object, vms: object, is_reference: Callable[[str], bool], *, may_name_keys: bool = True
) -> Iterator[BadInput]:
    """Yields keys in checks under which nothing would be judged: the gate would call a VM ready without the check.

    Args:
        checks: The checks, as they were given; one whose form is wrong is passed over.
        vms: The gate's VMs, as they were given.
        is_reference: Whether a text is a reference on the gate's platform.
        may_name_keys: Whether a message may show keys.
    """
    keys = Keys.of(vms)
    for number, check in enumerate(checks if is_list(checks) else ()):  # type: ignore[arg-type, var-annotated]
        if not isinstance(check, Mapping) or is_unknown(check.get("kind")) or any(CHECKS.item.judge(check)):
            continue
        for wrong in _wrong_keys(check, keys, is_reference, may_name_keys=may_name_keys):
            yield BadInput("checks", wrong.expected, wrong.given, f"[{number}]{wrong.place}", wrong.hint)


_EXPECTED_KEY = {
    False: "keys of the gate's vms",
    True: "references of the gate's vms, which are a list (give a map to choose keys of your own)",
}


def _wrong_keys(
    check: Mapping[str, Any], keys: Keys | None, is_reference: Callable[[str], bool], *, may_name_keys: bool
) -> Iterator[Wrong]:
    maps = {name: check[name] for name in ("value", "network") if isinstance(check.get(name), Mapping)}
    only = check.get("vms")
    chosen = None if only is None or is_unknown(only) else list(only)
    named = [(".vms", key) for key in chosen or () if not is_unknown(key)]
    named += [(f".{name}", key) for name, entries in maps.items() for key in entries]
    for place, key in named:
        if keys is not None and not keys.may_have(key, is_reference):
            hint = nearest(key, keys.known) if may_name_keys else ""
            yield Wrong(_EXPECTED_KEY[keys.are_references], key, place, hint)
        elif chosen is not None and key not in chosen and not any(map(is_unknown, chosen)):
            yield Wrong("keys that the check's vms names too", key, place)
    if check["kind"] == "guest_info":
        return  # without a pattern for a VM, its key must be there with any value
    for name, entries in maps.items():
        for key in chosen or ():
            if not is_unknown(key) and key not in entries:
                expected = f"an entry for each VM in the check's vms, also for {shown(key)}"
                yield Wrong(expected, entries, f".{name}")


def accept_problems(
    accept: object, vms: object, single: Collection[str | None], *, may_name_keys: bool = True
) -> Iterator[BadInput]:
    """Yields keys in `accept` under which there is no VM.

    Args:
        accept: The argument, as it was given.
        vms: The gate's VMs, as they were given.
        single: Those keys of `vms` that certainly name one VM; under each other one there may be several, as
            `key/name`.
        may_name_keys: Whether a message may show keys.
    """
    if not accept or not isinstance(accept, Mapping):
        return
    if is_list(vms):
        expected = 'vms to be a map, for example {"web-1": web.moid}, because it names VMs by your keys'
        yield BadInput("accept", expected)
    elif isinstance(vms, Mapping):
        for key in accept:
            group, slash, _ = str(key).partition("/")
            if key not in vms and not (slash and group in vms and group not in single):
                hint = nearest(key, list(vms)) if may_name_keys else ""
                yield BadInput("accept", _EXPECTED_KEY[False], key, hint=hint)
