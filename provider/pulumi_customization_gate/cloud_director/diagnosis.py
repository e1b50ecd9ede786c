"""Why a VM of Cloud Director is not ready, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.core.model import Progress
from pulumi_customization_gate.core.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.cloud_director.representations import Machine

FAILED = (
    "Cloud Director does not report the reason; see /var/log/vmware-imc in a Linux guest and "
    r"C:\Windows\Temp\customize-guest.log in a Windows guest"
)
"""What is said beside GC_FAILED, which comes without a reason."""
_FORCE = (
    "likely cause: customization was enabled after the first power-on, so it does not start by itself; power "
    'the VM off and choose "Power On and Force Recustomization" (API: deploy with forceCustomization="true")'
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
    facts = [f"status: {state} for {duration(seconds)}" if state else "status: not reported by the server"]
    if machine is not None:
        facts.append(f"power: {_POWER[machine.powered_on]}")
        facts.append(f"VMware Tools: {_TOOLS[machine.tools_running]}")
    cause = _cause(state, machine)
    if fault:
        cause = (
            f"likely cause: the server has not reported the VM's state for {duration(silence)}, so the following is "
            f"as old; {fault}"
        )
    return [cause, *facts] if cause else facts


_POWER = {True: "on", False: "off", None: "unknown"}
_TOOLS = {True: "running", False: "not running", None: "unknown"}


def _cause(state: str, machine: Machine | None) -> str:
    progress = progress_of(state)
    if progress is Progress.DISABLED:
        return "likely cause: guest customization is not enabled for this VM"
    if progress is Progress.FAILED:
        return FAILED
    if machine is not None and machine.powered_on is False:
        return "likely cause: the VM is powered off; its customization starts after the next power-on"
    if progress is not Progress.PENDING_OR_RUNNING or machine is None or machine.powered_on is None:
        return ""
    if machine.tools_running is False:
        return "likely cause: VMware Tools are not running in the guest, and customization cannot start without them"
    return _FORCE
