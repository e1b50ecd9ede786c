"""Why a machine of Cloud Director did not get there, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.readings import DISABLED
from pulumi_customization_gate.core.report import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.cloud_director.representations import Machine

FAILED = (
    "Cloud Director keeps the reason to itself: it stands in the guest, in /var/log/vmware-imc on Linux and in "
    r"C:\Windows\Temp\customize-guest.log on Windows"
)
"""What is said beside GC_FAILED, which comes without a reason."""
_FORCE = (
    "it is likely that customization was enabled after the first power-on, and then it never begins by itself: power "
    'the machine off and choose "Power On and Force Recustomization" (API: deploy with forceCustomization="true")'
)


def explain(
    state: str, machine: Machine | None, seconds: float, *, fault: str = "", silence: float = 0.0
) -> Sequence[str]:
    """Returns the likeliest cause, then what is known.

    Args:
        state: The state in the server's word, or nothing where it never told one.
        machine: What the inventory says, if it said anything.
        seconds: For how long this wait has seen the state.
        fault: What came of the last question about the machine, where that was no answer: then what is known is old,
            and no cause is looked for in it.
        silence: The seconds since the last answer.
    """
    facts = [f"status: {state} for {duration(seconds)}" if state else "status: the server never told it"]
    if machine is not None:
        facts.append(f"power: {_POWER[machine.powered_on]}")
        facts.append(f"VMware Tools: {_TOOLS[machine.tools_running]}")
    cause = _cause(state, machine)
    if fault:
        cause = (
            f"the server has not told the machine's state for {duration(silence)}, and the following is as old: {fault}"
        )
    return [cause, *facts] if cause else facts


_POWER = {True: "on", False: "off", None: "not told"}
_TOOLS = {True: "running", False: "not running", None: "not told"}


def _cause(state: str, machine: Machine | None) -> str:
    if state == DISABLED:
        return "guest customization is not enabled for this machine"
    if state == "GC_FAILED":
        return FAILED
    if machine is not None and machine.powered_on is False:
        return "the machine is powered off: its customization begins after the next power-on"
    if state != "GC_PENDING" or machine is None or machine.powered_on is None:
        return ""
    if machine.tools_running is False:
        return "VMware Tools does not run in the guest, and without it customization cannot begin"
    return _FORCE
