"""What a component hands on to its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 -- who reads the hints of a TypedDict reads them at run time
from typing import Any, TypedDict

from pulumi import Input  # noqa: TC002 -- the same


class GateArgs(TypedDict, total=False):
    """The arguments of a component's CustomizationGate, all but the machines."""

    config_namespace: Input[str]
    """The namespace of stack config that holds server and credentials; default "vsphere"."""
    timeout: Input[float]
    """Seconds for the whole wait; default 1800."""
    start_timeout: Input[float]
    """Seconds in which customization must have started; default the smaller of 600 and `timeout`."""
    expect: Input[str]
    """"required" (default), or "optional": a machine of which nobody asked a customization passes."""
    ready_when: Input[str]
    """"customized" (default), or "guest_operations": guest operations must stay ready for `settle` seconds."""
    settle: Input[float]
    """Seconds; default 30."""
    checks: Input[Sequence[Mapping[str, Any]]]
    """Conditions after success, each a map with a `kind`."""
    on_failure: Input[str]
    """"fail" (default), or "report": the gate opens and its statuses tell."""
    triggers: Input[Mapping[str, Any]]
    """Any map; a change judges all machines again."""
