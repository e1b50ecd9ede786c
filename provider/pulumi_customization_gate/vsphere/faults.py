"""The errors that a call to a vCenter can end with, and how a message names them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from pyVmomi import SoapAdapter, VmomiSupport, vim, vmodl

from pulumi_customization_gate.core.errors import GateError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.deserializer import invoke_method

if TYPE_CHECKING:
    from pulumi_customization_gate.proxies import Proxy


class MalformedResponseError(http.client.HTTPException):
    """The response is not one of the API: cut short, or a page that a proxy wrote."""


class InvalidXmlError(MalformedResponseError):
    """The response holds a character that no XML may hold, for example in the message of an event.

    The same call gets the same response again.
    """


class CallTimeoutError(TimeoutError):
    """The server sent nothing for as long as a connection waits."""


TRANSIENT = (OSError, http.client.HTTPException, EOFError)
"""Errors of the network, or of a server that restarts."""
FAULTS = (*TRANSIENT, vmodl.MethodFault, vmodl.RuntimeFault)
"""Everything that a call to a vCenter can raise."""
RETRYABLE = (*TRANSIENT, vmodl.fault.HostCommunication, vmodl.fault.SystemError)
"""Errors that a retry may overcome, because nothing is wrong with the call itself."""

KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Options of a connection: while a call waits, a server that is gone is noticed after 35 s, and a slow one is not."""

_INVALID_TEXT = tuple(
    expat.errors.codes[message]
    for message in (expat.errors.XML_ERROR_INVALID_TOKEN, expat.errors.XML_ERROR_BAD_CHAR_REF)
)
"""Expat's codes for text that is not XML; a response that is cut short, or HTML, has others."""

_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((vim.fault.NotAuthenticated,), "session not authenticated"),
    ((vmodl.fault.RequestCanceled,), "call canceled by the server"),
    ((MalformedResponseError,), "malformed response"),
    ((ssl.SSLCertVerificationError,), "certificate not trusted"),
    ((ConnectionRefusedError,), "connection refused"),
    ((socket.gaierror,), "host name could not be resolved"),
    ((TimeoutError,), "timed out"),
    (
        (ConnectionError, ssl.SSLError, EOFError, http.client.IncompleteRead, http.client.BadStatusLine),
        "connection lost",
    ),
)
"""Errors in the words of the operating system; the first that fits. RemoteDisconnected is a ConnectionError."""


def describe(error: BaseException) -> str:
    """Returns a fault or a network error in one line: what it means, then its class and its own message."""
    if isinstance(error, CallTimeoutError):
        return str(error)
    name = type(error).__name__.rsplit(".", 1)[-1]
    detail = sanitize(str(getattr(error, "msg", None) or ("" if isinstance(error, vmodl.MethodFault) else error)), 200)
    own = f"{name}: {detail}" if detail else name
    words = next((words for kinds, words in _WORDS if isinstance(error, kinds)), "")
    return f"{words} ({own})" if words else own


def raise_if_logged_out(error: Exception) -> None:
    """Raises the error if the session ended, not if a permission is missing: NotAuthenticated is a NoPermission."""
    if isinstance(error, vim.fault.NotAuthenticated):
        raise error


class Stub(SoapAdapter.SoapStubAdapter):  # type: ignore[misc]  # pyVmomi is untyped
    """pyVmomi's connection, with every error of a call turned into one of FAULTS.

    pyVmomi parses whatever comes with the status 200 or 500 as SOAP, so that a proxy's error page, or a response that
    is cut short, ends in an error of its parser, or in no result where one is required.
    """

    is_retired = False

    def __init__(self, *args: Any, proxy: Proxy | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if proxy is not None:
            # pyVmomi's own way sends the proxy's password to the server, too.
            self.scheme = proxy.tunnel
        self._timeout = float(kwargs.get("httpConnectionTimeout") or 0)
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def retire(self) -> None:
        """Closes all connections; a call that waits on one ends at once."""
        self.is_retired = True
        self.DropConnections()
        with self.lock:
            # Read once: a call that ends meanwhile removes its socket.
            open_ones = [sock for connection in self._connections if (sock := connection.sock) is not None]
        for connected in open_ones:
            with contextlib.suppress(OSError):
                # The socket's own method, not TLS's: that one changes state that the reading thread is using.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def GetConnection(self) -> Any:  # noqa: N802 -- pyVmomi's name
        """Returns a connection for a call, and remembers it."""
        connection = super().GetConnection()
        if connection.sock is not None:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name in filter(partial(hasattr, socket), KEEPALIVE):  # Not every system has all of them.
                connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), KEEPALIVE[name])
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
            result = invoke_method(self, mo, info, args, outerStub)
        except TimeoutError as error:
            within = f" after {self._timeout:g} s" if self._timeout else ""
            raise CallTimeoutError(f"timed out{within}") from error
        except (*FAULTS, GateError):
            raise
        except expat.ExpatError as error:
            kind = InvalidXmlError if error.code in _INVALID_TEXT else MalformedResponseError
            raise kind(f"{type(error).__name__}: {error}") from error
        except Exception as error:
            raise MalformedResponseError(f"{type(error).__name__}: {error}") from error
        is_empty = result is None and info.result is not type(None)
        if is_empty and not info.resultFlags & VmomiSupport.F_OPTIONAL:
            raise MalformedResponseError("empty result")
        return result


class SessionCookie:
    """The cookie of a session, for all its connections."""

    value = ""


class SessionStub(Stub):
    """A connection of a session: its cookie changes by a login alone.

    pyVmomi takes the cookie of every response. One that refuses a call of an earlier session sets another cookie, and
    would end the session that has begun meanwhile.
    """

    def __init__(self, *args: Any, session_cookie: SessionCookie, **kwargs: Any) -> None:
        self._session_cookie = session_cookie
        super().__init__(*args, **kwargs)

    @property
    def cookie(self) -> str:
        """What the calls send."""
        return self._session_cookie.value

    @cookie.setter
    def cookie(self, _: str) -> None:
        """Ignores what pyVmomi found in a response."""
