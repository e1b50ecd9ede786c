"""The sentences about what to do: for a Pulumi program, and after an error of the connection for the command, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.core.advice import Advice
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.lifecycle.spelling import spelled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pulumi_customization_gate.core.errors import GateError
    from pulumi_customization_gate.core.model import GateReport

DOCTOR = "`customization-gate doctor` checks the connection, the login and the rights step by step."
MOST_URNS = 3
"""URNs that are shown; a command with more is longer than a program's source."""
_CONSUMED = "The customization specification was consumed by this attempt. Fix it, then replace {vms}:"


def phrases(inputs: Mapping[str, Any]) -> dict[Advice, str]:
    """Returns the sentences, in which `{vms}` stands for names of VMs.

    Args:
        inputs: The gate's inputs, by which the names of its arguments are spelled.
    """
    start_timeout = spelled("start_timeout", inputs)
    return {
        Advice.RESUME: "Customization continues without the wait: run `pulumi up` again to resume waiting.",
        Advice.CUSTOMIZE_AGAIN: (
            'Correct the guest customization of {vms}, power off each VM, choose "Power On and Force Recustomization", '
            "then run `pulumi up` again."
        ),
        Advice.REPLACE: (
            f"{_CONSUMED} `pulumi up --replace URN`; `pulumi stack --show-urns` lists the URN of each VM."
        ),
        Advice.CORRECT_REFERENCE: "Correct the reference of {vms} in `vms`, then run `pulumi up` again.",
        Advice.GRANT_PERMISSION: "Grant this user the role Read-only on {vms}, then run `pulumi up` again.",
        Advice.RESTORE_OR_DROP: (
            "Create {vms} again, or remove what no longer exists from `vms`, then run `pulumi up` again."
        ),
        Advice.REQUEST_CUSTOMIZATION: (
            'Clone {vms} again with a customization specification, or set `expect` to "optional" if none is intended.'
        ),
        Advice.FIND_START_FAULT: (
            "Find out why customization does not start on {vms}, for example by `customization-gate events`; run "
            f"`pulumi up` again to resume waiting, and increase `{start_timeout}` to wait longer."
        ),
        Advice.POWER_ON: "Power on {vms}, then run `pulumi up` again.",
        Advice.WAIT_LONGER: (
            "{vms} may still become ready: run `pulumi up` again to resume waiting, "
            "and increase `timeout` to wait longer."
        ),
    }


def phrases_for(report: GateReport, urns: Mapping[str, str], inputs: Mapping[str, Any]) -> Mapping[Advice, str]:
    """Returns the sentences for a report: the one about a replacement is the command, where all its URNs are known.

    Args:
        report: The report of a wait.
        urns: The URNs of the VMs that are resources of the program, by the VMs' identifiers.
        inputs: The gate's inputs.
    """
    found = phrases(inputs)
    failures = ((outcome.id, outcome.failure) for outcome in report.outcomes if not outcome.ready)
    replaced = [vm for vm, failure in failures if failure is not None and failure.advice is Advice.REPLACE]
    if not 0 < len(replaced) <= MOST_URNS or not urns.keys() >= set(replaced):
        return found
    command = " ".join(["pulumi up", *(f"--replace '{sanitize(urns[vm])}'" for vm in replaced)])
    literal = command.replace("{", "{{").replace("}", "}}")
    return {**found, Advice.REPLACE: f"{_CONSUMED} `{literal}`"}


def hint_of(error: GateError, *, cancelled: bool) -> str:
    """Returns the line that follows an error which ended the work: how to find out why the server cannot be used.

    Args:
        error: The error; one that holds a report, or is about an input, needs no such line.
        cancelled: Whether the user ended the work; nothing is wrong with the server then.
    """
    return f"\n{DOCTOR}" if isinstance(error, ServerError) and not cancelled else ""
