"""Notices that the engine which started this process is gone: an engine that was killed sends no Cancel."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 3.0
"""Seconds between two connections to the engine's address."""
REFUSALS = 3
"""Connections in a row that are refused before the engine counts as gone."""
CONNECT_TIMEOUT = 2.0
"""Seconds that one connection may take."""
EXIT_TIMEOUT = 5.0
"""Seconds that the process may take to exit by itself, before it is ended without its exit handlers."""


def exit_once_gone(address: str, end_waits: Callable[[], object]) -> None:
    """Waits until the engine is gone, then ends this process.

    The launcher that started the dynamic host outlives the engine, so the parent process says nothing.

    Args:
        address: The engine's, as `host:port`.
        end_waits: Ends what this process does for the engine.
    """
    wait_until_gone(lambda: connection_refused(address))
    end_waits()
    # The host stops its server and returns from `main` at this signal, so exit handlers run.
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(EXIT_TIMEOUT)
    os._exit(1)


def wait_until_gone(is_refused: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns once the engine's address has refused REFUSALS connections in a row.

    Args:
        is_refused: Connects once; see `connection_refused`.
        sleep: Waits for seconds.
    """
    refusals = 0
    while refusals < REFUSALS:
        sleep(INTERVAL)
        refusals = refusals + 1 if is_refused() else 0


def connection_refused(address: str) -> bool:
    """Connects to an address and returns whether the connection was refused.

    Only a refusal proves that no process listens there. The operating system accepts connections for an engine that is
    busy or stopped, and a time-out or a shortage of file descriptors says nothing about the engine.
    """
    return isinstance(_connect(address), ConnectionRefusedError)


def connection_accepted(address: str) -> bool:
    """Connects to an address and returns whether the connection was accepted."""
    return _connect(address) is None


def _connect(address: str) -> OSError | None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
    except OSError as error:
        return error
    return None
