"""Reads VMs again and again: Cloud Director has nothing to subscribe to."""

from __future__ import annotations

import logging
import math
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pulumi_customization_gate.cloud_director import tracked_vm
from pulumi_customization_gate.cloud_director.api import (
    BATCH,
    CustomizationState,
    Refusal,
    read_inventory,
    read_state,
)
from pulumi_customization_gate.cloud_director.tracked_vm import Pace, TrackedVm
from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.core.model import Observation, PreviouslyCustomized
from pulumi_customization_gate.core.status import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pulumi_customization_gate.cloud_director.notes import Notes
    from pulumi_customization_gate.cloud_director.representations import InventoryVm
    from pulumi_customization_gate.cloud_director.session import Session

T = TypeVar("T")

POWER_INTERVAL = 30.0
"""Seconds between two reads of the inventory where it reports only power and VMware Tools, not the state."""
_log = logging.getLogger(__name__)


class PerVmPoller:
    """Reads the state of each VM, and the inventory record of all in a few requests.

    Requests run on the session's threads; their answers are taken in by whoever calls, one after the other.

    Args:
        session: The login.
        vms: The VMs.
        notes: Takes what was recovered from.
        previously_customized: Identifiers of VMs that an earlier wait found customized.
        clock: A monotonic clock.
        sleep: Waits for so many seconds and returns False, or True as soon as the source is closed.
    """

    def __init__(
        self,
        session: Session,
        vms: Iterable[TrackedVm],
        notes: Notes,
        *,
        previously_customized: Collection[str],
        clock: Callable[[], float],
        sleep: Callable[[float], bool],
    ) -> None:
        self._session = session
        self._vms = {vm.ref.id: vm for vm in vms}
        self._notes, self._previously_customized = notes, previously_customized
        self._clock, self._sleep = clock, sleep
        self._answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._under_way: set[Future[Any]] = set()
        self._round_due = 0.0
        self._round_under_way = 0
        self._round_hinted = False
        self._round_pace = Pace()
        self._refresh: tuple[float, Sequence[TrackedVm]] | None = None
        """When the last refresh began, and the VMs whose records confirm their ends; None once a state has changed."""
        self._unreported: list[Observation] = []

    def vm(self, identifier: str) -> TrackedVm:
        """Returns what is known of one VM."""
        return self._vms[identifier]

    def read_all(self, deadline: float) -> None:
        """Reads each VM once; returns at the deadline at the latest.

        Raises:
            ServerError: If the server refuses the login or its certificate is no longer trusted.
        """
        self._read_inventory()
        self._receive_all(deadline)
        self._read_states()
        self._receive_all(deadline)

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Returns what is new, at once if there is anything, else after at most `timeout` seconds.

        Raises:
            ServerError: As for `read_all`.
        """
        deadline = self._clock() + timeout
        while not self._unreported:
            self._read_what_is_due()
            self._receive(0)
            left = deadline - self._clock()
            if self._unreported or left <= 0:
                break
            self._receive(min(left, max(0.0, self._next_due() - self._clock())))
        unreported, self._unreported = self._unreported, []
        return unreported

    def refresh(self, timeout: float) -> bool:
        """Reads each VM once more, also one whose customization has ended.

        To read thousands of VMs may take longer: then the next refresh goes on where this one ends.

        Returns:
            Whether the server answered for every VM within `timeout` seconds.

        Raises:
            ServerError: As for `read_all`.
        """
        now = self._clock()
        deadline = now + timeout
        if self._refresh is None or not any(vm.is_being_refreshed for vm in self._vms.values()):
            self._refresh = now, [vm for vm in self._vms.values() if vm.is_confirmed_by_record]
            self._read_states(except_for=self._refresh[1])
            self._read_inventory()
        asked, by_record = self._refresh
        self._receive_all(deadline)
        for vm in by_record:
            if vm.inventory_read < asked or vm.due <= self._clock():
                self._read_state(vm)
        self._receive_all(deadline)
        return not any(vm.is_being_read or vm.is_unanswered for vm in self._vms.values())

    def close(self) -> None:
        """Cancels the requests that have not begun."""
        for future in tuple(self._under_way):
            future.cancel()

    def _submit(self, request: Callable[[], T], take_in: Callable[[T | Exception], None]) -> None:
        def receive(future: Future[T]) -> None:
            self._under_way.discard(future)
            if not future.cancelled():
                error = future.exception()
                # An error is raised, or noted, by the thread that waits.
                take_in(future.result() if error is None else cast("Exception", error))

        future = self._session.submit(request)
        self._under_way.add(future)
        future.add_done_callback(lambda done: self._answers.put(partial(receive, done)))

    def _read_state(self, vm: TrackedVm) -> None:
        vm.requested += 1
        request = partial(read_state, self._session, vm.ref.id, read_enabled=vm.read_enabled)
        self._submit(request, partial(self._receive_state, vm, vm.requested))

    def _read_states(self, except_for: Sequence[TrackedVm] = ()) -> None:
        skipped = set(except_for)
        for vm in self._vms.values():
            if vm not in skipped:
                vm.read_enabled = True
                self._read_state(vm)
                vm.refreshed = vm.requested

    def _read_inventory(self, settled_before: float = math.inf) -> None:
        """Reads the records of the VMs. Where they hold the states as well, they hint at every change.

        Args:
            settled_before: Of VMs whose customization has ended, only records that were read before this are read.
        """
        readable = (vm for vm in self._vms.values() if not vm.is_refused)
        vms = [vm.ref.id for vm in readable if not vm.is_settled or vm.inventory_read <= settled_before]
        for first in range(0, len(vms), BATCH):
            self._round_under_way += 1
            batch = vms[first : first + BATCH]
            self._submit(partial(read_inventory, self._session, batch), partial(self._receive_inventory, batch))

    def _read_what_is_due(self) -> None:
        now = self._clock()
        if self._session.pause:
            return
        for vm in self._vms.values():
            if vm.due <= now and not vm.is_being_read:
                self._read_state(vm)
        if self._round_due <= now and not self._round_under_way:
            self._round_due = now + tracked_vm.LONGEST_INTERVAL
            self._read_inventory(settled_before=now - tracked_vm.LONGEST_INTERVAL)

    def _next_due(self) -> float:
        due = [vm.due for vm in self._vms.values() if not vm.is_being_read]
        if not self._round_under_way and not all(vm.is_refused for vm in self._vms.values()):
            due.append(self._round_due)
        return max(min(due, default=float("inf")), self._clock() + self._session.pause)

    def _receive(self, timeout: float) -> None:
        """Takes in the answers that are there; waits at most `timeout` seconds for the first."""
        try:
            take_in = self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait()
            while True:
                take_in()
                take_in = self._answers.get_nowait()
        except Empty:
            return

    def _receive_all(self, deadline: float) -> None:
        while self._under_way and (left := deadline - self._clock()) > 0:
            self._receive(left)

    def _receive_state(self, vm: TrackedVm, number: int, answer: CustomizationState | Refusal | Exception) -> None:
        if number <= vm.received:
            return
        vm.received = number
        changed = False
        if isinstance(answer, Exception):
            vm.fault = str(answer)
            self._notes.add_retry(answer)
        elif isinstance(answer, Refusal):
            vm.observe_refusal(answer)
            _log.debug("%s: read refused, %s: %s", vm.ref.id, answer.kind.value, answer.message)
        else:
            before = vm.state
            changed = vm.observe_state(answer)
            if changed:
                self._refresh = None
                _log.debug("%s: %s, was %s", vm.ref.id, vm.state, before or "not read")
            if progress_of(vm.state) is Progress.UNKNOWN:
                self._notes.add(
                    vm.state, f"{vm.ref.key}: Cloud Director reports a state that is not documented, {vm.state}"
                )
            if changed and before and not vm.has_hints:
                # What else changed with the state is not known without hints.
                self._round_due = 0.0
        reported = isinstance(answer, CustomizationState)
        vm.schedule(reported=reported, changed=changed, at_least=self._session.pause)
        self._publish(vm)

    def _receive_inventory(
        self, batch: Sequence[str], answer: Mapping[str, tuple[datetime, InventoryVm]] | Exception
    ) -> None:
        self._round_under_way -= 1
        if isinstance(answer, Exception):
            self._notes.add_retry(answer)
            # Without hints no VM may wait for as long as they would have let it.
            for vm in (vm for vm in self._vms.values() if not vm.is_settled):
                vm.due = min(vm.due, self._clock() + tracked_vm.LONGEST_INTERVAL)
        else:
            for identifier in batch:
                vm = self._vms[identifier]
                if identifier in answer:
                    self._round_hinted |= vm.observe_inventory(*answer[identifier])
                    self._publish(vm)
                elif vm.has_hints and not vm.is_refused:
                    # It had a record, and has none now: it may have been removed.
                    vm.due = min(vm.due, self._clock())
        if not self._round_under_way:
            pause = self._round_pace.next(changed=self._round_hinted)
            self._round_hinted = False
            has_hints = any(vm.has_hints for vm in self._vms.values())
            self._round_due = self._clock() + (pause if has_hints else POWER_INTERVAL)

    def _publish(self, vm: TrackedVm) -> None:
        if (observation := vm.take_observation()) is not None:
            self._unreported.append(observation)
            # Never before the server itself has reported the state: it may have something newer to report.
            if vm.ref.id in self._previously_customized:
                self._unreported.append(PreviouslyCustomized(vm.ref.id))
