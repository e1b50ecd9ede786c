"""Every rule about the inputs of the resources; opens no connection."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_customization_gate.cloud_director.references import parse_reference as parse_cloud_director_reference
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.watch import WaitRules
from pulumi_customization_gate.resources.check_arguments import check_problems
from pulumi_customization_gate.vsphere.inventory import parse_reference

LONGEST_START = 600.0
"""The default of `start_timeout` in seconds, unless `timeout` is smaller."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "platform": ("vsphere", "cloud_director"),
    "expect": ("required", "auto"),
    "ready_when": ("customized", "guest_operations"),
    "on_failure": ("fail", "report"),
}
DEFAULTS: Mapping[str, Any] = {
    "platform": "vsphere",
    "timeout": 1800.0,
    "expect": "required",
    "ready_when": "customized",
    "settle": 30.0,
    "on_failure": "fail",
}
INPUTS = (
    "vms",
    "platform",
    "config_namespace",
    "timeout",
    "start_timeout",
    "expect",
    "ready_when",
    "settle",
    "checks",
    "on_failure",
    "triggers",
)
NAMESPACES = {"vsphere": "vsphere", "cloud_director": "vcd"}

Problem = tuple[str, str]
"""The argument's name, and a sentence of what was given, what is wanted and an example."""


@dataclass(frozen=True)
class GateArguments:
    """The arguments of a gate, checked and with their defaults."""

    references: Mapping[str, str]
    """What names each machine, by the user's key; for a list the key is the reference itself."""
    is_map: bool
    platform: str
    config_namespace: str
    rules: WaitRules
    on_failure: str
    ready_when: str = "customized"
    settle: float = 30.0
    checks: Sequence[Mapping[str, Any]] = ()
    triggers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Mapping[str, Any], server: str = "") -> GateArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Args:
            inputs: The inputs as the engine gives them.
            server: The address of the configured Cloud Director, against which an href is held.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that preview did not know.
        """
        problems = list(gate_problems(inputs, lambda _: False, server))
        if problems:
            raise ConfigurationError("\n".join(f"{name}: {reason}" for name, reason in problems))
        given = {**DEFAULTS, **{name: value for name, value in inputs.items() if value is not None}}
        vms = given["vms"]
        is_map = isinstance(vms, Mapping)
        timeout = float(given["timeout"])
        return cls(
            # The engine hands a map over in no order; reports are read by people.
            references=dict(sorted(vms.items())) if is_map else {reference: reference for reference in vms},
            is_map=is_map,
            platform=given["platform"],
            config_namespace=given.get("config_namespace") or NAMESPACES[given["platform"]],
            rules=WaitRules(
                timeout=timeout,
                start_timeout=float(given.get("start_timeout") or min(LONGEST_START, timeout)),
                expect=given["expect"],
                stop_on_missing=given["on_failure"] == "fail",
            ),
            on_failure=given["on_failure"],
            ready_when=given["ready_when"],
            settle=float(given["settle"]),
            checks=given.get("checks") or (),
            triggers=given.get("triggers") or {},
        )


def gate_problems(
    inputs: Mapping[str, Any], is_unknown: Callable[[object], bool], server: str = ""
) -> Iterator[Problem]:
    """Yields what is wrong with the inputs of a gate; what preview does not know yet is not wrong."""
    for name, choices in CHOICES.items():
        yield from _choice(name, inputs.get(name), choices, is_unknown)
    yield from _vms(inputs.get("vms"), _parser(inputs.get("platform"), server), is_unknown)
    for name, least in (("timeout", "above 0"), ("start_timeout", "above 0"), ("settle", "of 0 or more")):
        yield from _seconds(name, inputs.get(name), least, is_unknown)
    yield from _start_within(inputs.get("timeout"), inputs.get("start_timeout"))
    namespace = inputs.get("config_namespace")
    if namespace is not None and not is_unknown(namespace) and not _is_name(namespace):
        yield (
            "config_namespace",
            f'it is {namespace!r}; wanted is a namespace of stack config without a colon, for example "east"',
        )
    triggers = inputs.get("triggers")
    if triggers is not None and not is_unknown(triggers) and not isinstance(triggers, Mapping):
        # Its value is not shown: what changes with an image may well be a secret.
        kind = type(triggers).__name__
        yield "triggers", f'it is a {kind}; wanted is a map of anything, for example {{"image": "2026-11"}}'
    yield from check_problems(inputs.get("checks"), is_unknown)
    if inputs.get("platform") == "cloud_director":
        yield from _needs_vsphere(inputs)


def _needs_vsphere(inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """Refuses what Cloud Director does not tell: it shows nothing of a guest but its customization."""
    if inputs.get("ready_when") == "guest_operations":
        yield "ready_when", 'it is "guest_operations", which Cloud Director does not tell; wanted is "customized"'
    if inputs.get("checks"):
        yield "checks", "Cloud Director tells nothing to check; leave them out"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and ":" not in value


def _choice(
    name: str, value: object, choices: Sequence[str], is_unknown: Callable[[object], bool]
) -> Iterator[Problem]:
    if value is None or is_unknown(value) or value in choices:
        return
    near = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    yield name, f"it is {value!r}; wanted is {' or '.join(map(repr, choices))}{hint}"


def _seconds(name: str, value: object, wanted: str, is_unknown: Callable[[object], bool]) -> Iterator[Problem]:
    if value is None or is_unknown(value):
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and (value > 0 or (wanted.startswith("of 0") and value == 0)):  # type: ignore[operator]
        return
    shown = f"{value:g}" if isinstance(value, float) else repr(value)
    yield name, f"it is {shown}; wanted is a number of seconds {wanted}, for example {DEFAULTS.get(name, 600):g}"


def _start_within(timeout: object, start_timeout: object) -> Iterator[Problem]:
    whole = DEFAULTS["timeout"] if timeout is None else timeout
    if isinstance(start_timeout, int | float) and isinstance(whole, int | float) and start_timeout > whole:
        example = min(LONGEST_START, whole)
        yield "start_timeout", f"it is {start_timeout:g}; wanted is at most timeout, {whole:g}, for example {example:g}"


_VMS_WANTED = (
    "wanted is a list of references, or a map of your own keys to them, for example "
    '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]'
)


def _parser(platform: object, server: str) -> Callable[[str], object]:
    """Returns what tells whether a text is a reference on that platform."""
    if platform == "cloud_director":
        return lambda text: parse_cloud_director_reference(text, server)
    return parse_reference


def _vms(vms: object, parse: Callable[[str], object], is_unknown: Callable[[object], bool]) -> Iterator[Problem]:
    if is_unknown(vms):
        return
    if isinstance(vms, str) or not isinstance(vms, Mapping | Sequence) or not vms:
        yield "vms", f"it is {vms!r}; {_VMS_WANTED}"
        return
    items = list(vms.items()) if isinstance(vms, Mapping) else [(str(i), vm) for i, vm in enumerate(vms)]
    seen: dict[object, str] = {}
    for key, reference in items:
        place = f"vms[{key!r}]" if isinstance(vms, Mapping) else f"vms[{key}]"
        if is_unknown(reference):
            continue
        if not isinstance(reference, str) or not reference.strip():
            yield "vms", f"{place} is {reference!r}; {_VMS_WANTED}"
            continue
        try:
            named = parse(reference)
        except ConfigurationError as error:
            yield "vms", f"{place}: {error}"
            continue
        if named in seen:
            yield "vms", f"{place} is {reference!r}, which {seen[named]} is already; name each machine once"
        seen.setdefault(named, place)
