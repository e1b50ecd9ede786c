"""The only module that uses internals of Pulumi's dynamic provider host (`pulumi/dynamic/__main__.py`).

The host does not give a provider the resource's URN, a cancellation, or a way to fail with its own message, and it
serves four calls at a time. Before this module uses an internal of the host, it checks that it exists. If a new SDK has
changed it, `missing` names the feature, and the gate works without it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import os
import signal
import sys
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import grpc
from pulumi.runtime import rpc

from pulumi_customization_gate import refcounted
from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.hosting import engine_connection, engine_watch
from pulumi_customization_gate.hosting.engine_connection import EngineConnection
from pulumi_customization_gate.hosting.limits import CALLS_AT_ONCE, END_TIMEOUT, KEEP_UNUSED, prepare_interpreter
from pulumi_customization_gate.hosting.partial_failure import trailing_metadata
from pulumi_customization_gate.lifecycle.engine import PartialFailureError
from pulumi_customization_gate.lifecycle.inputs import without_secrets
from pulumi_customization_gate.lifecycle.phrases import hint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

P = ParamSpec("P")
R = TypeVar("R")

PLAIN_HOST = "CUSTOMIZATION_GATE_PLAIN_HOST"
"""The environment variable that, set to 1, leaves the host unchanged: to compare, or if a new SDK causes an error here.
"""

_cancelled = threading.Event()
_preparing = threading.Lock()
_prepared: dict[str, bool] = {}


def prepare() -> None:
    """Prepares the host for calls that wait: more of them, in turns, with its Cancel, its engine's end, and sessions.

    Call it from `configure`.
    """
    with _preparing:
        if _prepared or os.environ.get(PLAIN_HOST) == "1":
            return
        prepare_interpreter()
        _prepared["more than four calls at once"] = _widen_pool()
        _prepared["cancellation by one Ctrl-C"] = _hear_cancel()
        _prepared["an exit once its engine was killed"] = _watch_engine()
        engine = _engine()
        if _watch_signals() and engine is not None and engine.interrupts_plugins():
            refcounted.keep_unused(KEEP_UNUSED)


def missing() -> list[str]:
    """Returns what this SDK's host does not let a provider do, in words for a warning."""
    return [feature for feature, found in _prepared.items() if not found]


def cancelled() -> bool:
    """Whether the engine has asked its providers to stop."""
    return _cancelled.is_set()


def waiting_call(inputs: Mapping[str, Any]) -> Call:
    """Returns the call that this thread serves, for an operation that waits.

    Args:
        inputs: The resource's inputs.
    """
    call = Call(inputs)
    for feature in missing():
        call.log(f"this Pulumi SDK does not allow {feature}; the gate works without it", warning=True)
    return call


class Call:
    """The engine's call that this thread serves: what a lifecycle takes as its `Engine`.

    Args:
        inputs: The resource's inputs; secrets among them are removed from every line.
    """

    def __init__(self, inputs: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._request, self._context = _find_call()
        self._inputs = inputs

    @property
    def urn(self) -> str:
        """The URN of the resource, or nothing."""
        return str(getattr(self._request, "urn", ""))

    @property
    def custom_timeout(self) -> float:
        """The resource's `custom_timeouts` in seconds, 0 where there is none."""
        return float(getattr(self._request, "timeout", 0) or 0)

    @property
    def has_terminal(self) -> bool:
        """Whether `pulumi up` writes to a terminal."""
        return engine_connection.has_terminal()

    def cancelled(self) -> bool:
        """Whether the user has cancelled the update."""
        return cancelled()

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:
        """Writes a line on the resource's own row of `pulumi up`; one that does not last stays out of the log."""
        engine = _engine()
        if engine is not None and self.urn:
            engine.log(self.urn, without_secrets(message, self._inputs), lasting=lasting, warning=warning)

    def fail_cleanly(self, error: GateError) -> None:
        """Has this call fail with the error's own text instead of a traceback, its outputs kept where it has any."""
        if self._context is None:
            return
        abort = self._context.abort
        if isinstance(error, PartialFailureError):
            self._context.set_trailing_metadata(_partial_state(error))
        text = str(error) + hint_of(error, cancelled=cancelled())
        self._context.abort = lambda _code, _details: abort(grpc.StatusCode.UNKNOWN, text)


def clean_errors(method: Callable[P, R]) -> Callable[P, R]:
    """Wraps a provider's method so that an expected error reaches the user as its text alone; a bug keeps its trace.

    The text shows no secret input: the method's last argument holds the inputs.
    """

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except GateError as error:
            if args and isinstance(args[-1], dict):
                error.args = (without_secrets(str(error), args[-1]),)
            Call().fail_cleanly(error)
            raise

    return wrapper


def _partial_state(error: PartialFailureError) -> tuple[tuple[str, bytes]]:
    """Returns what keeps a failed resource's outputs."""
    loop = asyncio.new_event_loop()
    try:
        properties = loop.run_until_complete(rpc.serialize_properties(dict(error.outputs), {}))
    finally:
        loop.close()
    return trailing_metadata(error, properties)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- the host does not pass its call on: it is on the stack
    while frame is not None:
        yield frame
        frame = frame.f_back


def _find_call() -> tuple[Any, Any]:
    """Returns the request and the context of the servicer's frame below us, or nothing."""
    for frame in _frames():
        request, context = frame.f_locals.get("request"), frame.f_locals.get("context")
        if hasattr(request, "urn") and hasattr(context, "abort"):
            return request, context
    return None, None


def _widen_pool() -> bool:
    """Lets the pool whose worker this thread is grow; Python's own pool makes threads only as they are needed."""
    for frame in _frames():
        reference = frame.f_locals.get("executor_reference")
        if frame.f_code.co_name == "_worker" and callable(reference):
            executor = reference()
            if hasattr(executor, "_max_workers") and hasattr(executor, "_adjust_thread_count"):
                waiting = executor._work_queue.qsize()  # noqa: SLF001 -- the pool has no public way to grow
                executor._max_workers = max(executor._max_workers, CALLS_AT_ONCE)  # noqa: SLF001 -- the same
                for _ in range(min(waiting, CALLS_AT_ONCE)):
                    executor._adjust_thread_count()  # noqa: SLF001 -- the same
                return True
    return False


def _cancel(_servicer: object, _request: object, _context: object) -> object:
    """Replaces the host's Cancel, which does nothing. Runs with the host's globals, so it imports its own."""
    from google.protobuf import empty_pb2  # noqa: PLC0415 -- see above

    from pulumi_customization_gate.resources import host  # noqa: PLC0415, PLW0406 -- see above

    host.cancel()
    return empty_pb2.Empty()


def cancel() -> None:
    """Ends every wait of this process, and has each session closed after its last user."""
    _cancelled.set()
    refcounted.close_all(0)


def shut_down() -> None:
    """Ends every wait and logs out everywhere, within a second: this process is about to end."""
    cancel()
    refcounted.close_all()


def _watch_signals() -> bool:
    """Calls `shut_down` on SIGINT and SIGTERM.

    At the end of an operation the engine sends its plugins SIGINT, and SIGKILL after five seconds. The host's own
    handling of SIGINT goes on: it ends the process once no call is served any more.

    Python sets signal handlers in the main thread only, where no provider's code ever runs. `faulthandler.register` has
    no such limit: its handler writes a traceback to a pipe, and a thread waits for that.

    Returns:
        Whether this system has such signals; Windows has not.
    """
    if not hasattr(faulthandler, "register"):
        return False
    for number, is_passed_on in ((signal.SIGINT, True), (signal.SIGTERM, False)):
        read, write = os.pipe()
        os.set_blocking(write, False)
        faulthandler.register(number, file=write, all_threads=False, chain=is_passed_on)
        watch = functools.partial(_shut_down_on, number, read, is_passed_on=is_passed_on)
        threading.Thread(target=watch, name="customization-gate-signals", daemon=True).start()
    return True


def _shut_down_on(number: signal.Signals, pipe: int, *, is_passed_on: bool) -> None:
    os.read(pipe, 1)
    shut_down()
    if not is_passed_on:
        faulthandler.unregister(number)
        os.kill(os.getpid(), number)


def _hear_cancel() -> bool:
    """Swaps the code of the host's Cancel: the server holds the method itself, so replacing it would come too late."""
    servicer = getattr(sys.modules.get("__main__"), "DynamicResourceProviderServicer", None)
    method: Any = getattr(servicer, "Cancel", None)
    code = getattr(method, "__code__", None)
    if code is None or code.co_argcount != _cancel.__code__.co_argcount or code.co_freevars:
        return False
    method.__code__ = _cancel.__code__
    return True


def _watch_engine() -> bool:
    """Starts the thread that ends this process after its engine; returns whether the engine's address can be watched.

    An address that does not accept this first connection, during a call of the engine, proves nothing later.
    """
    address = engine_connection.engine_address()
    if address is None or not engine_watch.connection_accepted(address):
        return False
    watch = functools.partial(engine_watch.exit_once_gone, address, _end_waits)
    threading.Thread(target=watch, name="customization-gate-engine-watch", daemon=True).start()
    return True


def _end_waits() -> None:
    """Ends every wait and returns once each has logged out, or after END_TIMEOUT."""
    cancel()
    refcounted.close_all(END_TIMEOUT)


@functools.cache
def _engine() -> EngineConnection | None:
    """Returns the engine."""
    address = engine_connection.engine_address()
    return EngineConnection.at(address) if address else None
