"""Every rule about the inputs of the resources; opens no connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_customization_gate.cloud_director.references import parse_reference as parse_cloud_director_reference
from pulumi_customization_gate.core.errors import InvalidReferenceError
from pulumi_customization_gate.core.model import Target, targets_of
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.resources.check_arguments import Keys, check_problems, nearest
from pulumi_customization_gate.resources.input_problems import (
    BadInput,
    IsUnknown,
    is_hidden,
    is_left_out,
    is_number,
    reject,
    seconds_problems,
    shown,
)
from pulumi_customization_gate.vsphere.inventory import parse_reference

SHORTEST_TIMEOUT = 1.0
"""Seconds below which no wait can succeed: an answer of the server alone may take longer."""
LONGEST_START = 600.0
"""The default of `start_timeout` in seconds, unless `timeout` is smaller."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "platform": ("vsphere", "cloud_director"),
    "expect": ("required", "optional"),
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


@dataclass(frozen=True)
class GateArguments:
    """The arguments of a gate, checked and with their defaults."""

    targets: Sequence[Target[Any]]
    """What names each VM, and the user's key; for a list there is none."""
    platform: str
    config_namespace: str
    rules: WaitRules
    on_failure: str
    ready_when: str = "customized"
    settle: float = 30.0
    checks: Sequence[Mapping[str, Any]] = ()
    triggers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_keys(self) -> bool:
        """Whether the user gave a key for each VM."""
        return all(target.key is not None for target in self.targets)

    @classmethod
    def of(cls, inputs: Mapping[str, Any], server: str = "") -> GateArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Args:
            inputs: The inputs as the engine gives them.
            server: The address of the configured Cloud Director, against which an href is held.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that preview did not know.
        """
        reject(gate_problems(inputs, lambda _: False, server), inputs)
        given = {**DEFAULTS, **{name: value for name, value in inputs.items() if value is not None}}
        vms = given["vms"]
        timeout = float(given["timeout"])
        return cls(
            # The engine hands a map over in no order; reports are read by people.
            targets=targets_of(
                dict(sorted(vms.items())) if isinstance(vms, Mapping) else vms, _parser(given["platform"], server)
            ),
            platform=given["platform"],
            config_namespace=given.get("config_namespace") or NAMESPACES[given["platform"]],
            rules=WaitRules(
                timeout=timeout,
                start_timeout=float(given.get("start_timeout") or min(LONGEST_START, timeout)),
                requires_customization=given["expect"] == "required",
                stop_on_missing=given["on_failure"] == "fail",
            ),
            on_failure=given["on_failure"],
            ready_when=given["ready_when"],
            settle=float(given["settle"]),
            checks=given.get("checks") or (),
            triggers=given.get("triggers") or {},
        )


def gate_problems(inputs: Mapping[str, Any], is_unknown: IsUnknown, server: str = "") -> Iterator[BadInput]:
    """Yields what is wrong with the inputs of a gate; what preview does not know yet is not wrong."""
    for name, choices in CHOICES.items():
        yield from _choice(name, inputs.get(name), choices, is_unknown)
    vms, timeout = inputs.get("vms"), inputs.get("timeout")
    yield from _vms(vms, _parser(inputs.get("platform"), server), is_unknown)
    yield from seconds_problems("timeout", timeout, is_unknown, example=DEFAULTS["timeout"], least=SHORTEST_TIMEOUT)
    yield from seconds_problems("start_timeout", inputs.get("start_timeout"), is_unknown, example=LONGEST_START)
    yield from seconds_problems("settle", inputs.get("settle"), is_unknown, example=DEFAULTS["settle"], least=0)
    yield from _start_within(timeout, inputs.get("start_timeout"), may_show=not is_hidden("timeout", inputs))
    namespace = inputs.get("config_namespace")
    if not is_left_out(namespace, is_unknown) and not _is_name(namespace):
        yield BadInput("config_namespace", 'a namespace of stack config without a colon, for example "east"', namespace)
    triggers = inputs.get("triggers")
    if not is_left_out(triggers, is_unknown) and not isinstance(triggers, Mapping):
        yield BadInput("triggers", 'a map of anything, for example {"image": "2026-11"}', triggers)
    keys = Keys.of(vms, is_unknown)
    may_name_keys = isinstance(vms, Mapping) or not is_hidden("vms", inputs)
    yield from check_problems(inputs.get("checks"), is_unknown, keys, may_name_keys=may_name_keys)
    if inputs.get("platform") == "cloud_director":
        yield from _needs_vsphere(inputs)


def _needs_vsphere(inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    """Refuses what Cloud Director does not report: it shows nothing of a guest but its customization."""
    ready_when = inputs.get("ready_when")
    if ready_when == "guest_operations":
        wanted = "'customized', because Cloud Director does not report guest operations"
        yield BadInput("ready_when", wanted, ready_when)
    if inputs.get("checks"):
        yield BadInput("checks", "no checks, because Cloud Director reports nothing to check")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and ":" not in value


def _choice(name: str, value: object, choices: Sequence[str], is_unknown: IsUnknown) -> Iterator[BadInput]:
    if not is_left_out(value, is_unknown) and value not in choices:
        yield BadInput(name, " or ".join(map(repr, choices)), value, hint=nearest(value, choices))


def _start_within(timeout: object, start_timeout: object, *, may_show: bool) -> Iterator[BadInput]:
    whole: Any = DEFAULTS["timeout"] if timeout is None else timeout
    given: Any = start_timeout
    if is_number(given) and is_number(whole) and given > whole > 0:
        limit = f"timeout ({whole:g})" if may_show else "timeout"
        yield BadInput("start_timeout", f"a number of seconds that is not more than {limit}", start_timeout)


_VMS_EXPECTED = (
    "a list of references, or a map of your own keys to them, for example "
    '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]'
)


def _parser(platform: object, server: str) -> Callable[[str], Any]:
    """Returns what tells whether a text is a reference on that platform."""
    if platform == "cloud_director":
        return lambda text: parse_cloud_director_reference(text, server)
    return parse_reference


def _vms(vms: object, parse: Callable[[str], object], is_unknown: IsUnknown) -> Iterator[BadInput]:
    if is_unknown(vms):
        return
    if isinstance(vms, str) or not isinstance(vms, Mapping | Sequence) or not vms:
        yield BadInput("vms", _VMS_EXPECTED, vms)
        return
    seen: dict[object, str] = {}
    for key, reference in vms.items() if isinstance(vms, Mapping) else enumerate(vms):
        place = f"[{shown(key)}]"
        if isinstance(key, str) and not key.strip():
            yield BadInput("vms", 'keys that are not empty, for example "web-1"', key)
        if is_unknown(reference):
            continue
        if not isinstance(reference, str) or not reference.strip():
            yield BadInput("vms", _VMS_EXPECTED, reference, place)
            continue
        try:
            named = parse(reference)
        except InvalidReferenceError as error:
            yield BadInput("vms", error.expected, reference, place)
            continue
        if named in seen:
            yield BadInput("vms", "each VM once", reference, place, f"vms{seen[named]} is the same VM")
        seen.setdefault(named, place)
