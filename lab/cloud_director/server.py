"""The two servers of the lab's Cloud Director: the API over HTTPS, the control endpoint over HTTP on loopback."""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from lab.cloud_director.api import Api
from lab.cloud_director.control import Control
from lab.cloud_director.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.cloud_director.cloud import Cloud

_THREADS = 48
"""More than any test lets hang at once."""
_LOOPBACK = ("127.0.0.1", 0)


class _Server(wsgi.Server):
    """A server that logs what clients do to it at INFO: dropped connections are part of the tests."""

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logging.getLogger(__name__).log(level, msg, exc_info=traceback)


@dataclass(frozen=True)
class Running:
    """A lab that serves in this process."""

    cloud: Cloud
    faults: Faults
    url: str
    control: str
    token: str = field(repr=False)


@contextmanager
def serve(
    cloud: Cloud, tls: Path, listen: tuple[str, int] = _LOOPBACK, steer: tuple[str, int] = _LOOPBACK
) -> Iterator[Running]:
    """Serves a cloud for the length of a block.

    Args:
        cloud: The cloud.
        tls: A folder with server.pem and server-key.pem.
        listen: Host and port of the API; port 0 takes a free one.
        steer: Host and port of the control endpoint.
    """
    faults, token = Faults(), secrets.token_urlsafe(24)
    front = _Server(listen, Api(cloud, faults).app, numthreads=_THREADS, request_queue_size=128)
    front.ssl_adapter = BuiltinSSLAdapter(str(tls / "server.pem"), str(tls / "server-key.pem"))
    # An idle connection outlives the longest interval between two questions, as those of real load balancers do.
    front.timeout, front.keep_alive_conn_limit = 30, 1000
    back = _Server(steer, Control(cloud, faults, token).app, numthreads=2)
    threads = []
    try:
        for server in (front, back):
            server.prepare()
            threads.append(threading.Thread(target=server.serve, daemon=True))
            threads[-1].start()
        yield Running(cloud, faults, f"https://{_place(front)}", f"http://{_place(back)}", token)
    finally:
        faults.clear()
        for server in (front, back):
            server.stop()
        for thread in threads:
            thread.join(5)


def _place(server: wsgi.Server) -> str:
    host, port = server.bind_addr[:2]
    return f"{host}:{port}"
