"""Every rule about a gate's `checks`."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pulumi_customization_gate.resources.arguments import Problem

COLORS = ("green", "yellow", "red", "gray")
_HIGHEST_PORT = 65535

EXAMPLES: Mapping[str, str] = {
    "tcp_port": '{"kind": "tcp_port", "port": 22}',
    "guest_heartbeat": '{"kind": "guest_heartbeat", "color": "green"}',
    "guest_info": '{"kind": "guest_info", "key": "guestinfo.ready", "value": "yes|true"}',
    "cards_connected": '{"kind": "cards_connected"}',
    "host_name": '{"kind": "host_name", "value": {"web-1": "web-1.example.com"}}',
    "ip_in_network": '{"kind": "ip_in_network", "network": "192.168.10.0/24"}',
}
"""Each kind of check, with an example."""
_OPTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tcp_port": (("port",), ()),
    "guest_heartbeat": ((), ("color",)),
    "guest_info": (("key",), ("value",)),
    "cards_connected": ((), ()),
    "host_name": (("value",), ()),
    "ip_in_network": (("network",), ()),
}
"""The options that each kind needs, and those that it takes beside them; all take `vms`."""

IsUnknown = Callable[[object], bool]


def check_problems(checks: object, is_unknown: IsUnknown) -> Iterator[Problem]:
    """Yields what is wrong with a gate's checks; what preview does not know yet is not wrong."""
    if checks is None or is_unknown(checks):
        return
    if isinstance(checks, str | Mapping) or not isinstance(checks, Sequence):
        yield "checks", f"it is {checks!r}; wanted is a list of maps, for example [{EXAMPLES['tcp_port']}]"
        return
    for number, check in enumerate(checks):
        if is_unknown(check):
            continue
        for reason in _check(check, is_unknown):
            yield "checks", f"checks[{number}]: {reason}"


def _check(check: object, is_unknown: IsUnknown) -> Iterator[str]:
    kind = check.get("kind") if isinstance(check, Mapping) else None
    if not isinstance(check, Mapping) or (kind is None or (kind not in EXAMPLES and not is_unknown(kind))):
        near = difflib.get_close_matches(str(kind), EXAMPLES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"for example {EXAMPLES['tcp_port']}"
        yield f"it is {check!r}; wanted is a map with a kind, {' or '.join(map(repr, EXAMPLES))}; {hint}"
        return
    if is_unknown(kind):
        return
    needed, others = _OPTIONS[str(kind)]
    example = EXAMPLES[str(kind)]
    for name in needed:
        if check.get(name) is None:
            yield f"{name} is missing; wanted is for example {example}"
    for name, value in check.items():
        if name not in {"kind", "vms", *needed, *others}:
            yield f"{name!r} is no option of it; wanted is for example {example}"
        elif name != "kind" and value is not None and not is_unknown(value):
            reason = _RULES[str(name)](value, is_unknown)
            if reason:
                yield f"{name} is {value!r}; wanted is {reason}, for example {example}"


def _port(value: Any, _is_unknown: IsUnknown) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    return "" if is_number and 1 <= value <= _HIGHEST_PORT else f"a whole number from 1 to {_HIGHEST_PORT}"


def _color(value: Any, _is_unknown: IsUnknown) -> str:
    return "" if value in COLORS else " or ".join(map(repr, COLORS))


def _key(value: Any, _is_unknown: IsUnknown) -> str:
    is_key = isinstance(value, str) and re.fullmatch(r"guestinfo\..+", value)
    return "" if is_key else "a key that begins with guestinfo."


def _value(value: Any, is_unknown: IsUnknown) -> str:
    """Judges a pattern, or host names; both are strings, and every host name is a pattern."""
    texts = [text for text in _by_machine(value) if not is_unknown(text)]
    if not all(isinstance(text, str) and text for text in texts):
        return "a string, or a map of strings by the keys of the machines"
    try:
        for text in texts:
            re.compile(text)
    except re.error as error:
        return f"a regular expression ({error})"
    return ""


def _network(value: Any, is_unknown: IsUnknown) -> str:
    try:
        for text in _by_machine(value):
            if not is_unknown(text):
                ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return "a network in CIDR notation, or a map of them by the keys of the machines"
    return ""


def _by_machine(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else [value]


def _vms(value: Any, is_unknown: IsUnknown) -> str:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    is_good = is_list and value and all(is_unknown(key) or isinstance(key, str) for key in value)
    return "" if is_good else "a list of the keys of those machines that it is about"


_RULES: Mapping[str, Callable[[Any, IsUnknown], str]] = {
    "port": _port,
    "color": _color,
    "key": _key,
    "value": _value,
    "network": _network,
    "vms": _vms,
}
