"""Every rule about a gate's `checks`."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.resources.input_problems import (
    BadInput,
    IsUnknown,
    is_left_out,
    is_list,
    is_whole,
    shown,
)
from pulumi_customization_gate.vsphere.inventory import parse_reference

COLORS = ("green", "yellow", "red", "gray")
_HIGHEST_PORT = 65535
_LONGEST_GUESS = 100
"""Characters above which nobody looks for the word that was meant: that takes the square of the length."""

EXAMPLES: Mapping[str, str] = {
    "tcp_port": '{"kind": "tcp_port", "port": 22}',
    "guest_heartbeat": '{"kind": "guest_heartbeat", "color": "green"}',
    "guest_info": '{"kind": "guest_info", "key": "guestinfo.ready", "value": "yes|true"}',
    "network_adapters_connected": '{"kind": "network_adapters_connected"}',
    "host_name": '{"kind": "host_name", "value": {"web-1": "web-1.example.com"}}',
    "ip_in_network": '{"kind": "ip_in_network", "network": "192.168.10.0/24"}',
}
"""Each kind of check, with an example."""


def nearest(word: object, choices: Collection[str]) -> str:
    """Returns a hint that names the choice that was probably meant, or nothing."""
    if not isinstance(word, str) or len(word) > _LONGEST_GUESS:
        return ""
    near = difflib.get_close_matches(word, choices, n=1)
    return f"did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True)
class Keys:
    """The keys of a gate's `vms`, as far as they are known."""

    known: tuple[str, ...]
    are_references: bool
    """`vms` is a list: each key is the reference itself."""
    are_all_known: bool

    @classmethod
    def of(cls, vms: object, is_unknown: IsUnknown) -> Keys | None:
        """Returns the keys, or None where nothing is known of them or `vms` is not a list or a map."""
        if is_unknown(vms) or isinstance(vms, str):
            return None
        if isinstance(vms, Mapping):
            return cls(tuple(map(str, vms)), are_references=False, are_all_known=True)
        if not isinstance(vms, Sequence):
            return None
        known = tuple(vm for vm in vms if isinstance(vm, str) and not is_unknown(vm))
        return cls(known, are_references=True, are_all_known=not any(map(is_unknown, vms)))

    def may_have(self, key: str) -> bool:
        """Whether a key is one of them, or may turn out to be one."""
        return key in self.known or (not self.are_all_known and _is_reference(key))


def _is_reference(text: str) -> bool:
    try:
        parse_reference(text)
    except ConfigurationError:
        return False
    return True


def check_problems(
    checks: object, is_unknown: IsUnknown, keys: Keys | None = None, *, may_name_keys: bool = True
) -> Iterator[BadInput]:
    """Yields what is wrong with a gate's checks; what preview does not know yet is not wrong.

    Args:
        checks: What was given.
        is_unknown: Whether preview does not know a value yet.
        keys: The keys of `vms`; without them, a check may name any.
        may_name_keys: Whether a message may show them.
    """
    if is_left_out(checks, is_unknown):
        return
    if not is_list(checks):
        yield BadInput("checks", f"a list of maps, for example [{EXAMPLES['tcp_port']}]", checks)
        return
    assert isinstance(checks, Sequence)
    for number, check in enumerate(checks):
        if is_unknown(check):
            continue
        found = list(_check(check, is_unknown)) or list(_key_problems(check, is_unknown, keys, may_name_keys))
        for place, expected, given, hint in found:
            yield BadInput("checks", expected, given, f"[{number}]{place}", hint)


_Found = tuple[str, str, object, str]
"""The place in the check, what is expected there, what was given, and a hint."""


def _check(check: object, is_unknown: IsUnknown) -> Iterator[_Found]:
    if not isinstance(check, Mapping):
        yield "", f"a map with a kind, for example {EXAMPLES['tcp_port']}", check, ""
        return
    kind = check.get("kind")
    if is_unknown(kind):
        return
    if not isinstance(kind, str) or kind not in EXAMPLES:
        wanted = f"{' or '.join(map(repr, EXAMPLES))}, for example {EXAMPLES['tcp_port']}"
        yield ".kind", wanted, kind, nearest(kind, EXAMPLES)
        return
    needed, rules = _KINDS[kind]
    example = f", for example {EXAMPLES[kind]}"
    for name in rules:
        value = check.get(name)
        if value is None and name in needed:
            yield f".{name}", f"{rules[name].expected}{example}", None, ""
        elif not is_left_out(value, is_unknown):
            for place, given, hint in rules[name].judge(value, is_unknown):
                yield f".{name}{place}", f"{rules[name].expected}{example}", given, hint
    for name in check:
        if name not in ("kind", *rules):
            yield "", f"options of {kind}{example}", name, nearest(name, rules)


def _key_problems(check: Any, is_unknown: IsUnknown, keys: Keys | None, may_name_keys: bool) -> Iterator[_Found]:
    """Yields keys under which nothing would ever be judged: the gate would call a VM ready that nobody looked at."""
    if is_unknown(check.get("kind")):
        return
    maps = {name: check[name] for name in ("value", "network") if isinstance(check.get(name), Mapping)}
    only = check.get("vms")
    chosen = None if is_left_out(only, is_unknown) else list(only)
    named = [(".vms", key) for key in chosen or () if not is_unknown(key)]
    named += [(f".{name}", key) for name, entries in maps.items() for key in entries]
    for place, key in named:
        if keys is not None and not keys.may_have(key):
            yield place, _EXPECTED_KEY[keys.are_references], key, nearest(key, keys.known) if may_name_keys else ""
        elif chosen is not None and key not in chosen and not any(map(is_unknown, chosen)):
            yield place, "keys that the check's vms names too", key, ""
    if check["kind"] == "guest_info":
        return  # without a pattern for a VM, its key must be there with any value
    for name, entries in maps.items():
        for key in chosen or ():
            if not is_unknown(key) and key not in entries:
                yield f".{name}", f"an entry for each VM in the check's vms, also for {shown(key)}", entries, ""


_EXPECTED_KEY = {
    False: "keys of the gate's vms",
    True: "references of the gate's vms, which are a list (give a map to choose keys of your own)",
}


_Judged = tuple[str, object, str]
"""The place in the option, what was given there, and a hint."""


@dataclass(frozen=True)
class _Rule:
    """What one option of a check takes."""

    expected: str
    judge: Callable[[Any, IsUnknown], Iterator[_Judged]]


def _rule(expected: str, is_good: Callable[[Any], bool]) -> _Rule:
    """Returns the rule for an option that is one value."""

    def judge(value: Any, _is_unknown: IsUnknown) -> Iterator[_Judged]:
        if not is_good(value):
            yield "", value, ""

    return _Rule(expected, judge)


def _rule_by_key(expected: str, wrong: Callable[[Any], str]) -> _Rule:
    """Returns the rule for an option that is one value, or a map of values by the VMs' keys.

    Args:
        expected: What it takes.
        wrong: Returns why a value is wrong, or nothing.
    """

    def judge(value: Any, is_unknown: IsUnknown) -> Iterator[_Judged]:
        if isinstance(value, Mapping) and not value:
            yield "", value, ""
        entries = value.items() if isinstance(value, Mapping) else [(None, value)]
        for key, entry in entries:
            reason = "" if is_unknown(entry) else wrong(entry)
            if reason:
                yield "" if key is None else f"[{shown(key)}]", entry, reason.strip()

    return _Rule(f"{expected}, or a map of them by the keys of vms", judge)


_WRONG = " "
"""What is wrong shows in the value itself."""


def _not_a_text(value: Any) -> str:
    return "" if isinstance(value, str) and value else _WRONG


def _not_a_pattern(value: Any) -> str:
    if not isinstance(value, str) or not value:
        return _WRONG
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    return ""


def _not_a_network(value: Any) -> str:
    try:
        ipaddress.ip_network(value if isinstance(value, str) else "", strict=False)
    except ValueError:
        return _WRONG
    return ""


def _vms(value: Any, is_unknown: IsUnknown) -> Iterator[_Judged]:
    if not is_list(value) or not value:
        yield "", value, ""
        return
    for number, key in enumerate(value):
        if not is_unknown(key) and not isinstance(key, str):
            yield f"[{number}]", key, ""


_VMS = _Rule("a list of keys of the gate's vms", _vms)
_KINDS: Mapping[str, tuple[frozenset[str], Mapping[str, _Rule]]] = {
    "tcp_port": (
        frozenset({"port"}),
        {
            "port": _rule(f"a whole number from 1 to {_HIGHEST_PORT}", lambda port: is_whole(port, 1, _HIGHEST_PORT)),
            "vms": _VMS,
        },
    ),
    "guest_heartbeat": (
        frozenset(),
        {"color": _rule(" or ".join(map(repr, COLORS)), lambda color: color in COLORS), "vms": _VMS},
    ),
    "guest_info": (
        frozenset({"key"}),
        {
            "key": _rule(
                "a key that begins with guestinfo.",
                lambda key: isinstance(key, str) and bool(re.fullmatch(r"guestinfo\..+", key)),
            ),
            "value": _rule_by_key("a regular expression", _not_a_pattern),
            "vms": _VMS,
        },
    ),
    "network_adapters_connected": (frozenset(), {"vms": _VMS}),
    "host_name": (frozenset({"value"}), {"value": _rule_by_key("a host name", _not_a_text), "vms": _VMS}),
    "ip_in_network": (
        frozenset({"network"}),
        {"network": _rule_by_key("a network in CIDR notation", _not_a_network), "vms": _VMS},
    ),
}
"""The options that each kind needs, and the rules for all that it takes."""
