"""The fixtures of the unit tests."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime import mocks

if TYPE_CHECKING:
    from collections.abc import Iterator


class Engine(mocks.Mocks):
    """Keeps the inputs of each resource."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.name] = {name: value for name, value in args.inputs.items() if value is not None}
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise NotImplementedError(args.token)


def _has_loop() -> bool:
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture(autouse=True, scope="session")
def _no_name_server() -> Iterator[None]:
    """Lets only addresses and `localhost` be resolved: a name server may take seconds, and may know example names."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in {None, "", "localhost"}:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
        yield


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The SDK's mocks, in place of an engine."""
    engine = Engine()
    if not _has_loop():
        # Another test may have left this thread without the event loop that the SDK's mocks take.
        asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(engine, project="p", stack="s")
    yield engine
    pulumi.runtime.settings.reset_options()
