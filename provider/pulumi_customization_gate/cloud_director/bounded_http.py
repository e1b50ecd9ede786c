"""HTTPS connections whose answers end at a deadline, and whose status is kept where the rest cannot be read."""

from __future__ import annotations

import http.client
import io
import math
import threading
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPSConnection

from pulumi_customization_gate.https import TlsAdapter


class Exchange(threading.local):
    """The request that this thread makes."""

    deadline: float = math.inf
    """By the monotonic clock: nothing is read after it."""
    is_sent: bool = False
    """Whether there was a connection, so that the server may have received the request."""


current_exchange = Exchange()


class HeadersError(http.client.HTTPException):
    """The headers after a status line cannot be read."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the headers after status {status} cannot be read")
        self.status = status


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline: a time-out of its own for each read does not end with a slow sender."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > current_exchange.deadline:
            raise TimeoutError("the response did not end in time")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach()))

    def begin(self) -> None:
        try:
            super().begin()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(self.status, int):
                raise HeadersError(self.status) from error
            raise


class _Connection(HTTPSConnection):
    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:
        current_exchange.is_sent = True
        super().request(*args, **kwargs)


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


class BoundedAdapter(TlsAdapter):
    """A pool of such connections."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Makes the pool towards the server itself."""
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        _use_pool(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Returns the pool towards the server behind a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        _use_pool(manager)
        return manager


def _use_pool(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _Pool}
