"""What all rules have in common: how they are made, and which resources a configuration exempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import EnforcementLevel, Severity, StackValidationPolicy

from pulumi_customization_gate.policies.options import Options, schema
from pulumi_customization_gate.policies.properties import labels
from pulumi_customization_gate.policies.watched_stack import WatchedStack

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_policy import PolicyResource, ReportViolation, StackValidationArgs

_DOCUMENTATION = "docs/policies.md"
"""Where the rules are documented, relative to the root of the repository; a rule's name is its heading."""


def url(name: str) -> str:
    """Returns where a rule is documented."""
    return f"{_DOCUMENTATION}#{name}"


class Question:
    """One stack and the configuration with which a rule checks it."""

    def __init__(self, policy: StackValidationPolicy, args: StackValidationArgs) -> None:
        self.options = Options.read(policy, args.get_config())
        self.stack = WatchedStack(args.resources, self.options)
        self.resources = args.resources
        """All resources of the stack, in any order."""

    def exempts(self, resource: PolicyResource) -> bool:
        """Returns whether the configuration exempts a resource."""
        if not self.options.exempt:
            return False
        tags = labels(resource)
        return any(exemption.covers(resource.name, tags) for exemption in self.options.exempt)


def rule(
    name: str,
    description: str,
    check: Callable[[Question, ReportViolation], None],
    *,
    level: EnforcementLevel,
    severity: Severity,
    remediation: str,
    options: tuple[str, ...],
) -> StackValidationPolicy:
    """Returns a policy over a whole stack.

    Args:
        name: The rule's name, also in the configuration.
        description: What the rule checks, as a sentence that begins with "Checks whether".
        check: Reports each violation.
        level: What a violation does, unless the configuration sets it.
        severity: How much harm a violation can do.
        remediation: What to change where the rule is violated.
        options: The keys of its configuration.
    """

    def validate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
        check(Question(policy, args), report_violation)

    policy = StackValidationPolicy(
        name=name,
        description=description,
        validate=validate,
        enforcement_level=level,
        config_schema=schema(*options),
        severity=severity,
        remediation_steps=remediation,
        url=url(name),
    )
    return policy
