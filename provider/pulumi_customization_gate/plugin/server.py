"""The process of the native provider: its server, its signals, and its end."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from pulumi_customization_gate import refcounted
from pulumi_customization_gate.hosting import engine_connection, engine_watch
from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.hosting.limits import CALLS_AT_ONCE, END_TIMEOUT, prepare_interpreter
from pulumi_customization_gate.plugin.servicer import ProviderServicer

STOP_TIMEOUT = 3.0
"""Seconds in which calls may end once the process is told to end: the engine kills a plugin after five."""
_SIGNAL_INTERVAL = 1.0
"""Seconds after which a signal is noticed at the latest: on Windows none ends a wait."""
_LARGEST_MESSAGE = 400 * 1024 * 1024
"""Bytes of a message: the engine's own limit."""


def serve() -> None:
    """Serves the provider, prints its port as the engine expects it, and returns once the process is told to end."""
    prepare_interpreter()
    address = engine_connection.engine_address()
    servicer = ProviderServicer(EngineConnection.at(address) if address else None)
    server = grpc.server(
        ThreadPoolExecutor(CALLS_AT_ONCE),
        options=[("grpc.max_receive_message_length", _LARGEST_MESSAGE), ("grpc.so_reuseport", 0)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    server.start()
    print(port, flush=True)  # noqa: T201 -- the engine reads it
    if address is not None:
        threading.Thread(target=_watch, args=(address, servicer), daemon=True).start()
    while not ended.wait(_SIGNAL_INTERVAL):
        pass
    servicer.cancel()
    server.stop(STOP_TIMEOUT).wait()
    refcounted.close_all()


def _watch(address: str, servicer: ProviderServicer) -> None:
    """Ends the process after its engine; an address that does not accept a first connection proves nothing later."""

    def end_waits() -> None:
        servicer.cancel()
        refcounted.close_all(END_TIMEOUT)

    if engine_watch.connection_accepted(address):
        engine_watch.exit_once_gone(address, end_waits)
