"""Cloud Director's guest customization status as observations: nothing there can be subscribed to, so it is polled."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import tenacity

from pulumi_customization_gate.cloud_director import diagnosis
from pulumi_customization_gate.cloud_director.answers import BusyError, UnusableAnswerError, is_passing
from pulumi_customization_gate.cloud_director.readings import (
    BATCH,
    Gone,
    State,
    read_machines,
    read_state,
    read_vapp,
)
from pulumi_customization_gate.cloud_director.references import Reference
from pulumi_customization_gate.cloud_director.session import acquire
from pulumi_customization_gate.cloud_director.vocabulary import progress_of
from pulumi_customization_gate.cloud_director.watched import LONGEST_INTERVAL, Pace, Watched
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    ConfigurationError,
    ServerError,
)
from pulumi_customization_gate.core.model import Observation, PreviouslyCustomized, Progress, Target, VmRef

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pulumi_customization_gate.cloud_director.references import Reference
    from pulumi_customization_gate.cloud_director.representations import Machine
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

T = TypeVar("T")

POWER_INTERVAL = 30.0
"""Seconds between two readings of the inventory where it tells only power and VMware Tools, not the state."""
PATIENCE = 25.0
"""Seconds for which the start rides out a server that does not answer well."""
_GONE = (403, 404)


class CloudDirectorSource:
    """Tells the guest customization status of machines of Cloud Director; a `core.source.Source`.

    Args:
        settings: The server and the login.
        targets: What names each VM or vApp, and the user's key.
        already_ready: Identifiers (`vm-{uuid}`) of VMs that are not observed, because an earlier wait found them ready.
        previously_customized: Identifiers of VMs that an earlier wait found customized. Disabling guest customization
            after it has succeeded leaves no other trace of it.
        patience: Seconds for which `start` rides out a server that does not answer well.

    Raises:
        ConfigurationError: If a reference names no machine of this server.
    """

    def __init__(
        self,
        settings: CloudDirectorSettings,
        targets: Sequence[Target[Reference]],
        *,
        already_ready: Collection[str] = (),
        previously_customized: Collection[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        self._settings, self._patience = settings, patience
        self._targets = targets
        self._already_ready, self._previously_customized = already_ready, previously_customized
        self.already_ready: list[tuple[str | None, str]] = []
        """After `start`: the user's key and the identifier of each VM that is not observed."""
        self._login = ExitStack()
        self._closed = threading.Event()
        self._vms: dict[str, Watched] = {}
        self._answers: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._under_way: set[Future[Any]] = set()
        self._round_due = 0.0
        self._round_under_way = 0
        self._round_rang = False
        self._round_pace = Pace()
        self._untold: list[Observation] = []
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
        unnamed = set()
        for target in self._targets:
            for key, vm in self._machines(target):
                if vm.ref.id in taken:
                    raise ConfigurationError(
                        f"expected each VM once, got {taken[vm.ref.id]!r} and {vm.ref.key!r}, "
                        f"which are the same VM, {vm.ref.id}"
                    )
                taken[vm.ref.id] = vm.ref.key
                if key is None:
                    unnamed.add(vm.ref.id)
                if vm.ref.id in self._already_ready:
                    self.already_ready.append((key, vm.ref.id))
                else:
                    self._vms[vm.ref.id] = vm
        self._ask_machines([vm for vm in self._vms.values() if not vm.gone])
        self._hear_all(deadline)
        self._ask_states()
        self._hear_all(deadline)
        for vm in self._vms.values():
            if vm.machine is not None:
                name = vm.machine.name
                vm.ref = replace(vm.ref, name=name, key=name if vm.ref.id in unnamed else vm.ref.key)
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

    def refresh(self, timeout: float) -> Sequence[Observation]:
        """Asks about all machines once more and returns what came within `timeout` seconds."""
        self._ask_states()
        self._ask_machines([vm for vm in self._vms.values() if not vm.gone])
        with suppress(ServerError):  # what came before a refusal is still worth telling
            self._hear_all(time.monotonic() + timeout)
        return self._tell()

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:  # noqa: ARG002 -- the look before it asked already
        """Returns what is known of a machine that did not get there, the likeliest cause first."""
        watched = self._vms[vm.id]
        now = time.monotonic()
        silence = now - watched.answered
        # A state that is old was not seen until now, but until the server fell silent.
        seen = now - watched.since - (silence if watched.fault else 0.0)
        return diagnosis.explain(watched.state, watched.machine, seen, fault=watched.fault, silence=silence)

    def notes(self) -> Sequence[str]:
        """Returns what was ridden out since the last call, each kind of fault once in a wait."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """Gives the login back; the last one who uses it logs out."""
        self._closed.set()
        for future in tuple(self._under_way):
            future.cancel()
        self._login.close()

    def _machines(self, target: Target[Reference]) -> Iterable[tuple[str | None, Watched]]:
        """Returns the VMs that a target names, each with its key in the user's words, None for one without."""
        key, reference = target.key, target.reference
        shown = key or reference.id
        if reference.kind == "vm":
            return [(key, Watched(VmRef(shown, reference.id, reference.id)))]
        try:
            machines = self._ride_out(partial(read_vapp, self._session, reference.id))
        except ApiError as error:
            if error.status not in _GONE:
                raise
            missing = Watched(VmRef(shown, reference.id, reference.id))
            missing.lose(f"no such vApp, or no right to see it: {error}")
            self._look_for_news(missing)
            return [(key, missing)]
        if not machines:
            raise ConfigurationError(
                f"expected a vApp with at least one VM, got {shown!r} ({reference.urn}), an empty one"
            )
        return [
            (
                key and f"{key}/{found.name}",
                Watched(VmRef(f"{key}/{found.name}" if key else found.name, found.id, found.name), machine=found),
            )
            for found in machines
        ]

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
        def hear(future: Future[T]) -> None:
            self._under_way.discard(future)
            if not future.cancelled():
                error = future.exception()
                # An error is raised, or noted, by the one who waits.
                take_in(future.result() if error is None else cast("Exception", error))

        future = self._session.submit(question)
        self._under_way.add(future)
        future.add_done_callback(lambda done: self._answers.put(partial(hear, done)))

    def _ask_state(self, vm: Watched) -> None:
        vm.asked += 1
        question = partial(read_state, self._session, vm.ref.id, ask_enabled=vm.ask_enabled)
        self._ask(question, partial(self._take_in_state, vm, vm.asked))

    def _ask_machines(self, vms: Sequence[Watched]) -> None:
        """Reads the inventory in a few requests. Where it tells the states as well it is the bell for all machines."""
        for first in range(0, len(vms), BATCH):
            self._round_under_way += 1
            batch = [vm.ref.id for vm in vms[first : first + BATCH]]
            self._ask(partial(read_machines, self._session, batch), self._take_in_machines)

    def _ask_states(self) -> None:
        for vm in self._vms.values():
            if not vm.is_settled:
                vm.ask_enabled = True
                self._ask_state(vm)

    def _ask_what_is_due(self) -> None:
        now = time.monotonic()
        if self._session.pause:
            return
        waiting = [vm for vm in self._vms.values() if not vm.is_settled]
        for vm in waiting:
            if vm.due <= now and not vm.is_being_asked:
                self._ask_state(vm)
        if self._round_due <= now and not self._round_under_way:
            self._ask_machines(waiting)

    def _next_due(self) -> float:
        due = [vm.due for vm in self._vms.values() if not vm.is_settled and not vm.is_being_asked]
        if not self._round_under_way and self._vms:
            due.append(self._round_due)
        return max(min(due, default=float("inf")), time.monotonic() + self._session.pause)

    def _hear(self, timeout: float) -> None:
        """Takes in what was answered; waits at most `timeout` seconds for the first."""
        try:
            take_in = self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait()
            while True:
                take_in()
                take_in = self._answers.get_nowait()
        except queue.Empty:
            return

    def _hear_all(self, deadline: float) -> None:
        while self._under_way and (left := deadline - time.monotonic()) > 0:
            self._hear(left)

    def _take_in_state(self, vm: Watched, number: int, answer: State | Gone | Exception) -> None:
        if number <= vm.heard:
            return
        vm.heard = number
        changed = False
        if isinstance(answer, Exception):
            vm.fault = str(answer)
            self._note_fault(answer)
        elif isinstance(answer, Gone):
            vm.lose(answer.message)
        else:
            changed = vm.take_state(answer)
            if progress_of(vm.state) is Progress.UNKNOWN:
                self._note(vm.state, f"{vm.ref.key}: Cloud Director reports a state that is not documented, {vm.state}")
            if changed and not vm.has_bell:
                self._round_due = 0.0
        vm.rest(heard=isinstance(answer, State), changed=changed, at_least=self._session.pause)
        self._look_for_news(vm)

    def _take_in_machines(self, answer: Mapping[str, tuple[datetime, Machine]] | Exception) -> None:
        self._round_under_way -= 1
        if isinstance(answer, Exception):
            self._note_fault(answer)
            # The bell is out of order: nobody may rest for as long as it would have let them.
            for vm in self._vms.values():
                vm.due = min(vm.due, time.monotonic() + LONGEST_INTERVAL)
        else:
            for identifier, (at, machine) in answer.items():
                vm = self._vms[identifier]
                self._round_rang |= vm.take_machine(at, machine)
                self._look_for_news(vm)
        if not self._round_under_way:
            pause = self._round_pace.next(changed=self._round_rang)
            self._round_rang = False
            has_bell = any(vm.has_bell for vm in self._vms.values() if not vm.is_settled)
            self._round_due = time.monotonic() + (pause if has_bell else POWER_INTERVAL)

    def _look_for_news(self, vm: Watched) -> None:
        if (snapshot := vm.news()) is not None:
            self._untold.append(snapshot)
            # Never before the server itself has told the state: it may have something else to say.
            if vm.ref.id in self._previously_customized:
                self._untold.append(PreviouslyCustomized(vm.ref.id))

    def _tell(self) -> Sequence[Observation]:
        untold, self._untold = self._untold, []
        return untold

    def _note_fault(self, error: Exception) -> None:
        """Notes what may pass, and raises the rest."""
        final = (AuthenticationError, CertificateError, UnusableAnswerError)
        if isinstance(error, final) or not isinstance(error, ServerError):
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
