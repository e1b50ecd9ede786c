"""Turns off the waits of a VM resource: the gate waits instead, for all VMs at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi

if TYPE_CHECKING:
    from collections.abc import Callable

    import pulumi_vsphere as vsphere


def without_waits(args: vsphere.VirtualMachineArgs) -> vsphere.VirtualMachineArgs:
    """Returns a copy of a VM's arguments with which the resource waits neither for the network nor for customization.

    An address before the end of the customization proves nothing, and with the default of `wait_for_guest_net_timeout`,
    five minutes, a Windows VM fails before a gate starts.
    """
    changed = copy.copy(args)
    changed.wait_for_guest_net_timeout = 0
    changed.wait_for_guest_ip_timeout = 0
    if changed.clone is not None:
        changed.clone = _with(changed.clone, customize=_unwaited, customization_spec=_unwaited)
    return changed


def _unwaited(customization: Any) -> Any:
    return _with(customization, timeout=lambda _: 0)


def _with(value: Any, **changes: Callable[[Any], Any]) -> Any:
    """Returns a copy of an input, whatever its form, in which the given fields are changed.

    A time-out is set even where none is given, because its default is a wait.
    """
    if isinstance(value, pulumi.Output):
        return value.apply(lambda known: _with(known, **changes))
    if value is None:
        return None
    is_map = isinstance(value, Mapping)
    changed = dict(value) if is_map else copy.copy(value)
    for name, change in changes.items():
        # A map may have the names of the schema.
        key = _camel(name) if is_map and _camel(name) in value else name
        old = value.get(key) if is_map else getattr(value, name)
        if old is None and name != "timeout":
            continue
        if isinstance(changed, dict):
            changed[key] = change(old)
        else:
            setattr(changed, name, change(old))
    return changed


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
