"""The engine that started this process, as a provider reaches it."""

from __future__ import annotations

import os
import sys
from typing import Any

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

LOG_TIMEOUT = 5.0
"""Seconds that a line for the engine may take."""
QUERY_TIMEOUT = 5.0
"""Seconds that a question to the engine may take."""


class EngineConnection:
    """The services of an engine.

    Args:
        stub: The engine's service, as gRPC makes it.
    """

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    @classmethod
    def at(cls, address: str) -> EngineConnection:
        """Returns the engine at `host:port`; connects when it is first used."""
        return cls(engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)))

    def log(self, urn: str, message: str, *, lasting: bool = True, warning: bool = False) -> None:
        """Writes a line on a resource's own row of `pulumi up`; one that does not last stays out of the log."""
        request = engine_pb2.LogRequest(
            severity=engine_pb2.WARNING if warning else engine_pb2.INFO,
            urn=urn,
            message=message,
            ephemeral=not lasting,
        )
        try:
            self._stub.Log(request, timeout=LOG_TIMEOUT)
        except grpc.RpcError:
            return  # A line that is lost must not fail the wait.

    def interrupts_plugins(self) -> bool:
        """Whether the engine lets its plugins end by themselves: before CLI 3.172 it killed them at once.

        An engine that answers this question at all is new enough (CLI 3.217).
        """
        request = getattr(engine_pb2, "RequirePulumiVersionRequest", None)
        if request is None:
            return False
        try:
            self._stub.RequirePulumiVersion(request(pulumi_version_range=">=3.172.0"), timeout=QUERY_TIMEOUT)
        except grpc.RpcError:
            return False
        return True


def engine_address() -> str | None:
    """Returns the engine's address, the first argument with which it starts a plugin."""
    return next((a for a in sys.argv[1:] if a.rpartition(":")[2].isdigit() and not a.startswith("-")), None)


def has_terminal() -> bool:
    """Whether `pulumi up` writes to a terminal; elsewhere a temporary line is printed too.

    A plugin's own output is a pipe, but a terminal that the engine runs in is the controlling one of its plugins too.
    """
    if os.environ.get("PULUMI_AUTOMATION_API") or os.environ.get("CI"):
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
