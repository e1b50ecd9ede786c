"""Judgement and rules to outcome and failure: what the wait decides about one VM, without any waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 -- the same
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.advice import Advice
from pulumi_customization_gate.core.model import Failure, VmOutcome
from pulumi_customization_gate.core.status import CustomizationStatus, Evidence, FailureKind, PowerState
from pulumi_customization_gate.core.text import clock_time, duration

if TYPE_CHECKING:
    from pulumi_customization_gate.core.acceptance import Acceptance
    from pulumi_customization_gate.core.model import VmRef
    from pulumi_customization_gate.core.verdict import Judgement

_WAITING = (CustomizationStatus.VM_NOT_STARTED, CustomizationStatus.CUSTOMIZATION_NOT_STARTED)

_ADVICE = {
    FailureKind.NO_CUSTOMIZATION: Advice.REQUEST_CUSTOMIZATION,
    FailureKind.NOT_FOUND: Advice.CORRECT_REFERENCE,
    FailureKind.NO_PERMISSION: Advice.GRANT_PERMISSION,
    FailureKind.VM_REMOVED: Advice.RESTORE_OR_DROP,
    FailureKind.POWERED_OFF: Advice.POWER_ON,
    FailureKind.START_TIMEOUT: Advice.FIND_START_FAULT,
    FailureKind.TIMEOUT: Advice.WAIT_LONGER,
    FailureKind.NOT_READY: Advice.WAIT_LONGER,
}


@dataclass(frozen=True)
class WaitRules:
    """How long to wait, and for what."""

    timeout: float = 1800.0
    """Seconds for the whole wait."""
    start_timeout: float = 600.0
    """Seconds in which a customization must have started, from the start of the wait or the last power-on.

    A power-off counts like a power-on: the cluster may need a while to restart the VM on another host.
    """
    requires_customization: bool = True
    """Whether a VM of which no customization was requested is a failure; else it is ready."""
    stop_on_missing: bool = True
    """Whether a VM that the server does not have ends the wait at once."""
    judges_once: bool = False
    """Whether the wait ends with the first judgement; VMs count as ready then although no read has confirmed it."""
    accepted: Mapping[str, Acceptance] = field(default_factory=dict)
    """The failures that count as success, by the VMs' identifiers."""


@dataclass(frozen=True)
class Situation:
    """What decides about one VM at one moment."""

    vm: VmRef
    judgement: Judgement
    is_customized: bool
    """See `is_customized`."""
    is_overdue: bool
    """Whether its start time-out has passed and nothing has started."""
    unmet: str = ""
    """What a customized VM still lacks to be ready for work."""
    ready_at: datetime | None = None
    """When it was ready, by the server's clock."""
    accepted: str = ""
    """Why its failure counts as success."""
    is_final: bool = False
    """Whether waiting longer cannot change what it lacks."""
    addresses: tuple[str, ...] = ()
    """The addresses that its guest reported when its readiness was judged."""

    @property
    def is_ready(self) -> bool:
        """Whether the gate may open as far as this VM is concerned."""
        return self.is_customized and not self.unmet

    @property
    def is_settled(self) -> bool:
        """Whether the wait has nothing more to learn about this VM."""
        if self.judgement.facts.is_unreadable:
            return True
        if self.is_customized:
            return self.is_ready or self.is_final
        return self.judgement.status.is_terminal or self.is_overdue


def is_waiting_to_start(judgement: Judgement) -> bool:
    """Returns whether neither a start nor an end of a customization is known."""
    return judgement.status in _WAITING


def is_customized(judgement: Judgement, rules: WaitRules, *, is_overdue: bool) -> bool:
    """Returns whether a VM is customized, or may go without a customization.

    A server too old to report the state of a customization leaves only time to show that none was requested.
    """
    if judgement.status is CustomizationStatus.CUSTOMIZATION_SUCCEEDED:
        return True
    if rules.requires_customization:
        return False
    return judgement.status is CustomizationStatus.NOT_CUSTOMIZED or (judgement.is_untraced and is_overdue)


def unmet_by_state(judgement: Judgement) -> str:
    """Returns what a customized VM lacks by its power state, or by a look that did not find it; empty where nothing."""
    facts = judgement.facts
    if facts.missing is not None:
        return f"the VM could not be read: {facts.missing.message}"
    if facts.power is PowerState.OFF:
        return "the VM is customized and powered off"
    return "the VM is customized and suspended" if facts.power is PowerState.SUSPENDED else ""


def outcome_of(situation: Situation, failure: Failure | None = None) -> VmOutcome:
    """Returns what is reported about one VM, with why it is not ready."""
    vm, judgement = situation.vm, situation.judgement
    is_untraced = situation.is_customized and judgement.is_untraced
    latest = judgement.facts.latest
    return VmOutcome(
        key=vm.key,
        id=vm.id,
        name=(latest.name if latest else "") or vm.name,
        status=CustomizationStatus.NOT_CUSTOMIZED if is_untraced else judgement.status,
        ready=situation.is_ready,
        evidence=Evidence.NO_TRACE if is_untraced else judgement.evidence,
        powered_on_at=judgement.powered_on_at,
        started_at=judgement.started_at,
        completed_at=judgement.completed_at,
        ready_at=situation.ready_at if situation.is_ready else None,
        customization_seconds=judgement.customization_seconds,
        failure=None if situation.is_ready and not situation.accepted else failure,
        accepted=situation.accepted,
        host_name=latest.host_name if latest else "",
        ip_addresses=(latest.ip_addresses if latest else ()) or situation.addresses,
        instance_uuid=latest.instance_uuid if latest else "",
    )


def absence_of(judgement: Judgement) -> Failure | None:
    """Returns why a VM is not there, None of one that is: nothing more will be known of it later."""
    facts = judgement.facts
    if facts.removed is not None:
        return _failure(FailureKind.VM_REMOVED, f"it left the inventory at {clock_time(facts.removed.at)}")
    if facts.missing is None or not facts.looks_agree:
        return None
    if facts.was_there and facts.missing.kind is FailureKind.NOT_FOUND:
        return _failure(FailureKind.VM_REMOVED, "it left the inventory")
    return _failure(facts.missing.kind, facts.missing.message)


def failure_of(
    situation: Situation,
    rules: WaitRules,
    *,
    timed_out: bool,
    diagnose: Callable[[], Sequence[str]],
    is_broken: bool = False,
) -> Failure | None:
    """Returns why a VM is not ready at the end of a wait, None of one that is; an accepted failure stays one.

    Args:
        situation: What decides about it.
        rules: Those of the wait.
        timed_out: Whether the deadline ended the wait.
        diagnose: Returns what is known of the VM; called only where that explains the failure.
        is_broken: Whether an error, or the caller, ended the wait: it is unknown whether a customized VM is ready.
    """
    judgement = situation.judgement
    if situation.is_ready:
        return _customization_failure(judgement) if situation.accepted else None
    if (absence := absence_of(judgement)) is not None:
        return absence
    if (missing := judgement.facts.missing) is not None:
        return _failure(missing.kind, missing.message)
    if judgement.status is CustomizationStatus.CUSTOMIZATION_FAILED and not situation.accepted:
        return _customization_failure(judgement)
    kind = _kind_of(situation, timed_out=timed_out, is_broken=is_broken)
    message = judgement.because
    if situation.is_customized:
        message = situation.unmet
    elif kind is FailureKind.START_TIMEOUT:
        allowed = duration(rules.start_timeout)
        message = f"customization did not start within {allowed} of power-on or the start of the wait; {message}"
    failure = _failure(kind, message, () if kind is FailureKind.UNFINISHED else diagnose())
    return replace(failure, advice=None) if situation.is_final else failure


def _kind_of(situation: Situation, *, timed_out: bool, is_broken: bool) -> FailureKind:
    if situation.is_customized:
        if situation.judgement.facts.is_on is False:
            return FailureKind.POWERED_OFF
        return FailureKind.UNFINISHED if is_broken else FailureKind.NOT_READY
    if situation.judgement.status is CustomizationStatus.NOT_CUSTOMIZED:
        return FailureKind.NO_CUSTOMIZATION
    if situation.is_overdue:
        return FailureKind.START_TIMEOUT
    return FailureKind.TIMEOUT if timed_out else FailureKind.UNFINISHED


def _customization_failure(judgement: Judgement) -> Failure:
    end, latest = judgement.end, judgement.facts.latest
    advice = Advice.CUSTOMIZE_AGAIN if latest is not None and latest.can_repeat else Advice.REPLACE
    kind = FailureKind.CUSTOMIZATION_FAILED
    if end is not None:
        return Failure(kind, end.name, end.reason, end.message, end.log_location, advice=advice)
    return Failure(kind, latest.state if latest else "", message=latest.message if latest else "", advice=advice)


def _failure(kind: FailureKind, message: str, diagnosis: Sequence[str] = ()) -> Failure:
    return Failure(kind, message=message, diagnosis=tuple(diagnosis), advice=_ADVICE.get(kind))
