"""Whether a server can be reached, and whether its certificate is trusted: without a login, a step at a time."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.proxies import proxy_for
from pulumi_customization_gate.tls import WrongFingerprintError, distrust

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pulumi_customization_gate.proxies import Proxy
    from pulumi_customization_gate.tls import Trust

CONNECT_TIMEOUT = 10.0
"""Seconds that name resolution, a connection, or a TLS handshake may take."""
NOTABLE_OFFSET = timedelta(seconds=60)
"""The difference between two clocks from which on there is a warning."""
_SMALL_OFFSET = timedelta(seconds=1)
EXPIRES_SOON = timedelta(days=30)
"""Before its end, the time in which a certificate gets a warning."""
_MOST_ADDRESSES = 4

_RESOLVERS = Background("customization-gate-resolve", threads=16)
"""The system's resolver has no time-out of its own."""


class UnreachableError(Exception):
    """A host cannot be resolved, or a port does not accept connections; `str()` is the reason."""


@dataclass(frozen=True)
class Certificate:
    """The certificate that a server presents."""

    fingerprint: str
    """SHA-256, as OpenSSL writes it."""
    subject: str = ""
    """Sanitized, like the issuer; empty where the certificate cannot be parsed."""
    issuer: str = ""
    expires: datetime | None = None

    def __str__(self) -> str:
        named = [
            self.subject,
            self.issuer and f"issued by {self.issuer}",
            self.expires and f"valid until {self.expires:%Y-%m-%d}",
            f"SHA-256 {self.fingerprint}",
        ]
        return ", ".join(part for part in named if part)


def findings(server: str, host: str, port: int, trust: Trust, called: Mapping[str, str]) -> Iterator[Finding]:
    """Yields whether the host name resolves, the port accepts connections and the certificate is trusted.

    It ends with the first that failed: what comes after depends on it.

    Args:
        server: The server, as its user names it.
        host: Its host name or address.
        port: Its port.
        trust: How the certificate is verified.
        called: What messages call the settings.
    """
    server = sanitize(server)
    proxy = proxy_for(host, port)
    first, by = ((host, port), "") if proxy is None else (proxy.address, f" of the proxy {proxy}")
    try:
        addresses = resolve(first[0])
    except UnreachableError as error:
        reason = f"{error}" if proxy is None else f"the proxy {proxy}: {error}"
        remedy = f"Correct {_name(called, proxy)}, or add the name to DNS; a VPN may have to be connected."
        yield Finding(Check.NAME_RESOLUTION, State.FAILED, server, reason, remedy)
        return
    more = len(addresses) - _MOST_ADDRESSES
    listed = ", ".join(addresses[:_MOST_ADDRESSES]) + (f" and {more} more" if more > 0 else "")
    yield Finding(Check.NAME_RESOLUTION, State.OK, server, listed + by)
    began = time.monotonic()
    try:
        connect(*first)
    except UnreachableError as error:
        remedy = f"Check the port in {_name(called, proxy)}, and the firewalls between this computer and it."
        yield Finding(Check.CONNECTION, State.FAILED, server, f"port {first[1]}{by}: {error}", remedy)
        return
    yield Finding(Check.CONNECTION, State.OK, server, f"port {first[1]}{by}, after {_milliseconds(began)}")
    yield _certificate_finding(server, host, port, trust, called)


def resolve(host: str) -> list[str]:
    """Returns the IP addresses of a host name, each once.

    Raises:
        UnreachableError: If there is none, or not in time.
    """
    future = _RESOLVERS.submit(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    if not wait_until_done(future, time.monotonic() + CONNECT_TIMEOUT):
        raise UnreachableError(f"name resolution timed out after {duration(CONNECT_TIMEOUT)}")
    try:
        found = future.result()
    except (OSError, UnicodeError):
        raise UnreachableError("host name could not be resolved") from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def connect(host: str, port: int) -> None:
    """Opens a TCP connection and closes it.

    Raises:
        UnreachableError: If the port does not accept it.
    """
    try:
        socket.create_connection((host, port), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        raise UnreachableError(_reason(error)) from None


def presented(host: str, port: int) -> Certificate:
    """Returns the certificate that a server presents, whether it is trusted or not. Nothing is sent to it.

    Raises:
        OSError: If there is none.
    """
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with _handshake(host, port, anyone) as connection:
        der = connection.getpeercert(binary_form=True) or b""
    digits = hashlib.sha256(der).hexdigest().upper()
    fingerprint = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
    # Python parses only what it has verified. This context trusts exactly the certificate that was presented.
    itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    itself.check_hostname = False
    itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    with contextlib.suppress(OSError):  # For example one that has expired.
        itself.load_verify_locations(cadata=der)
        with _handshake(host, port, itself) as connection:
            parsed: Mapping[str, Any] = connection.getpeercert() or {}
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(parsed["notAfter"]), timezone.utc)
        return Certificate(fingerprint, _common_name(parsed, "subject"), _common_name(parsed, "issuer"), expires)
    return Certificate(fingerprint)


def clock_finding(server: str, offset: timedelta) -> Finding:
    """Returns what the difference between the server's clock and this computer's means.

    Args:
        server: The server, sanitized.
        offset: How far the server's clock is ahead.
    """
    size = duration(abs(offset).total_seconds())
    message = f"{size} {'ahead of' if offset > timedelta() else 'behind'} this computer's"
    if abs(offset) < NOTABLE_OFFSET:
        message = message if abs(offset) >= _SMALL_OFFSET else "less than 1 s from this computer's"
        return Finding(Check.CLOCK, State.OK, server, message)
    remedy = (
        "Set both clocks by NTP. A gate judges by the server's clock alone; guests that take their time from a wrong "
        "one may fail to join a domain."
    )
    return Finding(Check.CLOCK, State.WARNING, server, message, remedy)


def _certificate_finding(server: str, host: str, port: int, trust: Trust, called: Mapping[str, str]) -> Finding:
    try:
        context = trust.context(called)
        certificate = presented(host, port)
        _handshake(host, port, context).close()
    except ConfigurationError as error:
        return Finding(Check.CERTIFICATE, State.FAILED, server, str(error))
    except GateError as error:  # The proxy's refusal.
        return Finding(Check.CONNECTION, State.FAILED, server, str(error))
    except OSError as error:
        if distrust(error):
            return Finding(Check.CERTIFICATE, State.FAILED, server, *_distrusted(error, certificate, called))
        remedy = f"Check {_name(called, None)}: the server does not respond with TLS on this port."
        return Finding(Check.CERTIFICATE, State.FAILED, server, f"TLS handshake: {_reason(error)}", remedy)
    message, remedy = f"{certificate}; trusted by {_trusted_by(trust, called)}", ""
    soon = datetime.now(timezone.utc) + EXPIRES_SOON
    if trust.trusts_anyone:
        message = f"not verified, because {called['allowUnverifiedSsl']} is true: {certificate}"
        remedy = f"Compare the fingerprint with the one on the server, and set {called['thumbprint']} to it."
    elif not trust.thumbprint and certificate.expires is not None and certificate.expires < soon:
        remedy = "Renew the certificate before it expires."
    return Finding(Check.CERTIFICATE, State.WARNING if remedy else State.OK, server, message, remedy)


def _distrusted(error: OSError, certificate: Certificate, called: Mapping[str, str]) -> tuple[str, str]:
    """Returns why the presented certificate is not trusted, and what to do."""
    if isinstance(error, WrongFingerprintError):
        remedy = f"{called['thumbprint']} expects another: find out which is right before a password is sent there."
        return f"not the expected one: {certificate}", remedy
    remedy = (
        f"Set {called['caFile']} to the PEM file of the authority that signed it, or compare the fingerprint with the "
        f"one on the server and set {called['thumbprint']} to it."
    )
    return f"not trusted ({sanitize(distrust(error), 200)}): {certificate}", remedy


def _trusted_by(trust: Trust, called: Mapping[str, str]) -> str:
    if trust.thumbprint:
        return f"its fingerprint ({called['thumbprint']})"
    return f"{sanitize(trust.ca_file)} ({called['caFile']})" if trust.ca_file else "the authorities of this computer"


def _handshake(host: str, port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    if (proxy := proxy_for(host, port)) is not None:
        tunnel = proxy.tunnel(host, port, timeout=CONNECT_TIMEOUT, context=context)
        tunnel.connect()
        connected: ssl.SSLSocket = tunnel.sock
        return connected
    plain = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _common_name(parsed: Mapping[str, Any], which: str) -> str:
    names = dict(pair for part in parsed.get(which, ()) for pair in part)
    return sanitize(str(names.get("commonName") or names.get("organizationName") or ""), 80)


def _name(called: Mapping[str, str], proxy: Proxy | None) -> str:
    return "HTTPS_PROXY" if proxy is not None else called.get("vsphereServer") or called["url"]


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"timed out after {duration(CONNECT_TIMEOUT)}"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return "host name could not be resolved"
    return sanitize(error.strerror or type(error).__name__, 200).lower()


def _milliseconds(began: float) -> str:
    return f"{max(1, round(1000 * (time.monotonic() - began)))} ms"
