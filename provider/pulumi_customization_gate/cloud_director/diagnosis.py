"""Why a VM of Cloud Director is not ready, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.core.status import Progress
from pulumi_customization_gate.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.cloud_director.representations import InventoryVm

FAILED = (
    "Cloud Director does not report the reason; see /var/log/vmware-imc in a Linux guest and "
    r"C:\Windows\Temp\customize-guest.log in a Windows guest"
)
"""The message beside GC_FAILED, which the server reports without a reason."""
_FORCE = (
    "likely cause: customization was enabled after the first power-on, so it does not start by itself; power "
    'the VM off and choose "Power On and Force Recustomization" (API: deploy with forceCustomization="true")'
)


def explain(
    state: str, inventory: InventoryVm | None, seconds: float, *, fault: str = "", silence: float = 0.0
) -> Sequence[str]:
    """Returns the likeliest cause, then what is known.

    Args:
        state: The state in the server's word, empty where it never reported one.
        inventory: What the inventory reports, where it does.
        seconds: How long ago this wait first read the state.
        fault: Why the last read did not report the state, empty where it did: what is known is old then, and no cause
            is looked for in it.
        silence: The seconds since the last answer.
    """
    facts = [f"status: {state} for {duration(seconds)}" if state else "status: not reported by the server"]
    if inventory is not None:
        facts.append(f"power: {_POWER[inventory.powered_on]}")
        facts.append(f"VMware Tools: {_TOOLS[inventory.tools_running]}")
    cause = _cause(state, inventory)
    if fault:
        cause = (
            f"likely cause: the server has not reported the VM's state for {duration(silence)}, and the next "
            f"lines are from its last report; {fault}"
        )
    return [cause, *facts] if cause else facts


_POWER = {True: "on", False: "off", None: "unknown"}
_TOOLS = {True: "running", False: "not running", None: "unknown"}


def _cause(state: str, inventory: InventoryVm | None) -> str:
    progress = progress_of(state)
    if progress is Progress.DISABLED:
        return "likely cause: guest customization is not enabled for this VM"
    if progress is Progress.FAILED:
        return FAILED
    if inventory is not None and inventory.powered_on is False:
        return "likely cause: the VM is powered off; its customization starts after the next power-on"
    if progress is not Progress.PENDING_OR_RUNNING or inventory is None or inventory.powered_on is None:
        return ""
    if inventory.tools_running is False:
        return "likely cause: VMware Tools are not running in the guest, and customization cannot start without them"
    return _FORCE
