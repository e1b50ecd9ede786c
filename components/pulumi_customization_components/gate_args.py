"""The arguments that a component passes to its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 -- the hints of a TypedDict are read at run time
from typing import Any, Literal, TypedDict

from pulumi import Input  # noqa: TC002 -- the same

from pulumi_customization_gate import Check  # noqa: TC001 -- the same


class GateArgs(TypedDict, total=False):
    """The arguments of a component's CustomizationGate, except the VMs and the platform."""

    config_namespace: Input[str]
    """The namespace of stack config that holds server and credentials; default "vsphere"."""
    timeout: Input[float | str]
    """The time for the whole wait, in seconds or as a duration such as "30m"; default 1800."""
    start_timeout: Input[float | str]
    """The time in which customization must have started; default the smaller of 600 and `timeout`."""
    expect: Input[Literal["required", "optional"]]
    """"required" (default), or "optional": a VM with no trace of a customization passes."""
    ready_when: Input[Literal["customized", "guest_operations"]]
    """"customized" (default), or "guest_operations": guest operations must stay ready for `settle`."""
    settle: Input[float | str]
    """The time for which guest operations must stay ready; default 30."""
    checks: Input[Sequence[Input[Check | Mapping[str, Any]]]]
    """Conditions that must hold after success."""
    accept: Input[Mapping[str, Input[str]]]
    """A map from the gate's keys to reasons: a VM whose customization failed and that was repaired by hand counts as
    ready. A key is `<fleet>-<key>` in a GatedFleet, and the name of the component in a GatedVirtualMachine."""
    on_failure: Input[Literal["fail", "report"]]
    """"fail" (default), or "report": the gate opens, and its statuses report what failed."""
    guest_logs: Input[bool]
    """Whether a failure shows the last 40 lines of the guest's customization log; default true."""
    triggers: Input[Mapping[str, Any] | Sequence[Any]]
    """A map or a list of anything; a change judges all VMs again."""
