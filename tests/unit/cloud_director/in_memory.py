"""A Cloud Director in memory: the lab's API behind a session's transport, without sockets, threads or a real clock."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from lab.cloud_director.api import Api
from lab.cloud_director.cloud import Cloud, Plan, SimulatedVm
from lab.cloud_director.faults import Faults
from pulumi_customization_gate.cloud_director.connection import Answer, UnreachableError
from pulumi_customization_gate.cloud_director.references import parse_reference
from pulumi_customization_gate.cloud_director.session import Session
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.cloud_director.source import CloudDirectorSource, named_now
from pulumi_customization_gate.core.model import targets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
SETTINGS = CloudDirectorSettings("https://vcd.example.com", "acme", "ann", "s3cret-passw0rd")


class Clock:
    """A monotonic clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.now += seconds
        return False


class Inbox(SimpleQueue[Any]):
    """The queue of a poller: to wait for an answer moves the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002 -- the queue's argument
        if self.empty() and timeout is not None:
            self._clock.now += timeout
        return self.get_nowait()


class InMemoryServer:
    """A transport whose other end is the lab's API."""

    def __init__(self, clock: Clock) -> None:
        self.cloud, self.faults, self.clock = Cloud("acme", "ann", SETTINGS.password), Faults(), clock
        self.is_reachable, self.is_closed = True, False
        self.log: list[str] = []
        """The requests, as method and path."""
        self._client = Api(self.cloud, self.faults).app.test_client(use_cookies=False)

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        largest: int = 0,  # noqa: ARG002 -- the transport's argument
        total: float = 0.0,  # noqa: ARG002 -- the same
    ) -> Answer:
        self.log.append(f"{method} {path.partition('?')[0]}")
        if not self.is_reachable:
            raise UnreachableError(f"{SETTINGS.address} did not answer {self.log[-1]}: connection refused")
        response = self._client.open(path, method=method, headers=dict(headers), data=form, base_url=SETTINGS.address)
        at = START + timedelta(seconds=int(self.clock.now))
        return Answer(response.status_code, dict(response.headers), response.data, at)

    def close(self) -> None:
        self.is_closed = True

    def count(self, part: str) -> int:
        return sum(part in request for request in self.log)


class InlineExecutor:
    """Runs a call when it is submitted, or, while `is_held`, when `release` is called."""

    def __init__(self) -> None:
        self.is_held = False
        self._held: deque[Callable[[], None]] = deque()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except Exception as error:  # noqa: BLE001 -- the reader of the future raises it
                    future.set_exception(error)

        if self.is_held:
            self._held.append(run)
        else:
            run()
        return future

    def release(self) -> None:
        """Runs what is held, in order."""
        self.is_held = False
        while self._held:
            self._held.popleft()()

    def run_newest(self) -> None:
        """Runs the newest call that is held."""
        self._held.pop()()

    def close(self) -> None:
        self._held.clear()


class InMemory:
    """A source, its session and its server."""

    def __init__(self, settings: CloudDirectorSettings = SETTINGS) -> None:
        self.clock, self.settings = Clock(), settings
        self.server, self.executor = InMemoryServer(self.clock), InlineExecutor()
        self.cloud, self.faults = self.server.cloud, self.server.faults

    def session(self, settings: CloudDirectorSettings | None = None) -> Session:
        return Session(settings or self.settings, self.server, self.executor, self.clock)

    def vm(self, name: str, state: str = "GC_PENDING", *, record: str | None = "") -> SimulatedVm:
        """Returns a VM in a state; by default its record reports none.

        Only tests change it: by the default plan VMware Tools would run after half a second of real time.
        """
        vm = self.cloud.add(name, plan=Plan(start_delay=math.inf))
        vm.set_state, vm.record_state = state, record
        return vm

    def source(self, vms: Mapping[str, str] | Sequence[str], **options: Any) -> CloudDirectorSource:
        def parse(text: str) -> Any:
            return parse_reference(text, self.settings.address)

        return CloudDirectorSource(
            self.settings,
            targets_of(vms, parse),
            connect=self._connect,
            clock=self.clock,
            sleep=self.clock.sleep,
            **options,
        )

    def named_now(self, *vapps: str) -> list[Mapping[str, str]]:
        references = [parse_reference(vapp, self.settings.address) for vapp in vapps]
        return named_now(self.settings, references, (), self._connect)

    @contextmanager
    def _connect(self, settings: CloudDirectorSettings) -> Iterator[Session]:
        session = self.session(settings)
        try:
            yield session
        finally:
            session.close()
