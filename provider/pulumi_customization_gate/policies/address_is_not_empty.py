"""The rule `address-is-not-empty`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, ResourceValidationPolicy, Severity

from pulumi_customization_gate.policies.addresses import addresses, is_empty
from pulumi_customization_gate.policies.options import Options, schema
from pulumi_customization_gate.policies.phrases import name
from pulumi_customization_gate.policies.rule import url

if TYPE_CHECKING:
    from pulumi_policy import ReportViolation, ResourceValidationArgs


def _check(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
    options = Options.read(ADDRESS_IS_NOT_EMPTY, args.get_config())
    if not any(fnmatchcase(args.resource_type, pattern) for pattern in options.work_types):
        return
    if any(exemption.covers(args.name, ()) for exemption in options.exempt):
        return
    for path, value in addresses(args.props):
        if is_empty(value):
            report_violation(
                f"{name(args)} must have an address in {path}: it is empty, and a connection to an empty address "
                'reaches the computer that runs Pulumi.\nWrite: gate.address("<key of the VM>")'
            )


ADDRESS_IS_NOT_EMPTY = ResourceValidationPolicy(
    name="address-is-not-empty",
    description="Checks whether the address of work in a guest has a host, immediately before the work is created.",
    validate=_check,
    enforcement_level=EnforcementLevel.MANDATORY,
    config_schema=schema("exempt", "workTypes"),
    severity=Severity.CRITICAL,
    remediation_steps="Write gate.address(key) in place of default_ip_address or guest_ip_addresses of the VM.",
    url=url("address-is-not-empty"),
)
"""No address of work in a guest is empty, wherever it comes from. The engine asks again during the update."""
