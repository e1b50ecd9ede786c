"""The arguments of CustomizationGate: described once, and read once into what a wait needs. Opens no connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import InvalidReferenceError
from pulumi_customization_gate.core.model import Target, duplicates
from pulumi_customization_gate.core.outcomes import WaitRules
from pulumi_customization_gate.lifecycle.checks import CHECKS, accept_problems, key_problems
from pulumi_customization_gate.lifecycle.collection_types import MapOf, MapOrListOfAnything, VmReferences
from pulumi_customization_gate.lifecycle.description import Argument, Effect
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import VM_UUIDS, BadInput, is_hidden, is_list, reject, shown
from pulumi_customization_gate.lifecycle.value_types import Boolean, Choice, Duration, Text, seconds_or_none
from pulumi_customization_gate.platforms import DEFAULT_TIMEOUT, PLATFORMS, VSPHERE, Platform

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = Text(
    'a namespace of stack config without a colon, for example "east"',
    lambda text: None if text.strip() and ":" not in text and "\0" not in text else "",
)
TRIGGERS = MapOrListOfAnything('a map or a list of anything, for example {"image": "2026-11"}')

GATE: Sequence[Argument] = (
    Argument(
        "vms",
        VmReferences(
            "a list of references, or a map of your own keys to them, for example "
            '[web.moid], {"web-1": web.moid} or ["/Datacenter/vm/web-1"]',
            'keys that are not empty, for example "web-1"',
        ),
        "the VMs: a list of references, or a map of your own keys to them",
        Effect.JUDGES_REMAINING,
        is_required=True,
        default_text="required, no duplicates",
    ),
    Argument(
        "platform",
        Choice(tuple(PLATFORMS)),
        "the kind of server",
        Effect.REPLACES,
        default=VSPHERE.name,
    ),
    Argument(
        "config_namespace",
        NAMESPACE,
        "the namespace of stack config that holds server and credentials",
        Effect.REPLACES,
        default_text=" / ".join(f'`"{platform.default_namespace}"`' for platform in PLATFORMS.values()),
    ),
    Argument(
        "timeout",
        Duration("30m", least=1),
        "the time for the whole wait, in seconds or as a duration",
        Effect.STORES,
        default_text="the resource's custom timeout, else 1800",
    ),
    Argument(
        "start_timeout",
        Duration("10m"),
        "the time in which customization must have started, from the later of the start of the wait and the VM's "
        "last power-on",
        Effect.STORES,
        default_text="the smaller of 600 and `timeout`; on Cloud Director `timeout`",
    ),
    Argument(
        "expect",
        Choice(("required", "optional")),
        '"required": a VM with no trace of a customization fails early; "optional": it passes as NotCustomized',
        Effect.JUDGES_REMAINING,
        default="required",
    ),
    Argument(
        "ready_when",
        Choice(("customized", "guest_operations")),
        '"customized", or "guest_operations": after success, guest operations must stay ready for `settle`',
        Effect.JUDGES_ALL_IF_STRICTER,
        default="customized",
    ),
    Argument(
        "settle",
        Duration("30s", least=0),
        "the time for which guest operations must stay ready",
        Effect.STORES,
        default=30.0,
    ),
    Argument(
        "checks",
        CHECKS,
        "conditions that must hold after success",
        Effect.JUDGES_ALL_IF_STRICTER,
        default_text="none",
    ),
    Argument(
        "accept",
        MapOf(
            Text('a reason that is not empty, for example "host name set by hand, ticket 4711"'),
            'a map from keys of vms to reasons, for example {"web-1": "host name set by hand, ticket 4711"}',
            Text('keys of the gate\'s vms, for example "web-1"'),
        ),
        "a map from your keys to reasons: a VM whose customization failed and that was repaired by hand counts as "
        "ready",
        Effect.JUDGES_REMAINING,
        default_text="none",
    ),
    Argument(
        "on_failure",
        Choice(("fail", "report")),
        '"fail", or "report": the gate opens, and `statuses` reports what failed',
        Effect.JUDGES_REMAINING,
        default="fail",
    ),
    Argument(
        "guest_logs",
        Boolean(),
        "whether a failure shows the last 40 lines of the guest's customization log, if config or environment has "
        "guest credentials",
        default=True,
    ),
    Argument(
        "triggers",
        TRIGGERS,
        "a map or a list of anything; a change judges all VMs again",
        Effect.JUDGES_ALL,
        default_text="none",
        is_hidden=True,
    ),
)
"""Every argument."""
ARGUMENTS: Mapping[str, Argument] = {argument.name: argument for argument in GATE}


def platform_of(inputs: Mapping[str, Any]) -> Platform | None:
    """Returns the platform of inputs, or None if it is unknown or does not exist."""
    return PLATFORMS.get(str(ARGUMENTS["platform"].value_of(inputs)))


def namespace_of(inputs: Mapping[str, Any]) -> Any:
    """Returns the config namespace of inputs, UNKNOWN or None where it is not known."""
    platform = platform_of(inputs)
    return inputs.get("config_namespace") or (platform.default_namespace if platform else None)


def value_of(inputs: Mapping[str, Any], name: str) -> Any:
    """Returns an input as it counts, for a comparison with another of the same name."""
    return namespace_of(inputs) if name == "config_namespace" else ARGUMENTS[name].value_of(inputs)


@dataclass(frozen=True)
class GateArguments:
    """The arguments of a gate, checked, parsed and with their defaults."""

    platform: Platform
    targets: Sequence[Target[Any]]
    """What names each VM, and the user's key; for a list there is none."""
    rules: WaitRules
    on_failure: str = "fail"
    ready_when: str = "customized"
    settle: float = 30.0
    checks: Sequence[Mapping[str, Any]] = ()

    @property
    def has_keys(self) -> bool:
        """Whether the user gave a key for each VM."""
        return all(target.key is not None for target in self.targets)

    @classmethod
    def of(cls, inputs: Mapping[str, Any], settings: Any = None, custom_timeout: float = 0) -> GateArguments:
        """Returns the arguments of inputs that are all known and without problems.

        Args:
            inputs: The inputs as the engine gives them.
            settings: The platform's settings, for references that name a server.
            custom_timeout: The resource's `custom_timeouts` in seconds, which count where `timeout` is not given.

        Raises:
            ConfigurationError: If there is a problem after all, for example in a value that a preview did not know.
        """
        problems, targets = examine(inputs, settings)
        reject(problems, inputs)
        platform = platform_of(inputs)
        assert platform is not None
        timeout = float(value_of(inputs, "timeout") or custom_timeout or DEFAULT_TIMEOUT)
        return cls(
            platform=platform,
            targets=targets,
            rules=WaitRules(
                timeout=timeout,
                start_timeout=min(float(value_of(inputs, "start_timeout") or platform.start_timeout), timeout),
                requires_customization=value_of(inputs, "expect") == "required",
                stop_on_missing=value_of(inputs, "on_failure") == "fail",
            ),
            on_failure=value_of(inputs, "on_failure"),
            ready_when=value_of(inputs, "ready_when"),
            settle=float(value_of(inputs, "settle")),
            checks=inputs.get("checks") or (),
        )


def examine(inputs: Mapping[str, Any], settings: Any = None) -> tuple[list[BadInput], list[Target[Any]]]:
    """Returns what is wrong with the inputs of a gate, and the VMs that they name as far as these are known.

    Args:
        inputs: The inputs, UNKNOWN in the place of each value that a preview does not know.
        settings: The platform's settings, None where they are not known.
    """
    problems = [problem for argument in GATE for problem in argument.problems(inputs)]
    platform = platform_of(inputs)
    if platform is None and not is_unknown(inputs.get("platform")):
        platform = VSPHERE  # A misspelled platform hides no other problem.
    targets: list[Target[Any]] = []
    if platform is not None:

        def parse(text: str) -> Any:
            return platform.parse_reference(text, settings)

        found = _targets(inputs.get("vms"), inputs.get(VM_UUIDS), parse)
        problems += (item for item in found if isinstance(item, BadInput))
        targets = [item for item in found if isinstance(item, Target)]
        may_name_keys = isinstance(inputs.get("vms"), Mapping) or not is_hidden("vms", inputs)
        checks, vms = inputs.get("checks"), inputs.get("vms")
        problems += key_problems(checks, vms, lambda text: _is_reference(parse, text), may_name_keys=may_name_keys)
        problems += _guest_problems(platform, inputs)
        single = {target.key for target in targets if not target.reference.is_group}
        problems += accept_problems(inputs.get("accept"), vms, single, may_name_keys=may_name_keys)
    problems += _start_problems(inputs)
    order = list(ARGUMENTS)
    return sorted(problems, key=lambda problem: order.index(problem.argument)), targets


def _targets(vms: Any, uuids: Any, parse: Callable[[str], Any]) -> list[Target[Any] | BadInput]:
    """Parses references; a map in the order of its keys, because the engine keeps none and people read reports."""
    if isinstance(vms, str) or not isinstance(vms, Mapping | Sequence):
        return []
    is_map = isinstance(vms, Mapping)
    items: Any = enumerate(vms)
    if isinstance(vms, Mapping):
        items = sorted(vms.items(), key=lambda item: str(item[0]))
    found: list[Target[Any] | BadInput] = []
    named: list[tuple[str, Any]] = []
    texts: dict[str, str] = {}
    for key, text in items:
        if is_unknown(text) or not isinstance(text, str) or not text.strip():
            continue
        place = f"[{shown(key)}]"
        texts[place] = text
        try:
            reference = parse(text)
        except InvalidReferenceError as error:
            found.append(BadInput("vms", error.expected, text, place))
            continue
        found.append(Target(key if is_map else None, reference, _uuid_of(uuids, key)))
        named.append((place, reference))
    for first, second in duplicates(named):
        found.append(BadInput("vms", "each VM once", texts[second], second, f"vms{first} is the same VM"))
    return found


def _uuid_of(uuids: Any, key: Any) -> str:
    """Returns the UUID that the program knows of a VM; it knows none of a text."""
    if isinstance(uuids, Mapping):
        uuid = uuids.get(key)
    else:
        uuid = uuids[key] if is_list(uuids) and isinstance(key, int) and key < len(uuids) else None
    return uuid if isinstance(uuid, str) else ""


def _is_reference(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except InvalidReferenceError:
        return False
    return True


def _guest_problems(platform: Platform, inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    """Yields what the platform does not report."""
    if platform.reports_guests:
        return
    ready_when = inputs.get("ready_when")
    if ready_when == "guest_operations":
        expected = "'customized', because Cloud Director does not report guest operations"
        yield BadInput("ready_when", expected, ready_when)
    if inputs.get("checks"):
        yield BadInput("checks", "no checks, because Cloud Director reports nothing to check")


def _start_problems(inputs: Mapping[str, Any]) -> Iterator[BadInput]:
    timeout, start_timeout = inputs.get("timeout"), inputs.get("start_timeout")
    whole, start = seconds_or_none(timeout), seconds_or_none(start_timeout)
    if whole is not None and start is not None and start > whole > 0:
        limit = "timeout" if is_hidden("timeout", inputs) else f"timeout ({shown(timeout)})"
        yield BadInput("start_timeout", f"a time that is not longer than {limit}", start_timeout)
