"""Which failure an acceptance covers, in whatever order and batches the observations come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.core.acceptance import Acceptance
from pulumi_customization_gate.core.model import Observation, VmRef
from pulumi_customization_gate.core.outcomes import WaitRules, failure_of, outcome_of
from pulumi_customization_gate.core.results import result_of, time_of
from pulumi_customization_gate.core.tracking import TrackedVms
from tests.unit.core.timeline import VM, at, failed, read, started, starting, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pulumi_customization_gate.core.outcomes import Situation

WEB = VmRef("web", VM, "web-1")
REASON = "ticket 4711"
FAILED_AT = time_of(at(5))
ONCE = (starting(0), started(1), failed(5), read(6, "FAILED"))
AGAIN = (*ONCE, starting(7), started(8), failed(9), read(10, "FAILED"))
GOES_ON = (*ONCE, starting(7), started(8), read(9, "RUNNING"))
SUCCEEDED = (*ONCE, starting(7), started(8), succeeded(9), read(10, "SUCCEEDED"))


def situation_after(batches: Iterable[Sequence[Observation]], acceptance: Acceptance) -> Situation:
    tracked = TrackedVms([WEB], WaitRules(accepted={VM: acceptance}), 0.0)
    for number, batch in enumerate(batches):
        tracked.observe(batch, float(number))
    return tracked.situation(WEB, 100.0, None)


@pytest.mark.parametrize(
    ("story", "failed_at", "accepted", "customized"),
    [
        pytest.param(ONCE, FAILED_AT, REASON, True, id="the accepted failure"),
        pytest.param(AGAIN, FAILED_AT, "", False, id="a newer failure"),
        pytest.param(AGAIN, time_of(at(9)), REASON, True, id="the newer failure, accepted"),
        pytest.param(ONCE, None, "", False, id="another failure than one without a time"),
        pytest.param(GOES_ON, FAILED_AT, "", False, id="customized again"),
        pytest.param(SUCCEEDED, FAILED_AT, "", True, id="a later success, which needs no acceptance"),
    ],
)
@given(data=st.data())
def test_an_acceptance_covers_one_failure(
    story: Sequence[Observation], failed_at: str | None, accepted: str, customized: bool, data: st.DataObject
) -> None:
    """The failure is known by its time, in any order and with any repetition."""
    order = data.draw(st.permutations([*story, *story[:2]]))
    seen = situation_after([[one] for one in order], Acceptance("web", REASON, failed_at))
    assert (seen.accepted, seen.is_customized) == (accepted, customized)


@pytest.mark.parametrize(
    ("states", "accepted"),
    [
        pytest.param(["FAILED"], REASON, id="failed throughout"),
        pytest.param(["FAILED", "FAILED"], REASON, id="read twice"),
        pytest.param(["FAILED", "RUNNING"], "", id="customized again"),
        pytest.param(["FAILED", "RUNNING", "FAILED"], "", id="failed again"),
        pytest.param(["PENDING", "FAILED"], "", id="failed during the wait"),
    ],
)
def test_a_failure_without_a_time_is_the_accepted_one_until_the_state_changes(states: list[str], accepted: str) -> None:
    """A server that reports only a state cannot tell two failures apart once another state was observed."""
    batches = [[read(number, state)] for number, state in enumerate(states, 1)]
    assert situation_after(batches, Acceptance("web", REASON, None)).accepted == accepted


def test_an_acceptance_is_that_of_its_key() -> None:
    """Under another key of the caller's the same VM is not accepted."""
    assert situation_after([ONCE], Acceptance("db", REASON, FAILED_AT)).accepted == ""


def test_an_accepted_outcome_keeps_its_failure() -> None:
    """The VM is ready, and status and failure say what happened."""
    seen = situation_after([ONCE], Acceptance("web", REASON, FAILED_AT))
    outcome = outcome_of(seen, failure_of(seen, WaitRules(), timed_out=False, diagnose=lambda: ()))
    result = result_of(outcome)
    assert outcome.ready
    assert (result["status"], result["accepted"]) == ("CustomizationFailed", REASON)
    assert result["failure"]["kind"] == "CustomizationFailed"


def test_an_accepted_vm_that_is_off_is_not_ready() -> None:
    """What holds for a customized VM holds for it."""
    seen = situation_after([[*ONCE[:3], read(6, "FAILED", on=False)]], Acceptance("web", REASON, FAILED_AT))
    failure = failure_of(seen, WaitRules(), timed_out=True, diagnose=lambda: ())
    assert failure is not None
    assert (seen.is_ready, failure.kind.value) == (False, "PoweredOff")
