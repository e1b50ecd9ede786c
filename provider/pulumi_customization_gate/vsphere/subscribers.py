"""The subscribers of an event feed: who waits for which VMs, and the last warning of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pulumi_customization_gate.core.model import Observation

if TYPE_CHECKING:
    from collections.abc import Collection

Sink = Callable[[Observation | str | Exception], None]
"""Receives what the feed publishes: an observation, a sentence for the log, or the error that ended the feed."""


class Subscribers:
    """Passes each observation to those who wait for its VM. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moids: dict[Sink, frozenset[str]] = {}
        self._warnings: dict[Sink, str] = {}

    def add(self, moids: Collection[str], sink: Sink) -> None:
        """Has the sink called with the observations of these VMs."""
        with self._lock:
            self._moids[sink] = frozenset(moids)

    def remove(self, sink: Sink) -> None:
        """Ends a subscription."""
        with self._lock:
            self._moids.pop(sink, None)
            self._warnings.pop(sink, None)

    def moids(self) -> frozenset[str]:
        """Returns the managed object IDs of all VMs that have a subscriber."""
        with self._lock:
            return frozenset().union(*self._moids.values())

    def dispatch(self, observation: Observation) -> None:
        """Passes an observation to the subscribers of its VM."""
        with self._lock:
            sinks = [sink for sink, moids in self._moids.items() if observation.vm in moids]
        for sink in sinks:
            sink(observation)

    def publish(self, item: str | Exception) -> None:
        """Passes a sentence or an error to all subscribers."""
        with self._lock:
            sinks = list(self._moids)
        for sink in sinks:
            sink(item)

    def warn(self, warning: str) -> None:
        """Passes a warning to each subscriber whose last one was another; an empty one is only noted."""
        with self._lock:
            sinks = [sink for sink in self._moids if self._warnings.get(sink, "") != warning]
            self._warnings.update(dict.fromkeys(sinks, warning))
        if warning:
            for sink in sinks:
                sink(warning)
