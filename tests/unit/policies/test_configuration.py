"""The configuration of the rules, and what every rule has."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi_policy import EnforcementLevel, Severity

from lab.paths import ROOT
from pulumi_customization_gate import CustomizationGate, policies
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.platforms import DEFAULT_TIMEOUT
from tests.unit.policies.stacks import (
    GATE,
    customized_vm,
    gate,
    judge,
    violators,
)


def test_has_the_enforcement_of_the_documentation() -> None:
    """The rules about gates and addresses stop an update, the others advise."""
    assert {policy.name: policy.enforcement_level for policy in policies.POLICIES} == {
        "customized-vm-requires-gate": EnforcementLevel.MANDATORY,
        "guest-work-waits-for-gate": EnforcementLevel.MANDATORY,
        "address-comes-from-gate": EnforcementLevel.MANDATORY,
        "address-is-not-empty": EnforcementLevel.MANDATORY,
        "gated-vm-does-not-wait-twice": EnforcementLevel.ADVISORY,
        "gate-timeout-is-sane": EnforcementLevel.ADVISORY,
    }


@pytest.mark.parametrize("policy", policies.POLICIES, ids=lambda policy: str(policy.name))
@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param({"exemptions": []}, "expected only the keys .*exempt.*, got exemptions", id="misspelt key"),
        pytest.param({"exempt": [{"name": "web"}]}, 'expected entries with a "reason"', id="no reason"),
        pytest.param({"exempt": [{"reason": "r"}]}, 'a "name" or a "tag"', id="no pattern"),
    ],
)
def test_refuses_what_means_nothing(policy: Any, config: dict[str, Any], message: str) -> None:
    """A configuration that would be ignored is an error instead."""
    with pytest.raises(ConfigurationError, match=message):
        judge(policy, **config)


def test_every_rule_says_what_to_do_and_where_to_read() -> None:
    """Each rule has a severity and a remediation, and its URL leads to a heading of the documentation."""
    headings = {
        line.strip("# `")
        for line in (ROOT / "docs/policies.md").read_text(encoding="utf-8").splitlines()
        if line[:1] == "#"
    }
    for policy in policies.POLICIES:
        assert str(policy.description).startswith("Checks whether ")
        assert isinstance(policy.severity, Severity)
        assert str(policy.remediation_steps).endswith(".")
        path, _, heading = str(policy.url).partition("#")
        assert (path, heading) == ("docs/policies.md", policy.name)
        assert heading in headings


def test_refuses_an_argument_that_cannot_be_allowed() -> None:
    """Only the arguments that weaken a gate can be allowed."""
    with pytest.raises(ConfigurationError, match=r"allow: expected arguments of on_failure, .*, got timeout"):
        judge(policies.CUSTOMIZED_VM_REQUIRES_GATE, allow=["timeout"])


def test_refuses_the_key_of_another_rule() -> None:
    """A key that only another rule knows is refused by name."""
    with pytest.raises(
        ConfigurationError,
        match="customized-vm-requires-gate: expected only the keys allow, exempt, vmTypes, got bounds",
    ):
        judge(policies.CUSTOMIZED_VM_REQUIRES_GATE, bounds={})


def test_refuses_crossed_bounds() -> None:
    """A minimum above its maximum, be it the built-in one, is refused."""
    with pytest.raises(ConfigurationError, match="expected a minimum below the maximum of 3600 s, got 9000 s"):
        judge(policies.GATE_TIMEOUT_IS_SANE, bounds={"linux": {"minimum": 9000}})


def test_strips_control_characters() -> None:
    """Control characters in a resource's name do not reach the terminal."""
    [(_, message)] = judge(policies.CUSTOMIZED_VM_REQUIRES_GATE, customized_vm("web\x1b[2J"))
    assert "\x1b" not in message


def test_knows_the_type_of_the_gate() -> None:
    """The rules look for the very type that the library's resource has in every stack."""
    assert f"pulumi-python:{CustomizationGate._resource_type_name}" == GATE


def test_knows_the_default_timeout_of_the_gate() -> None:
    """A gate without a timeout is judged by the one it takes."""
    vm = customized_vm()
    bounds = {"linux": {"minimum": DEFAULT_TIMEOUT, "maximum": DEFAULT_TIMEOUT}}
    assert violators(policies.GATE_TIMEOUT_IS_SANE, vm, gate(vm), bounds=bounds) == []
