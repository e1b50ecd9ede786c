"""The policy pack of an organization: the rules that require a gate, except one, and a rule of its own."""

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
)

from pulumi_customization_gate.policies import GATE_TIMEOUT_IS_SANE, POLICIES


def check_name(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
    """Reports a VM whose name in the program does not begin with a team."""
    if args.resource_type == "vsphere:index/virtualMachine:VirtualMachine" and not args.name.startswith("shop-"):
        report_violation(f'"{args.name}" must begin with the name of a team, for example "shop-{args.name}"')


VM_NAMES_ITS_TEAM = ResourceValidationPolicy(
    name="vm-names-its-team",
    description="Checks whether the name of every VM begins with the name of a team.",
    validate=check_name,
    enforcement_level=EnforcementLevel.ADVISORY,
    severity=Severity.LOW,
    remediation_steps="Rename the VM, with an alias for its old name.",
)

PolicyPack(
    name="acme",
    description="The rules of a fictional organization.",
    policies=[*(rule for rule in POLICIES if rule is not GATE_TIMEOUT_IS_SANE), VM_NAMES_ITS_TEAM],
    # The levels and options that the organization chooses. --policy-pack-config overrides them for a single run.
    initial_config={
        "customized-vm-requires-gate": {
            "enforcementLevel": EnforcementLevel.MANDATORY,
            "exempt": [{"name": "legacy-*", "reason": "images that customize themselves, until they are replaced"}],
        },
        "gated-vm-does-not-wait-twice": EnforcementLevel.MANDATORY,
    },
)
