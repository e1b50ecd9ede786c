"""TCP ports of guests, as seen from the computer that runs Pulumi."""

from __future__ import annotations

import socket
import time
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING

from pulumi_customization_gate.vsphere.tries import Tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PORT_TIMEOUT = 2.0
"""Seconds in which a port must answer."""
PORTS_AT_ONCE = 32

Endpoint = tuple[str, int]
"""An IP address and a port."""


class Ports:
    """Tries TCP ports in threads of its own; a question is answered by the last try that has ended."""

    def __init__(self) -> None:
        self._tries = Tries("customization-gate-ports", PORTS_AT_ONCE)

    def answers(self, address: str, port: int) -> str:
        """Returns why a port is not reachable, or nothing if the last try connected; otherwise starts the next try."""
        return self._tries.ask((address, port), partial(_try, address, port))

    def confirmed(self, endpoints: Iterable[Endpoint], timeout: float) -> Callable[[str, int], str]:
        """Tries ports once more, and returns what `answers` returned for each; one that takes too long counts as open.

        Args:
            endpoints: The ports.
            timeout: Seconds for all of them.
        """
        until = time.monotonic() + timeout
        tries = {endpoint: self._tries.start(endpoint, partial(_try, *endpoint)) for endpoint in set(endpoints)}
        done, _ = wait(tries.values(), max(0.0, until - time.monotonic()))
        reasons = {endpoint: future.result() for endpoint, future in tries.items() if future in done}
        return lambda address, port: reasons.get((address, port), "")

    def forget(self, endpoints: Iterable[Endpoint]) -> None:
        """Has ports tried anew."""
        for endpoint in endpoints:
            self._tries.forget(endpoint)

    def close(self) -> None:
        """Stops trying."""
        self._tries.close()


def _try(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=PORT_TIMEOUT).close()
    except TimeoutError:
        return f"timed out after {PORT_TIMEOUT:g} s"
    except OSError as error:
        return str(error.strerror or type(error).__name__).lower()
    return ""
