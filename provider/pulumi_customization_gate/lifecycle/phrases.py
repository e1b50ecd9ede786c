"""The sentences about what to do, for a Pulumi program."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.advice import Advice

if TYPE_CHECKING:
    from collections.abc import Mapping

PHRASES: Mapping[Advice, str] = MappingProxyType(
    {
        Advice.RESUME: "Customization continues without the wait: run `pulumi up` again to resume waiting.",
        Advice.CUSTOMIZE_AGAIN: (
            "Correct the guest customization of {vms}, power on with forced customization, then run `pulumi up` again."
        ),
        Advice.REPLACE: (
            "The customization specification was consumed by this attempt. Fix it, then replace {vms}: "
            "`pulumi up --replace URN`; `pulumi stack --show-urns` lists the URN of each VM."
        ),
        Advice.CORRECT_REFERENCE: "Correct the reference of {vms} in `vms`, then run `pulumi up` again.",
        Advice.GRANT_PERMISSION: "Grant this user the role Read-only on {vms}, then run `pulumi up` again.",
        Advice.RESTORE_OR_DROP: "Create {vms} again or remove it from `vms`, then run `pulumi up` again.",
        Advice.REQUEST_CUSTOMIZATION: (
            'Add a customization specification to {vms} and replace it, or set `expect="optional"` if none is intended.'
        ),
        Advice.FIND_START_FAULT: (
            "Find out why customization does not start on {vms}; run `pulumi up` again to resume waiting, "
            "and increase `start_timeout` to wait longer."
        ),
        Advice.POWER_ON: "Power on {vms}, then run `pulumi up` again.",
        Advice.WAIT_LONGER: (
            "{vms} may still become ready: run `pulumi up` again to resume waiting, "
            "and increase `timeout` to wait longer."
        ),
    }
)
