"""Finds out whether customized VMs are ready for work: guest operations that stay ready, and the user's checks.

One thread reads the VMs that are customized and not ready yet, all in one call, once a second. Success is often
followed by a reboot, and often not: what counts is that guest operations stay ready for a while. VMs that are ready are
read once more before the gate opens.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.errors import AuthenticationError, CertificateError, ServerError
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.vsphere.checks import GUEST_OPERATIONS_PATHS, IN_GUEST, PATHS, Check
from pulumi_customization_gate.vsphere.guest_checks import GuestChecks, Made
from pulumi_customization_gate.vsphere.guest_facts import GuestFacts, read_facts
from pulumi_customization_gate.vsphere.ports import Ports
from pulumi_customization_gate.vsphere.session import acquire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pulumi_customization_gate.core.model import VmRef
    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
    from pulumi_customization_gate.vsphere.ports import Endpoint
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

INTERVAL = 1.0
"""Seconds between two readings."""
LONGEST_GAP = 10.0
"""Seconds without a reading after which `settle` starts again: what happened between is unknown."""
NOT_READ = "the guest was not read yet"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conditions:
    """What a VM must be beside customized."""

    guest_operations: bool = False
    """Whether guest operations must be ready."""
    settle: float = 30.0
    """Seconds for which they must stay so."""
    checks: Sequence[Check] = ()
    guest_credentials: GuestCredentials | None = None
    """Who makes the checks that are made in the guest; needed for those only."""

    @property
    def paths(self) -> list[str]:
        """The properties to read."""
        wanted = [*GUEST_OPERATIONS_PATHS, *(path for check in self.checks for path in PATHS[check.kind])]
        return list(dict.fromkeys(wanted))


class Stability:
    """Judges the readings of one VM, in the order in which they come.

    Args:
        conditions: What must hold.
        key: The VM's key.
    """

    def __init__(self, conditions: Conditions, key: str) -> None:
        self._conditions, self._key = conditions, key
        checks = [check for check in conditions.checks if check.is_for(key)]
        self.checks = [check for check in checks if check.kind not in IN_GUEST]
        """The checks that are judged on what vCenter reports."""
        self.guest_checks = [check for check in checks if check.kind in IN_GUEST]
        self._steady_since: float | None = None
        self._read_at = float("-inf")

    def learn(self, facts: GuestFacts, now: float, answers: Callable[[str, int], str]) -> str:
        """Returns what is missing, in words, or nothing if the VM is ready.

        Args:
            facts: What was read.
            now: When, by the monotonic clock.
            answers: Returns why a port of an address is not reachable, or nothing if it is.
        """
        if facts.fault:
            self._steady_since = None
            return facts.fault
        missing = []
        if self._conditions.guest_operations:
            missing.append(self._unsettled(facts, now))
        missing += [check.unmet(self._key, facts, answers) for check in self.checks]
        return "; ".join(reason for reason in missing if reason)

    def confirm(self, facts: GuestFacts, answers: Callable[[str, int], str]) -> str:
        """Returns what a VM that was ready lacks now, or nothing; guest operations need not settle again.

        Args:
            facts: What was read.
            answers: As for `learn`.
        """
        if facts.fault:
            return facts.fault
        missing = [facts.no_guest_operations()] if self._conditions.guest_operations else []
        missing += [check.unmet(self._key, facts, answers) for check in self.checks]
        self._steady_since = None
        return "; ".join(filter(None, missing))

    def endpoints(self, facts: GuestFacts) -> list[Endpoint]:
        """Returns the ports that judging needs an answer of."""
        return [endpoint for check in self.checks for endpoint in check.endpoints(facts)]

    def _unsettled(self, facts: GuestFacts, now: float) -> str:
        was_read, self._read_at = now - self._read_at <= LONGEST_GAP, now
        reason = facts.no_guest_operations()
        if reason:
            self._steady_since = None
            return reason
        if self._steady_since is None or not was_read:
            self._steady_since = now
        steady = now - self._steady_since
        if steady >= self._conditions.settle:
            return ""
        return f"guest operations have been ready for {duration(steady)} of {duration(self._conditions.settle)}"


@dataclass(eq=False)
class _Followed:
    """What was found about one VM since it was last customized or powered on."""

    stability: Stability
    unmet: str = NOT_READ
    newest: GuestFacts | None = None
    ready_at: datetime | None = None
    made: Made = field(default_factory=Made)


class GuestReadiness:
    """Reads the guests of one vCenter; the waiting loop asks `unmet` of each VM that is customized.

    Args:
        settings: Which vCenter, and as whom.
        conditions: What must hold.
    """

    def __init__(self, settings: VsphereSettings, conditions: Conditions) -> None:
        self._settings, self._conditions = settings, conditions
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._followed: dict[str, _Followed] = {}
        self._ports = Ports()
        credentials = conditions.guest_credentials
        self._guests = None if credentials is None else GuestChecks(settings, credentials)
        self._threads = Background("customization-gate-readiness", threads=2)
        self._reading: Future[None] | None = None

    def unmet(self, vm: VmRef) -> str:
        """Returns at once what is still missing; the first question has the VM read from now on."""
        with self._lock:
            followed = self._followed.get(vm.id)
            if followed is None:
                followed = self._followed[vm.id] = _Followed(Stability(self._conditions, vm.called))
            if self._reading is None:
                self._reading = self._threads.submit(self._run)
            return followed.unmet and (self._refusal(vm.id) or followed.unmet)

    def forget(self, vm: VmRef) -> None:
        """Drops what was found about a VM, also by what is still being read. A refused password stays refused."""
        with self._lock:
            followed = self._followed.pop(vm.id, None)
        if followed is not None and followed.newest is not None:
            self._ports.forget(followed.stability.endpoints(followed.newest))

    def is_final(self, vm: VmRef) -> bool:
        """Returns whether the guest refused the user name or password, so that its checks are not made again."""
        followed = self._followed.get(vm.id)
        return followed is not None and bool(followed.unmet and self._refusal(vm.id))

    def _refusal(self, moid: str) -> str:
        return self._guests.refusal(moid) if self._guests is not None else ""

    def ready_at(self, vm: VmRef) -> datetime | None:
        """Returns since when the VM is ready, by the server's clock."""
        followed = self._followed.get(vm.id)
        return followed.ready_at if followed else None

    def addresses(self, vm: VmRef) -> tuple[str, ...]:
        """Returns the addresses that the guest reported when it was last read; none where no check needs them."""
        followed = self._followed.get(vm.id)
        return followed.newest.addresses if followed and followed.newest else ()

    def check(self) -> None:
        """Raises an error if the guests are not read any more: waiting longer cannot make a VM ready then.

        Raises:
            ServerError: What ended the reading.
        """
        reading = self._reading
        if reading is None or not reading.done() or self._closing.is_set():
            return
        error = reading.exception()
        if isinstance(error, ServerError):
            raise ServerError(f"the guests cannot be read: {error}") from error
        raise ServerError(f"the guests are not read any more, because of an internal error: {error!r}") from error

    def confirm(self, timeout: float) -> frozenset[str]:
        """Reads the VMs that are ready once more, in one call, and tries their ports.

        What was checked in a guest is not checked again. A server that does not respond in time changes nothing.

        Returns:
            The managed object IDs of the VMs that are not ready any more.
        """
        with self._lock:
            ready = {moid: followed for moid, followed in self._followed.items() if not followed.unmet}
        if not ready or self._closing.is_set():
            return frozenset()
        until = time.monotonic() + timeout
        confirming = self._threads.submit(lambda: self._confirm(ready, until))
        return confirming.result() if wait_until_done(confirming, until) else frozenset()

    def _confirm(self, ready: Mapping[str, _Followed], until: float) -> frozenset[str]:
        try:
            with acquire(self._settings) as session:
                moids, paths = list(ready), self._conditions.paths
                readings = session.with_retries(partial(read_facts, session, moids, paths), self._closing)
        except ServerError as error:
            _log.debug("the guests could not be read once more: %s", error)
            return frozenset()
        endpoints = [e for moid, facts in readings.items() for e in ready[moid].stability.endpoints(facts)]
        answers = self._ports.confirmed(endpoints, until - time.monotonic())
        lost = {}
        for moid, facts in readings.items():
            missing = self._judged(moid, partial(ready[moid].stability.confirm, facts, answers))
            if missing:
                lost[moid] = missing
        with self._lock:
            if time.monotonic() >= until:  # the answer is too late
                return frozenset()
            for moid, facts in readings.items():
                ready[moid].newest = facts
                ready[moid].unmet = lost.get(moid) or ready[moid].unmet
        return frozenset(lost)

    def close(self) -> None:
        """Stops reading. A reading under way is left to itself."""
        self._closing.set()
        self._threads.close()
        self._ports.close()
        if self._guests is not None:
            self._guests.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except (AuthenticationError, CertificateError):
                raise
            except ServerError as error:
                self._note_unreadable(str(error))
            self._closing.wait(INTERVAL)

    def _follow(self) -> None:
        """Reads the VMs that are not ready yet until the end, or until vCenter cannot be reached."""
        with acquire(self._settings) as session:
            while not self._closing.is_set():
                with self._lock:
                    waiting = self._waiting()
                moids, paths = list(waiting), self._conditions.paths
                readings = session.with_retries(partial(read_facts, session, moids, paths), self._closing)
                self._learn(readings, waiting)
                self._closing.wait(INTERVAL)

    def _note_unreadable(self, reason: str) -> None:
        with self._lock:
            for followed in self._waiting().values():
                followed.unmet = f"the guest could not be read: {reason}"

    def _waiting(self) -> dict[str, _Followed]:
        return {moid: followed for moid, followed in self._followed.items() if followed.unmet}

    def _learn(self, readings: Mapping[str, GuestFacts], waiting: Mapping[str, _Followed]) -> None:
        """Judges what was read. Of a VM that was forgotten meanwhile nothing is kept: it is followed anew."""
        now = time.monotonic()
        for moid, facts in readings.items():
            followed = waiting[moid]
            missing = self._judged(moid, partial(self._missing, moid, followed, facts, now))
            with self._lock:
                if missing != followed.unmet:
                    # What follows the kind of a check may quote its options, and those may be secrets.
                    _log.debug("%s: %s", moid, f"not ready ({missing.partition(':')[0]})" if missing else "ready")
                followed.unmet, followed.newest = missing, facts
                if not missing:
                    followed.ready_at = facts.at

    def _missing(self, moid: str, followed: _Followed, facts: GuestFacts, now: float) -> str:
        """Returns what a VM lacks. The guest is asked once all else holds: that is after the reboot of a success."""
        stability = followed.stability
        missing = stability.learn(facts, now, self._ports.answers)
        if missing or not stability.guest_checks or self._guests is None:
            return missing
        if reason := facts.no_guest_operations():
            return f"{stability.guest_checks[0]}: {reason}"
        return self._guests.missing(moid, stability.guest_checks, followed.made)

    @staticmethod
    def _judged(moid: str, judge: Callable[[], str]) -> str:
        """Returns what a judgement finds missing. Nothing that one guest reports may end the work for another VM."""
        try:
            return judge()
        except Exception as error:  # noqa: BLE001 -- see the docstring
            _log.exception("judging %s failed", moid)
            return f"what the guest reports could not be judged, because of an internal error: {sanitize(repr(error))}"
