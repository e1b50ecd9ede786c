"""Cloud Director's guest customization status as observations: nothing there can be subscribed to, so it is polled."""

from __future__ import annotations

import queue
import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import tenacity

from pulumi_customization_gate.cloud_director import diagnosis
from pulumi_customization_gate.cloud_director.readings import (
    BATCH,
    DISABLED,
    ENDED,
    KNOWN,
    Gone,
    State,
    read_machines,
    read_state,
    read_vapp,
)
from pulumi_customization_gate.cloud_director.references import Reference, parse_reference
from pulumi_customization_gate.cloud_director.session import (
    BusyError,
    CloudDirectorSettings,
    acquire,
    is_passing,
)
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    ConfigurationError,
    ServerError,
)
from pulumi_customization_gate.core.model import Observation, Snapshot, VmRef

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pulumi_customization_gate.cloud_director.representations import Machine

T = TypeVar("T")

SHORTEST_INTERVAL, LONGEST_INTERVAL = 1.0, 10.0
"""Seconds between two questions about one machine: short after a change, growing while nothing changes."""
GROWTH = 1.5
JITTER = 0.2
"""The part by which an interval is drawn longer or shorter, so that many machines are not asked in step."""
POWER_INTERVAL = 30.0
"""Seconds between two readings of power and VMware Tools, which tell no more than why nothing begins."""
PATIENCE = 25.0
"""Seconds for which the start rides out a server that does not answer well."""
_TICK = timedelta(microseconds=1)
_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_GONE = (403, 404)


class Pace:
    """The growing, jittered interval between two questions about one machine."""

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._interval = SHORTEST_INTERVAL

    def next(self, *, changed: bool) -> float:
        """Returns the seconds until the next question; a change makes them short again."""
        interval = SHORTEST_INTERVAL if changed else self._interval
        self._interval = min(interval * GROWTH, LONGEST_INTERVAL)
        return interval * self._draw(1 - JITTER, 1 + JITTER)


@dataclass
class _Watched:
    """One machine: what is known of it and when it is asked about again."""

    ref: VmRef
    pace: Pace = field(default_factory=Pace)
    due: float = 0.0
    asked: int = 0
    heard: int = 0
    """The newest question that was answered: an answer to an older one comes too late to count."""
    ask_enabled: bool = True
    state: str = ""
    since: float = 0.0
    at: datetime = _NEVER
    machine: Machine | None = None
    gone: str = ""
    told: Snapshot | None = None

    @property
    def is_settled(self) -> bool:
        return bool(self.gone) or self.state in ENDED

    @property
    def is_being_asked(self) -> bool:
        return self.asked > self.heard

    def snapshot(self) -> Snapshot:
        """Returns what is known, at a time later than any told before.

        The Date header counts whole seconds, and the cells of one Cloud Director have clocks of their own: the order
        in which the server answered is the better one.
        """
        machine = self.machine
        tools_running = machine.tools_running if machine else None
        return Snapshot(
            vm=self.ref.id,
            at=self.at,
            exists=not self.gone,
            powered_on=machine.powered_on if machine else None,
            state=self.state,
            message=self.gone or (diagnosis.FAILED if self.state == "GC_FAILED" else ""),
            # Where customization is disabled there is nothing that a guest without Tools could still tell.
            tools_running=bool(tools_running) or (tools_running is None and self.state == DISABLED),
            name=machine.name if machine else "",
            ip_addresses=machine.ip_addresses if machine else (),
        )


class CloudDirectorSource:
    """Tells the guest customization status of machines of Cloud Director; a `core.source.Source`.

    Args:
        settings: The server and the login.
        references: What the user wrote for each machine or vApp, by the user's own key.
        kept: Identifiers (`vm-{uuid}`) of machines that are not watched, because they have been judged.
        patience: Seconds for which `start` rides out a server that does not answer well.

    Raises:
        ConfigurationError: If a reference names no machine of this server.
    """

    def __init__(
        self,
        settings: CloudDirectorSettings,
        references: Mapping[str, str],
        *,
        kept: Collection[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        self._settings, self._patience = settings, patience
        self._references = {key: parse_reference(text, settings.address) for key, text in references.items()}
        self._kept = kept
        self.skipped: dict[str, str] = {}
        """After `start`: the identifiers of the kept machines, by the user's key."""
        self._login = ExitStack()
        self._closed = threading.Event()
        self._vms: dict[str, _Watched] = {}
        self._answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way = 0
        self._power_due = 0.0
        self._power_asked = 0
        self._untold: list[Snapshot] = []
        self._notes: list[str] = []
        self._noted: set[object] = set()

    def start(self) -> Sequence[VmRef]:
        """Logs in, finds the machines and reads their states.

        Raises:
            ServerError: If the server refuses the login, or does not answer well for `patience` seconds.
            ConfigurationError: If a machine is named twice, or a vApp holds none.
        """
        deadline = time.monotonic() + self._patience
        self._session = session = self._login.enter_context(acquire(self._settings))
        self._ride_out(session.open)
        taken: dict[str, str] = {}
        for key, reference in self._references.items():
            for vm in self._machines(key, reference):
                if vm.ref.id in taken:
                    raise ConfigurationError(f"{taken[vm.ref.id]!r} and {vm.ref.key!r} are one machine: {vm.ref.id}")
                taken[vm.ref.id] = vm.ref.key
                if vm.ref.id in self._kept:
                    self.skipped[vm.ref.key] = vm.ref.id
                else:
                    self._vms[vm.ref.id] = vm
        self._ask_all()
        self._hear_all(deadline)
        for vm in self._vms.values():
            if vm.machine is not None:
                vm.ref = replace(vm.ref, name=vm.machine.name)
        return [vm.ref for vm in self._vms.values()]

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Returns what is new, at once if there is anything, else after at most `timeout` seconds.

        Raises:
            ServerError: If the server refuses the login or its certificate is no longer trusted.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._ask_what_is_due()
            self._hear(0)
            left = deadline - time.monotonic()
            if self._untold or left <= 0:
                return self._tell()
            self._hear(min(left, max(0.0, self._next_due() - time.monotonic())))

    def look(self, timeout: float) -> Sequence[Observation]:
        """Asks about all machines once more and returns what came within `timeout` seconds."""
        self._ask_all()
        self._hear_all(time.monotonic() + timeout)
        return self._tell()

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:  # noqa: ARG002 -- the look before it asked already
        """Returns what is known of a machine that did not get there, the likeliest cause first."""
        watched = self._vms[vm.id]
        return diagnosis.explain(watched.state, watched.machine, time.monotonic() - watched.since)

    def notes(self) -> Sequence[str]:
        """Returns what was ridden out since the last call, each kind of fault once in a wait."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Gives the login back; the last one who uses it logs out."""
        self._closed.set()
        self._login.close()

    def _machines(self, key: str, reference: Reference) -> Iterable[_Watched]:
        if reference.kind == "vm":
            return [_Watched(VmRef(key, reference.id, reference.id))]
        try:
            machines = self._ride_out(partial(read_vapp, self._session, reference.id))
        except ApiError as error:
            if error.status not in _GONE:
                raise
            missing = _Watched(VmRef(key, reference.id, reference.id))
            self._lose(missing, f"no such vApp, or no right to see it: {error}")
            return [missing]
        if not machines:
            raise ConfigurationError(f"the vApp of {key!r} ({reference.urn}) holds no machine to wait for")
        return [_Watched(VmRef(f"{key}/{found.name}", found.id, found.name), machine=found) for found in machines]

    def _ride_out(self, ask: Callable[[], T]) -> T:
        def note(attempt: tenacity.RetryCallState) -> None:
            self._note_fault(_error(attempt))

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_passing),
            wait=_patiently,
            stop=tenacity.stop_after_delay(self._patience) | tenacity.stop_when_event_set(self._closed),
            sleep=tenacity.sleep_using_event(self._closed),
            before_sleep=note,
            reraise=True,
        )
        return retrying(ask)

    # Questions run on the session's threads. Their answers are taken in here, one after the other.

    def _ask(self, question: Callable[[], T], take_in: Callable[[T | Exception], None]) -> None:
        def run() -> None:
            if self._closed.is_set():
                return
            answer: T | Exception
            try:
                answer = question()
            except Exception as error:  # noqa: BLE001 -- it is raised, or noted, by the one who waits
                answer = error
            self._answers.put(partial(take_in, answer))

        self._under_way += 1
        self._session.submit(run)

    def _ask_state(self, vm: _Watched) -> None:
        vm.asked += 1
        question = partial(read_state, self._session, vm.ref.id, ask_enabled=vm.ask_enabled)
        self._ask(question, partial(self._take_in_state, vm, vm.asked))

    def _ask_machines(self, vms: Sequence[_Watched]) -> None:
        self._power_due = time.monotonic() + POWER_INTERVAL
        for first in range(0, len(vms), BATCH):
            self._power_asked += 1
            batch = [vm.ref.id for vm in vms[first : first + BATCH]]
            self._ask(partial(read_machines, self._session, batch), self._take_in_machines)

    def _ask_all(self) -> None:
        for vm in self._vms.values():
            if not vm.is_settled:
                vm.ask_enabled = True
                self._ask_state(vm)
        self._ask_machines([vm for vm in self._vms.values() if not vm.gone])

    def _ask_what_is_due(self) -> None:
        now = time.monotonic()
        if self._session.pause:
            return
        waiting = [vm for vm in self._vms.values() if not vm.is_settled]
        for vm in waiting:
            if vm.due <= now and not vm.is_being_asked:
                self._ask_state(vm)
        if self._power_due <= now and not self._power_asked:
            self._ask_machines(waiting)

    def _next_due(self) -> float:
        due = [vm.due for vm in self._vms.values() if not vm.is_settled and not vm.is_being_asked]
        if not self._power_asked:
            due.append(self._power_due)
        return max(min(due, default=float("inf")), time.monotonic() + self._session.pause)

    def _hear(self, timeout: float) -> None:
        """Takes in what was answered; waits at most `timeout` seconds for the first."""
        try:
            take_in = self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait()
            while True:
                self._under_way -= 1
                take_in()
                take_in = self._answers.get_nowait()
        except queue.Empty:
            return

    def _hear_all(self, deadline: float) -> None:
        while self._under_way and (left := deadline - time.monotonic()) > 0:
            self._hear(left)

    def _take_in_state(self, vm: _Watched, number: int, answer: State | Gone | Exception) -> None:
        if number <= vm.heard:
            return
        vm.heard = number
        changed = False
        if isinstance(answer, Exception):
            self._note_fault(answer)
        elif isinstance(answer, Gone):
            self._lose(vm, answer.message)
        else:
            changed = self._change_state(vm, answer)
        vm.due = time.monotonic() + max(vm.pace.next(changed=changed), self._session.pause)

    def _change_state(self, vm: _Watched, answer: State) -> bool:
        vm.ask_enabled = vm.ask_enabled and not (answer.asked and answer.enabled is not False)
        vm.at = max(answer.at, vm.at + _TICK)
        changed = answer.word != vm.state
        if changed:
            if vm.state and vm.machine is not None:
                # The power state was read before the change, and may be what changed.
                vm.machine = replace(vm.machine, powered_on=None)
                self._power_due = 0.0
            vm.state, vm.since = answer.word, time.monotonic()
            if answer.word not in KNOWN | {DISABLED}:
                self._note(
                    answer.word, f"{vm.ref.key}: Cloud Director tells a state that the gate does not know, {vm.state}"
                )
        self._look_for_news(vm)
        return changed

    def _take_in_machines(self, answer: Mapping[str, tuple[datetime, Machine]] | Exception) -> None:
        self._power_asked -= 1
        if isinstance(answer, Exception):
            self._note_fault(answer)
            return
        for identifier, (at, machine) in answer.items():
            vm = self._vms[identifier]
            vm.at = max(at, vm.at + _TICK)
            vm.machine = machine
            self._look_for_news(vm)

    def _lose(self, vm: _Watched, why: str) -> None:
        vm.gone = why
        vm.at = max(datetime.now(timezone.utc), vm.at + _TICK)
        self._look_for_news(vm)

    def _look_for_news(self, vm: _Watched) -> None:
        snapshot = vm.snapshot()
        if (vm.state or vm.gone) and (vm.told is None or replace(snapshot, at=vm.told.at) != vm.told):
            vm.told = snapshot
            self._untold.append(snapshot)

    def _tell(self) -> Sequence[Observation]:
        untold, self._untold = self._untold, []
        return untold

    def _note_fault(self, error: Exception) -> None:
        """Notes what may pass, and raises the rest."""
        if isinstance(error, (AuthenticationError, CertificateError)) or not isinstance(error, ServerError):
            raise error
        kind = (type(error), error.status if isinstance(error, ApiError) else None)
        self._note(kind, f"asked again: {error}")

    def _note(self, kind: object, text: str) -> None:
        if kind not in self._noted:
            self._noted.add(kind)
            self._notes.append(text)


def _error(attempt: tenacity.RetryCallState) -> Exception:
    error = attempt.outcome.exception() if attempt.outcome else None
    assert isinstance(error, Exception)
    return error


_backoff: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(multiplier=0.5, max=5)


def _patiently(attempt: tenacity.RetryCallState) -> float:
    """Returns the seconds before the next attempt: the server's own wish where it has one, else a growing draw."""
    error = _error(attempt)
    return max(error.retry_after if isinstance(error, BusyError) else 0.0, _backoff(attempt))
