"""What the watch needs of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.core.model import Observation, VmRef


class Source(Protocol):
    """Tells what happens to a set of virtual machines.

    A source may repeat itself and may tell things in any order: the verdict does not depend on either.
    """

    def start(self) -> Sequence[VmRef]:
        """Subscribes, then reads what already happened; the first `poll` tells it.

        Returns:
            The machines of the wait in the order of the request. One that the server does not know is among them;
            a Snapshot with `exists=False` tells why.

        Raises:
            ServerError: If the server cannot be reached, refuses the login or lacks what the wait needs.
            ConfigurationError: If a reference is ambiguous.
        """

    def poll(self, timeout: float) -> Sequence[Observation]:
        """Returns what is new, at once if there is anything, else after at most `timeout` seconds.

        Faults that may pass are ridden out inside; see `notes`.

        Raises:
            ServerError: If it is certain that waiting longer cannot help, for example a refused login.
        """

    def look(self, timeout: float) -> Sequence[Observation]:
        """Reads the present state and the recent history once more, in at most `timeout` seconds.

        Called before a deadline is judged. A server that does not answer in time yields nothing.
        """

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:
        """Returns what is known of a machine that did not get there, a fact a line, the likeliest cause first."""

    def notes(self) -> Sequence[str]:
        """Returns what the source rode out since the last call, a sentence each."""

    def close(self) -> None:
        """Gives everything back that the source holds on the server. Safe to call twice."""
