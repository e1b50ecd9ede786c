"""Cloud Director's guest customization status as observations."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from pulumi_customization_gate.cloud_director import diagnosis
from pulumi_customization_gate.cloud_director.api import Refusal, read_vapp
from pulumi_customization_gate.cloud_director.notes import Notes
from pulumi_customization_gate.cloud_director.poller import PerVmPoller
from pulumi_customization_gate.cloud_director.retries import with_retries
from pulumi_customization_gate.cloud_director.session import acquire
from pulumi_customization_gate.cloud_director.tracked_vm import TrackedVm
from pulumi_customization_gate.core.errors import ConfigurationError, ServerError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import Missing, Observation, Target, VmRef
from pulumi_customization_gate.core.recency import AGREEMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pulumi_customization_gate.cloud_director.references import Reference
    from pulumi_customization_gate.cloud_director.representations import InventoryVm
    from pulumi_customization_gate.cloud_director.session import Session
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

T = TypeVar("T")

START_RETRY_TIMEOUT = 25.0
"""Seconds for which the start retries where the server does not answer well."""

_log = logging.getLogger(__name__)


class CloudDirectorSource:
    """Observes the guest customization status of VMs of Cloud Director; a `core.source.Source`.

    Args:
        settings: The server and the login.
        targets: What names each VM or vApp, and the user's key.
        already_ready: Identifiers (`vm-{uuid}`) of VMs that are not observed, because an earlier wait found them ready.
        previously_customized: Identifiers of VMs that an earlier wait found customized. Disabling guest customization
            after it has succeeded leaves no other trace of it.
        judged_as: The identities of both, as far as they are known: a VM of another server inherits nothing.
        retry_timeout: Seconds for which `start` retries where the server does not answer well.
        connect: Returns the session for settings, for the length of a `with` block.
        clock: A monotonic clock.
        sleep: Waits for so many seconds and returns False, or True as soon as the source is closed; by default by
            the real clock.
    """

    def __init__(
        self,
        settings: CloudDirectorSettings,
        targets: Sequence[Target[Reference]],
        *,
        already_ready: Collection[str] = (),
        previously_customized: Collection[str] = (),
        judged_as: Mapping[str, Identity] = MappingProxyType({}),
        retry_timeout: float = START_RETRY_TIMEOUT,
        connect: Callable[[CloudDirectorSettings], AbstractContextManager[Session]] = acquire,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        self._settings, self._targets = settings, targets
        self.server_id = settings.address
        """The identity of the server: its address."""
        self.instance_uuids: Mapping[str, str] = MappingProxyType({})
        """Nothing: an identifier of Cloud Director never names a second VM."""
        here = Identity(self.server_id)
        others = {vm for vm, judged in judged_as.items() if judged.differs(here)}
        self._already_ready = frozenset(already_ready) - others
        self._previously_customized = frozenset(previously_customized) - others
        self._retry_timeout, self._connect = retry_timeout, connect
        self._closed = threading.Event()
        self._clock, self._sleep = clock, sleep or self._closed.wait
        self._login = ExitStack()
        self._session: Session
        self._poller: PerVmPoller
        self._notes = Notes()
        self._missing: list[Missing] = []
        self._receiving = threading.Lock()
        """Held by the thread that takes in the answers."""
        self.already_ready: list[tuple[str | None, str]] = []
        """After `start`: the user's key and the identifier of each VM that is not observed."""

    def start(self) -> Sequence[VmRef]:
        """Logs in, finds the VMs and reads their states.

        Raises:
            ServerError: If the server refuses the login, or does not answer well for `retry_timeout` seconds.
            ConfigurationError: If a VM is named twice, or a vApp holds none.
        """
        try:
            return self._start()
        finally:
            # A start that was still running at `close` releases by itself what it acquired since.
            if self._closed.is_set():
                self._login.close()

    def _start(self) -> Sequence[VmRef]:
        deadline = self._clock() + self._retry_timeout
        self._session = self._login.enter_context(self._connect(self._settings))
        self._with_retries(self._session.open)
        refs, vms, unnamed = self._resolve()
        self._poller = poller = PerVmPoller(
            self._session,
            vms,
            self._notes,
            previously_customized=self._previously_customized,
            clock=self._clock,
            sleep=self._sleep,
        )
        self._login.callback(poller.close)
        for kind, note in self._session.notes:
            self._notes.add(kind, note)
        poller.read_all(deadline)
        for vm in vms:
            if vm.inventory is not None:
                name = vm.inventory.name
                vm.ref = replace(vm.ref, name=name, key=name if vm.ref.id in unnamed else vm.ref.key)
        named = {vm.ref.id: vm.ref for vm in vms}
        return [named.get(ref.id, ref) for ref in refs]

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Returns what is new, at once if there is anything, else after at most `timeout` seconds.

        Raises:
            ServerError: If the server refuses the login or its certificate is no longer trusted.
        """
        if not self._receiving.acquire(blocking=False):
            return ()  # A refresh takes in all that comes.
        try:
            missing, self._missing = self._missing, []
            return [*missing, *self._poller.poll(0 if missing else timeout)]
        finally:
            self._receiving.release()

    def refresh(self, timeout: float) -> bool:
        """Reads all VMs once more, also those whose customization has ended."""
        with self._receiving, suppress(ServerError):  # `poll` raises it, after what was observed before
            return self._poller.refresh(timeout)
        return False

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:  # noqa: ARG002 -- the refresh before it has read all
        """Returns what is known of a VM that is not ready, the likeliest cause first."""
        tracked = self._poller.vm(vm.id)
        now = self._clock()
        silence = now - tracked.answered
        # A state that is old was not seen until now, but until the server stopped reporting it.
        seen = now - tracked.since - (silence if tracked.fault else 0.0)
        return diagnosis.explain(tracked.state, tracked.inventory, seen, fault=tracked.fault, silence=silence)

    def notes(self) -> Sequence[str]:
        """Returns what was recovered from since the last call, each kind of fault once in a wait."""
        return self._notes.take()

    def close(self) -> None:
        """Releases the login; the last user of it logs out."""
        self._closed.set()
        self._login.close()

    def _resolve(self) -> tuple[list[VmRef], list[TrackedVm], set[str]]:
        """Returns all VMs in the order of the request, those to read, and those that are named by the inventory."""
        keys: dict[str, str] = {}
        refs: list[VmRef] = []
        vms: list[TrackedVm] = []
        unnamed: set[str] = set()
        for target in self._targets:
            for key, ref, inventory in self._vms_of(target):
                if ref.id in keys:
                    raise ConfigurationError(
                        f"expected each VM once, got {keys[ref.id]!r} and {ref.key!r}, which are the same VM, {ref.id}"
                    )
                keys[ref.id] = ref.key
                if key is None:
                    unnamed.add(ref.id)
                if ref.id in self._already_ready:
                    self.already_ready.append((key, ref.id))
                    continue
                refs.append(ref)
                if not any(missing.vm == ref.id for missing in self._missing):
                    vms.append(TrackedVm(ref, self._clock, inventory))
        return refs, vms, unnamed

    def _vms_of(self, target: Target[Reference]) -> Iterable[tuple[str | None, VmRef, InventoryVm | None]]:
        """Returns the VMs that a target names, each with its key in the user's words, None for one without."""
        key, reference = target.key, target.reference
        shown = key or reference.id
        if reference.kind == "vm":
            return [(key, VmRef(shown, reference.id, reference.id), None)]
        vms = self._read_vapp(reference)
        if isinstance(vms, Refusal):
            self._missing.append(Missing(reference.id, vms.at, vms.kind, vms.message))
            return [(key, VmRef(shown, reference.id, reference.id), None)]
        if not vms:
            raise ConfigurationError(
                f"expected a vApp with at least one VM, got {shown!r} ({reference.urn}), an empty one"
            )
        return [
            (key and f"{key}/{vm.name}", VmRef(f"{key}/{vm.name}" if key else vm.name, vm.id, vm.name), vm)
            for vm in vms
        ]

    def _read_vapp(self, reference: Reference) -> Sequence[InventoryVm] | Refusal:
        """Returns the VMs in a vApp; it is missing once two reads agree."""
        read = partial(read_vapp, self._session, reference.id)
        vms = self._with_retries(read)
        if isinstance(vms, Refusal) and not self._sleep(AGREEMENT):
            _log.debug("%s: read refused, %s: %s", reference.id, vms.kind.value, vms.message)
            vms = self._with_retries(read)
        return vms

    def _with_retries(self, call: Callable[[], T]) -> T:
        return with_retries(
            call,
            timeout=self._retry_timeout,
            on_retry=self._notes.add_retry,
            clock=self._clock,
            sleep=self._sleep,
        )


def named_now(
    settings: CloudDirectorSettings,
    references: Sequence[Reference],
    judged: Iterable[str],  # noqa: ARG001 -- the members of a vApp are read whatever they were
    connect: Callable[[CloudDirectorSettings], AbstractContextManager[Session]] = acquire,
) -> list[Mapping[str, str]]:
    """Returns the VMs that each vApp holds now, by identifier; a vApp that cannot be read as what it is itself.

    Args:
        settings: The server and the login.
        references: vApps.
        judged: The identifiers of the VMs that were judged.
        connect: Returns the session for settings, for the length of a `with` block.

    Raises:
        ServerError: If the server cannot be used.
    """
    with connect(settings) as session:
        session.open()
        found = [(reference, read_vapp(session, reference.id)) for reference in references]
    return [
        {reference.id: ""} if isinstance(vms, Refusal) else dict.fromkeys((vm.id for vm in vms), "")
        for reference, vms in found
    ]
