"""What a call to a vCenter can end with instead of its answer, and how that is said."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import weakref
from typing import Any

from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from pulumi_customization_gate.core.text import sanitize


class UnreadableAnswerError(http.client.HTTPException):
    """The server's answer is none of the API's: cut short, or a page that something in between has written."""


TRANSIENT = (OSError, http.client.HTTPException, EOFError)
"""What a network, or a server that restarts, does to a call in flight."""
FAULTS = (*TRANSIENT, vmodl.MethodFault, vmodl.RuntimeFault)
"""All that a call to a vCenter can end with but its answer."""
PASSING = (*TRANSIENT, vmodl.fault.HostCommunication, vmodl.fault.SystemError)
"""What may be over when the call is made again, because nothing about the call itself is wrong."""

_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((vim.fault.NotAuthenticated,), "the session has ended"),
    ((vmodl.fault.RequestCanceled,), "the server has ended the call"),
    ((UnreadableAnswerError,), "an answer that cannot be read"),
    ((ssl.SSLCertVerificationError,), "a certificate that is not trusted"),
    ((ConnectionRefusedError,), "nobody listens there"),
    ((socket.gaierror,), "its name leads nowhere"),
    ((TimeoutError,), "no answer in time"),
    (
        (ConnectionError, ssl.SSLError, EOFError, http.client.IncompleteRead, http.client.BadStatusLine),
        "the connection broke off",
    ),
)
"""Errors whose own words help nobody at night; the first that fits. RemoteDisconnected is a ConnectionError."""


def describe(error: BaseException) -> str:
    """Returns a fault or a network error in a few words, fit for a log: never a stack, never a whole fault object."""
    name = type(error).__name__.rsplit(".", 1)[-1]
    said = sanitize(str(getattr(error, "msg", None) or ("" if isinstance(error, vmodl.MethodFault) else error)), 200)
    own = f"{name}: {said}" if said else name
    words = next((words for kinds, words in _WORDS if isinstance(error, kinds)), "")
    return f"{words} ({own})" if words else own


def raise_if_logged_out(error: Exception) -> None:
    """Tells a session that ended from a permission that is missing: the one fault is a subclass of the other."""
    if isinstance(error, vim.fault.NotAuthenticated):
        raise error


class Stub(SoapAdapter.SoapStubAdapter):  # type: ignore[misc]  # pyVmomi is untyped
    """pyVmomi's connection, of which every call ends with its answer or with one of FAULTS.

    pyVmomi takes whatever comes with the status 200 or 500 for SOAP, so that a proxy's error page, or an answer that is
    cut short, ends in an error of its parser, or in no answer where there has to be one.
    """

    is_retired = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def retire(self) -> None:
        """Closes all connections; a call that waits on one ends at once, however dead its peer is."""
        self.is_retired = True
        self.DropConnections()
        with self.lock:
            # Asked for once: a call that ends meanwhile takes its socket away.
            open_ones = [sock for connection in self._connections if (sock := connection.sock) is not None]
        for connected in open_ones:
            with contextlib.suppress(OSError):
                # The socket's own, not TLS's: that would take the goodbye apart under the hands of the reading thread.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def GetConnection(self) -> Any:  # noqa: N802 -- pyVmomi's name
        """Returns a connection for a call, and remembers it."""
        connection = super().GetConnection()
        with self.lock:
            self._connections.add(connection)
        return connection

    def ReturnConnection(self, conn: Any) -> None:  # noqa: N802 -- pyVmomi's name
        """Keeps a connection for the next call."""
        super().ReturnConnection(conn)
        if self.is_retired:
            self.DropConnections()

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803 -- pyVmomi's names
        """Calls a method of the server."""
        try:
            answer = super().InvokeMethod(mo, info, args, outerStub)
        except FAULTS:
            raise
        except Exception as error:
            raise UnreadableAnswerError(f"{type(error).__name__}: {error}") from error
        is_empty = answer is None and info.result is not type(None)
        if is_empty and not info.resultFlags & VmomiSupport.F_OPTIONAL:
            raise UnreadableAnswerError("it is empty")
        return answer
