"""From a judgement and the rules to an outcome and its failure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.core.advice import Advice, advice_of
from pulumi_customization_gate.core.errors import ServerError
from pulumi_customization_gate.core.model import Failure, GateReport, Missing, Observation, VmRef
from pulumi_customization_gate.core.outcomes import Situation, WaitRules, failure_of, is_customized, outcome_of
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind
from pulumi_customization_gate.core.verdict import judge
from tests.unit.core.timeline import ALL_READ, VM, at, failed, gone, read, removed, started, starting, succeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

WEB = VmRef("web", VM, "web-1")
RULES = WaitRules(start_timeout=600)
OPTIONAL = WaitRules(requires_customization=False)


def situation(
    *observations: Observation, rules: WaitRules = RULES, overdue: bool = False, unmet: str = ""
) -> Situation:
    judgement = judge(observations)
    return Situation(WEB, judgement, is_customized(judgement, rules, is_overdue=overdue), overdue, unmet, at(99))


@pytest.mark.parametrize(
    ("observed", "overdue", "rules", "ready", "settled"),
    [
        pytest.param([succeeded(5)], False, RULES, True, True, id="succeeded"),
        pytest.param([failed(5)], False, RULES, False, True, id="failed"),
        pytest.param([started(5)], False, RULES, False, False, id="runs"),
        pytest.param([read(5, "PENDING")], False, RULES, False, False, id="pending"),
        pytest.param([read(5, "PENDING")], True, RULES, False, True, id="pending and overdue"),
        pytest.param([read(5, "IDLE"), ALL_READ], False, RULES, False, True, id="none requested, one required"),
        pytest.param([read(5, "IDLE"), ALL_READ], False, OPTIONAL, True, True, id="none requested, none required"),
        pytest.param([read(5), ALL_READ], False, OPTIONAL, False, False, id="no state reported yet"),
        pytest.param([read(5), ALL_READ], True, OPTIONAL, True, True, id="no state reported in time"),
        pytest.param([gone(5), gone(7)], False, OPTIONAL, False, True, id="not there"),
    ],
)
def test_ready_and_settled(
    observed: Sequence[Observation], overdue: bool, rules: WaitRules, ready: bool, settled: bool
) -> None:
    """A VM is settled once nothing more can be learned about it, and ready if it is customized or need not be."""
    seen = situation(*observed, rules=rules, overdue=overdue)

    assert (ready, settled) == (seen.is_ready, seen.is_settled)


def test_a_customized_vm_that_lacks_something_is_neither_ready_nor_settled() -> None:
    """The wait goes on until its guest answers, whatever the customization came to."""
    seen = situation(succeeded(5), unmet="no answer")

    assert (seen.is_ready, seen.is_settled, outcome_of(seen).ready_at) == (False, False, None)


def test_an_untraced_vm_is_reported_as_not_customized() -> None:
    """Where time alone showed that none was requested, the outcome says so."""
    outcome = outcome_of(situation(starting(1), read(5), ALL_READ, rules=OPTIONAL, overdue=True))

    assert (
        outcome.status,
        outcome.evidence,
        outcome.ready,
    ) == (CustomizationStatus.NOT_CUSTOMIZED, Evidence.NO_TRACE, True)


@pytest.mark.parametrize(
    ("seen", "timed_out", "kind", "advice"),
    [
        pytest.param(situation(failed(5)), False, FailureKind.CUSTOMIZATION_FAILED, Advice.REPLACE, id="failed"),
        pytest.param(
            situation(read(1, "GC_PENDING"), replace(read(5, "GC_FAILED"), can_repeat=True)),
            False,
            FailureKind.CUSTOMIZATION_FAILED,
            Advice.CUSTOMIZE_AGAIN,
            id="failed where the same VM can be customized again",
        ),
        pytest.param(
            situation(read(5, "IDLE"), ALL_READ),
            False,
            FailureKind.NO_CUSTOMIZATION,
            Advice.REQUEST_CUSTOMIZATION,
            id="none requested",
        ),
        pytest.param(
            situation(starting(1), overdue=True),
            True,
            FailureKind.START_TIMEOUT,
            Advice.FIND_START_FAULT,
            id="both deadlines",
        ),
        pytest.param(situation(started(1)), True, FailureKind.TIMEOUT, Advice.WAIT_LONGER, id="deadline"),
        pytest.param(situation(started(1)), False, FailureKind.UNFINISHED, None, id="ended by another VM"),
        pytest.param(
            situation(succeeded(1), unmet="x"), True, FailureKind.NOT_READY, Advice.WAIT_LONGER, id="not ready"
        ),
        pytest.param(
            situation(gone(1), gone(3)), False, FailureKind.NOT_FOUND, Advice.CORRECT_REFERENCE, id="never there"
        ),
        pytest.param(
            situation(Missing(VM, at(1), FailureKind.NO_PERMISSION)),
            False,
            FailureKind.NO_PERMISSION,
            Advice.GRANT_PERMISSION,
            id="may not be read",
        ),
        pytest.param(
            situation(read(0), removed(1)), False, FailureKind.VM_REMOVED, Advice.RESTORE_OR_DROP, id="removed"
        ),
        pytest.param(
            situation(read(0, "GC_PENDING"), gone(1), gone(3)),
            False,
            FailureKind.VM_REMOVED,
            Advice.RESTORE_OR_DROP,
            id="removed, whatever its last state was",
        ),
    ],
)
def test_kind_and_advice_of_a_failure(
    seen: Situation, timed_out: bool, kind: FailureKind, advice: Advice | None
) -> None:
    """Each way not to be ready has one kind, and one advice where there is something to do."""
    failure = failure_of(seen, RULES, timed_out=timed_out, diagnose=lambda: ["a fact"])

    assert failure is not None
    assert (kind, advice) == (failure.kind, failure.advice)


def test_a_ready_vm_has_no_failure() -> None:
    """Nothing is asked about a VM that is ready."""

    def diagnose() -> Sequence[str]:
        raise AssertionError

    assert failure_of(situation(succeeded(5)), RULES, timed_out=True, diagnose=diagnose) is None


def test_advice_is_given_once_for_all_vms_that_it_is_about() -> None:
    """VMs with the same advice share a sentence; a wait that ended early is resumed first."""

    def bad(key: str, advice: Advice) -> object:
        outcome = outcome_of(situation(started(1)), Failure(FailureKind.TIMEOUT, advice=advice))
        return replace(outcome, key=key)

    outcomes = (bad("a", Advice.WAIT_LONGER), bad("b", Advice.REPLACE), bad("c", Advice.WAIT_LONGER))
    report = GateReport(outcomes, 1.0, fatal_error=ServerError("lost"))  # type: ignore[arg-type]

    assert list(advice_of(report)) == [
        (Advice.RESUME, ()),
        (Advice.REPLACE, ("b",)),
        (Advice.WAIT_LONGER, ("a", "c")),
    ]
