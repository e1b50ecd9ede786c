"""What a wait needs of a server, and of the guests behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pulumi_customization_gate.core.model import Observation, VmRef


class Source(Protocol):
    """Observes a set of VMs.

    A source may repeat observations and may return them in any order: the verdict does not depend on either.
    """

    def start(self) -> Sequence[VmRef]:
        """Subscribes, then reads what already happened; the first `poll` returns it.

        Returns:
            The VMs of the wait in the order of the request. One that the server does not have is among them;
            a Missing says why.

        Raises:
            ServerError: If the server cannot be reached, refuses the login or lacks what the wait needs.
            ConfigurationError: If a reference is ambiguous.
        """

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Returns what is new, at once if there is anything, else after at most `timeout` seconds.

        Transient faults are retried inside; see `notes`. Called with 0 also while `refresh` runs in another thread.

        Raises:
            ServerError: If it is certain that waiting longer cannot help, for example a refused login.
        """

    def refresh(self, timeout: float) -> bool:
        """Reads the current state and the recent history once more; `poll` returns what was observed.

        Called before a gate opens and before a deadline is judged.

        Returns:
            Whether the server reported every VM within `timeout` seconds.

        Raises:
            ServerError: If it is certain that waiting longer cannot help.
        """
        ...

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:
        """Returns what is known of a VM that is not ready, a fact a line, the likeliest cause first."""

    def notes(self) -> Sequence[str]:
        """Returns what the source recovered from since the last call, a sentence each.

        While `start` runs, what it has been waiting for unusually long.
        """

    def close(self) -> None:
        """Releases everything that the source holds on the server. Safe to call twice."""


class GateSource(Source, Protocol):
    """A source that leaves out VMs that an earlier wait found ready, as long as they are the same VMs."""

    @property
    def already_ready(self) -> Sequence[tuple[str | None, str]]:
        """After `start`: the caller's key and the identifier of each VM that is not observed."""
        ...

    @property
    def server_id(self) -> str:
        """After `start`: the identity of the server."""
        ...

    @property
    def instance_uuids(self) -> Mapping[str, str]:
        """After `start`: the instance UUIDs of VMs that are not observed, by identifier, where they are known."""
        ...


class Readiness(Protocol):
    """Says whether a customized VM is ready for work."""

    def unmet(self, vm: VmRef) -> str:
        """Returns at once what is still missing, in words, or nothing once the VM is ready."""

    def forget(self, vm: VmRef) -> None:
        """Drops what was found about a VM: it is customized again, or was powered on again. `unmet` begins anew."""

    def is_final(self, vm: VmRef) -> bool:
        """Returns whether waiting longer cannot change what is missing, for example a password that was refused."""

    def ready_at(self, vm: VmRef) -> datetime | None:
        """Returns when the VM was found ready, by the server's clock."""

    def addresses(self, vm: VmRef) -> tuple[str, ...]:
        """Returns the addresses that the guest reported when it was last read."""

    def check(self) -> None:
        """Raises an error if the guests are not read any more.

        Raises:
            ServerError: What ended the reading: no VM can become ready after that.
        """

    def confirm(self, timeout: float) -> frozenset[str]:
        """Reads the guests of the VMs that are ready once more, in at most `timeout` seconds.

        A server that does not respond in time changes nothing.

        Returns:
            The identifiers of the VMs that are not ready any more.
        """

    def close(self) -> None:
        """Stops all questions that are still under way."""
