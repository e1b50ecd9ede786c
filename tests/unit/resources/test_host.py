"""The accommodations inside Pulumi's dynamic host, on a host that is built like it, and on one that is not."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import json_format
from pulumi.output import Unknown
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import status_pb2

from pulumi_customization_gate import refcounted
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.hosting import engine_connection, engine_watch, limits
from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, PartialFailureError
from pulumi_customization_gate.resources import host, sdk_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulumi_customization_gate.lifecycle import engine as lifecycle

URN = "urn:pulumi:dev::shop::pulumi-python:dynamic/customization:CustomizationGate::web"


@pytest.fixture(autouse=True)
def _unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a process of its own, from this module's point of view."""
    monkeypatch.setattr(host, "_prepared", {})
    monkeypatch.setattr(host, "_cancelled", threading.Event())
    monkeypatch.setattr(host, "_watch_signals", lambda: False)
    monkeypatch.setattr(sys, "argv", ["host"])
    monkeypatch.setattr(host, "prepare_interpreter", lambda: None)


class AbortedError(Exception):
    """What grpc's own context raises."""


class Context:
    """A call's context as grpc gives it to the servicer."""

    def __init__(self) -> None:
        self.reported: tuple[Any, str] | None = None
        self.metadata: tuple[tuple[str, bytes], ...] = ()

    def abort(self, code: Any, details: str) -> None:
        self.reported = (code, details)
        raise AbortedError

    def set_trailing_metadata(self, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self.metadata = metadata


class Request:
    urn = URN
    timeout = 90.0


def serve(method: Callable[[], object]) -> Context:
    """Calls a provider's method as the host's servicer does: any error becomes an abort with its traceback."""
    request, context = Request(), Context()

    def servicer(request: Request, context: Context) -> object:
        del request, context
        return method()

    try:
        servicer(request, context)
    except Exception as error:  # noqa: BLE001 -- as the host does
        with pytest.raises(AbortedError):
            context.abort(grpc.StatusCode.UNKNOWN, f"Traceback ... {error!r}")
    return context


def test_an_expected_error_is_its_text_alone() -> None:
    """An error that was raised on purpose reaches the engine without a traceback."""

    @host.clean_errors
    def refuse() -> None:
        raise GateError("the password is wrong")

    context = serve(refuse)
    assert (context.reported, context.metadata) == ((grpc.StatusCode.UNKNOWN, "the password is wrong"), ())


def test_a_bug_keeps_its_traceback() -> None:
    """An unexpected error is shown as it is."""

    @host.clean_errors
    def stumble() -> None:
        raise KeyError("moid")

    context = serve(stumble)
    assert context.reported == (grpc.StatusCode.UNKNOWN, "Traceback ... KeyError('moid')")


def test_a_partial_failure_keeps_the_outputs() -> None:
    """The engine receives ID, outputs and reason in the form by which it keeps a resource that failed."""
    outputs = {"ready": False, "results": {"web": {"status": "CustomizationFailed", "failure": None}}}

    @host.clean_errors
    def fail() -> None:
        raise PartialFailureError("1 of 1 failed", "0123", outputs)

    context = serve(fail)
    assert context.reported == (grpc.StatusCode.UNKNOWN, "1 of 1 failed")
    ((key, packed),) = context.metadata
    status = status_pb2.Status.FromString(packed)
    details = proto.ErrorResourceInitFailed()
    assert key == "grpc-status-details-bin"
    assert status.details[0].Unpack(details)
    assert (details.id, list(details.reasons), status.message) == ("0123", ["1 of 1 failed"], "1 of 1 failed")
    assert json_format.MessageToDict(details.properties) == outputs


def test_outside_the_host_an_error_is_an_error() -> None:
    """Where nothing like the host's servicer is below, the error is raised as it is."""

    @host.clean_errors
    def refuse() -> None:
        raise GateError("no")

    with pytest.raises(GateError, match="no"):
        refuse()


def test_a_call_knows_its_resource() -> None:
    """URN and custom timeout come from the request of the servicer's frame."""
    calls: list[host.Call] = []
    serve(lambda: calls.append(host.Call()))
    assert (calls[0].urn, calls[0].custom_timeout) == (URN, 90.0)
    assert (host.Call().urn, host.Call().custom_timeout) == ("", 0.0)


class Engine:
    def __init__(self, error: Exception | None = None) -> None:
        self.lines: list[Any] = []
        self._error = error

    def Log(self, request: Any, timeout: float) -> None:  # noqa: N802 -- the method's name in the engine's protocol
        assert timeout == engine_connection.LOG_TIMEOUT
        self.lines.append(request)
        if self._error is not None:
            raise self._error


def test_lines_go_to_the_resources_own_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line names the resource; one that does not last is ephemeral, a warning is a warning."""
    engine = Engine()
    monkeypatch.setattr(host, "_engine", lambda: EngineConnection(engine))

    def write() -> None:
        host.Call().log("1 of 3 customized", lasting=False)
        host.Call().log("watching again", warning=True)

    serve(write)
    assert [(line.urn, line.message, line.severity, line.ephemeral) for line in engine.lines] == [
        (URN, "1 of 3 customized", 1, True),
        (URN, "watching again", 2, False),
    ]


def test_a_line_that_is_lost_fails_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not take the line, or is none, changes nothing for the wait."""
    engine = Engine(grpc.RpcError())
    monkeypatch.setattr(host, "_engine", lambda: EngineConnection(engine))
    assert serve(lambda: host.Call().log("lost")).reported is None
    host.Call().log("there is no resource to write it to")
    assert [line.message for line in engine.lines] == ["lost"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param(["host", "127.0.0.1:4711"], True, id="the engine's address"),
        pytest.param(["host", "--flag=1:2", "127.0.0.1:4711"], True, id="a flag before it"),
        pytest.param(["host"], False, id="none"),
    ],
)
def test_the_engine_is_the_hosts_argument(monkeypatch: pytest.MonkeyPatch, arguments: list[str], found: bool) -> None:
    """The engine's log service is at the address that the host was started with."""
    monkeypatch.setattr(sys, "argv", arguments)
    assert (host._engine.__wrapped__() is not None) == found


def test_the_pool_grows() -> None:
    """After `prepare` in a worker of the host's pool, more calls run side by side than the pool was made for."""
    together = threading.Barrier(8)
    with ThreadPoolExecutor(max_workers=4) as pool:
        pool.submit(host.prepare).result(timeout=10)
        calls = [pool.submit(together.wait, 10) for _ in range(8)]
        assert sorted(call.result(timeout=20) for call in calls) == list(range(8))
    assert "more than four calls at once" not in host.missing()


def test_no_thread_holds_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads take turns sooner than by default, and a collection that stops them all is rare."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    monkeypatch.setattr(host, "prepare_interpreter", limits.prepare_interpreter)
    try:
        host.prepare()
        assert sys.getswitchinterval() < 0.005
        assert gc.get_threshold() == (*thresholds[:2], 100)
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_the_host_can_be_left_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUSTOMIZATION_GATE_PLAIN_HOST=1 the pool keeps its size, and nothing is reported as missing."""
    monkeypatch.setenv("CUSTOMIZATION_GATE_PLAIN_HOST", "1")
    with ThreadPoolExecutor(max_workers=4) as pool:
        pool.submit(host.prepare).result(timeout=10)
        assert pool._max_workers == 4
    assert host.missing() == []


def test_calls_that_wait_for_a_worker_get_one() -> None:
    """Calls that were in the queue when the pool was extended start at once, not at the next call."""
    together, busy = threading.Barrier(6), threading.Event()

    def first() -> None:
        busy.wait(10)
        host.prepare()
        together.wait(10)

    with ThreadPoolExecutor(max_workers=1) as pool:
        widened = pool.submit(first)
        waiting = [pool.submit(together.wait, 10) for _ in range(5)]
        busy.set()
        widened.result(timeout=20)
        assert len({call.result(timeout=20) for call in waiting}) == 5


def test_cancel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's Cancel, which does nothing, ends the waits of the process; the server may hold the method already."""

    class Servicer:
        def Cancel(self, request: object, context: object) -> object:  # noqa: N802 -- the host's own name
            del request, context
            return None

    held = Servicer().Cancel
    monkeypatch.setattr(sys.modules["__main__"], "DynamicResourceProviderServicer", Servicer, raising=False)
    host.prepare()
    assert "cancellation by one Ctrl-C" not in host.missing()
    assert host.cancelled() is False
    assert type(held(None, None)).__name__ == "Empty"
    assert host.cancelled() is True


def test_an_unknown_host_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host has changed, nothing is patched, and a warning names what is missing."""

    class Servicer:
        def Cancel(self, request: object, *, context: object = None) -> str:  # noqa: N802 -- the host's own name
            del request, context
            return "as it was"

    monkeypatch.setattr(sys.modules["__main__"], "DynamicResourceProviderServicer", Servicer, raising=False)
    host.prepare()
    assert host.missing() == [
        "more than four calls at once",
        "cancellation by one Ctrl-C",
        "an exit once its engine was killed",
    ]
    assert Servicer().Cancel(None) == "as it was"


def test_the_host_exits_after_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the engine's address refuses connections, the waits are cancelled and end before the process does."""
    steps: list[str] = []
    exited = threading.Event()
    sessions = refcounted.RefCounted[str, str](str, lambda name: steps.append(f"{name} is logged out"))
    monkeypatch.setattr(engine_watch, "INTERVAL", 0.02)
    monkeypatch.setattr(engine_watch, "EXIT_TIMEOUT", 0.02)
    monkeypatch.setattr(os, "kill", lambda pid, number: steps.append(f"{pid} {number.name}"))

    def leave(status: int) -> None:
        steps.append(f"exit {status}")
        exited.set()

    monkeypatch.setattr(os, "_exit", leave)

    def gate() -> None:
        with sessions.acquire("the session"):
            assert host._cancelled.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as engine:
        monkeypatch.setattr(sys, "argv", ["host", f"127.0.0.1:{engine.getsockname()[1]}"])
        assert host._watch_engine()
        waiting = threading.Thread(target=gate)
        waiting.start()
        assert not host._cancelled.wait(0.2)
    waiting.join(10)
    assert exited.wait(10)
    assert steps == ["the session is logged out", f"{os.getpid()} SIGINT", "exit 1"]


def test_a_session_that_does_not_close_does_not_keep_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that does not end once it is cancelled delays the exit by END_TIMEOUT at most."""
    monkeypatch.setattr(host, "END_TIMEOUT", 0.02)
    sessions = refcounted.RefCounted[str, str](str, lambda _: None)
    with sessions.acquire("the session"):
        host._end_waits()
        assert host.cancelled()


def test_an_address_that_never_answered_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the engine's address refuses the first connection, during the engine's own call, it proves nothing."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        monkeypatch.setattr(sys, "argv", ["host", f"127.0.0.1:{gone.getsockname()[1]}"])
    host.prepare()
    assert "an exit once its engine was killed" in host.missing()


def test_what_preview_does_not_know() -> None:
    """An unknown value is one in either form in which the host hands it over."""
    unknown = Unknown()  # type: ignore[no-untyped-call]
    assert [sdk_values.is_unknown(value) for value in (unknown, rpc.UNKNOWN, None, "", ["vm-1"])] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_unknown_values_reach_a_lifecycle_as_its_own() -> None:
    """UNKNOWN takes the place of each unknown value, also inside of lists and maps."""
    inputs = {"vm": rpc.UNKNOWN, "arguments": ["a", rpc.UNKNOWN], "environment": {"A": rpc.UNKNOWN, "B": "b"}}
    assert sdk_values.with_unknowns_marked(inputs) == {
        "vm": UNKNOWN,
        "arguments": ["a", UNKNOWN],
        "environment": {"A": UNKNOWN, "B": "b"},
    }


def test_a_call_is_the_engine_of_a_lifecycle() -> None:
    """What a lifecycle may ask of its host, the call answers."""
    engine: lifecycle.Engine = host.Call()
    assert (engine.urn, engine.custom_timeout, engine.cancelled()) == ("", 0.0, False)


_HOST = """
import contextlib, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # Tests that run in the background ignore the signal.
from pulumi_customization_gate import refcounted
from pulumi_customization_gate.resources import host

def close(session):
    print(f"closed {session}\\n", end="", flush=True)  # In one piece: two threads print.

sessions = refcounted.RefCounted(lambda key: key, close)

def serve():
    assert host._watch_signals()
    refcounted.keep_unused(60)
    with sessions.acquire("unused"):
        pass
    with sessions.acquire("in use"):
        print("waiting", flush=True)
        while not host.cancelled():
            threading.Event().wait(0.05)

serving = threading.Thread(target=serve)
with contextlib.suppress(KeyboardInterrupt):  # The signal may come as soon as the thread has printed.
    serving.start()
    while True:  # A signal just before a wait is seen by Python after it, so that no wait may be endless.
        threading.Event().wait(0.05)
serving.join()
print("ended", flush=True)
"""
"""A process like the host: the main thread only waits, and a provider's code runs in another one."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "end", "status"),
    [
        pytest.param(signal.SIGINT, ["ended"], 0, id="SIGINT, which the engine sends at the end of an operation"),
        pytest.param(signal.SIGTERM, [], -signal.SIGTERM, id="SIGTERM"),
    ],
)
def test_a_signal_ends_the_waits_and_closes_every_session(number: signal.Signals, end: list[str], status: int) -> None:
    """A process that receives a signal closes kept and used objects, and ends as the signal demands."""
    with subprocess.Popen([sys.executable, "-c", _HOST], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        try:
            printed = process.communicate(timeout=10)[0].splitlines()
        finally:
            process.kill()
    assert (sorted(printed), process.returncode) == (sorted(["closed in use", "closed unused", *end]), status)


class _OldEngine:
    """An engine from before the question was there."""

    def RequirePulumiVersion(self, _request: object, timeout: float) -> None:  # noqa: ARG002, N802 -- gRPC's names
        raise grpc.RpcError


class _NewEngine:
    def RequirePulumiVersion(self, _request: object, timeout: float) -> None:  # noqa: ARG002, N802 -- the same
        return None


@pytest.mark.parametrize(
    ("engine", "kept"),
    [
        pytest.param(EngineConnection(_NewEngine()), [limits.KEEP_UNUSED], id="it interrupts plugins first"),
        pytest.param(EngineConnection(_OldEngine()), [], id="it kills plugins at once"),
        pytest.param(None, [], id="its address is not known"),
    ],
)
def test_sessions_are_kept_only_where_the_engine_lets_a_plugin_log_out(
    engine: object, kept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that is killed without a signal handler would leave a kept session behind."""
    seconds: list[float] = []
    monkeypatch.setattr(host, "_watch_signals", lambda: True)
    monkeypatch.setattr(host, "_engine", lambda: engine)
    monkeypatch.setattr(refcounted, "keep_unused", seconds.append)
    host.prepare()
    assert seconds == kept
