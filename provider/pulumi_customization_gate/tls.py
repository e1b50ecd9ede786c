"""One way to trust a server: by the system's authorities, by a file of authorities, or by one pinned certificate."""

from __future__ import annotations

import hashlib
import os
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import CertificateError, ConfigurationError
from pulumi_customization_gate.core.text import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_REASON = 200
_HAS_OWN_STORE = sys.platform in {"darwin", "win32"}
"""Whether the authorities of the system are not files that OpenSSL could read."""
_STRICT_CODES = range(80, 95)
"""OpenSSL's codes (x509_vfy.h) of what only `VERIFY_X509_STRICT` refuses, the default of Python 3.13 and newer."""


class WrongFingerprintError(ssl.SSLCertVerificationError):
    """The server's certificate is not the pinned one.

    Args:
        found: The SHA-256 fingerprint of the server's certificate, in hexadecimal digits.
    """

    def __init__(self, found: str) -> None:
        shown = ":".join(found[i : i + 2] for i in range(0, len(found), 2)).upper()
        self.verify_message = f"its SHA-256 fingerprint is {shown}, which is not the expected one"
        super().__init__(1, self.verify_message)


@dataclass(frozen=True)
class Trust:
    """How the certificate of one server is verified.

    A fingerprint alone decides where it is given; then a file of authorities; no verification is the last choice.
    """

    ca_file: str = ""
    """A PEM file of the authorities that are trusted instead of the system's."""
    thumbprint: str = ""
    """The SHA-256 fingerprint of the one certificate that is trusted, with or without colons."""
    allow_unverified_ssl: bool = False

    @property
    def fingerprint(self) -> str:
        """The fingerprint as bare lower-case digits."""
        return self.thumbprint.replace(":", "").strip().lower()

    @property
    def trusts_anyone(self) -> bool:
        """Whether no certificate is verified at all."""
        return self.allow_unverified_ssl and not self.ca_file and not self.thumbprint

    def context(self, called: Mapping[str, str]) -> ssl.SSLContext:
        """Returns a TLS context that trusts as the settings say, for any library that takes one.

        Args:
            called: What messages call the settings.

        Raises:
            ConfigurationError: If the file of authorities cannot be read.
        """
        if self.thumbprint:
            return _PinnedContext.of(self.fingerprint)
        if self.trusts_anyone:
            return _unverified(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        if not self.ca_file:
            return _system()
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise ConfigurationError(
                f"{called['caFile']}: expected a PEM file of certificates, got {sanitize(self.ca_file)!r} "
                f"({sanitize(error.strerror or type(error).__name__)})"
            ) from None
        # Company authorities often lack what RFC 5280 requires. Who names one trusts it as it is, an intermediate too.
        context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
        return context


def untrusted(server: str, called: Mapping[str, str], error: BaseException) -> CertificateError:
    """Returns the error for a certificate that is not trusted, with what can be done.

    Args:
        server: The server, as its user names it.
        called: What messages call the settings.
        error: What ended the connection; see `distrust`.
    """
    found = _verification_error(error)
    reason = sanitize(distrust(error) or str(error), _LONGEST_REASON)
    if isinstance(found, WrongFingerprintError):
        return CertificateError(
            f"the certificate of {server} is not trusted: {reason}. {called['thumbprint']} expects another. Find out "
            "which of the two is right before a password is sent there."
        )
    if getattr(found, "verify_code", 0) in _STRICT_CODES:
        reason += ", which Python 3.13 and newer require (RFC 5280) of an authority that only the system trusts"
    return CertificateError(
        f"the certificate of {server} is not trusted: {reason}. Set {called['caFile']} to the PEM file of the "
        f"authority that signed it, or {called['thumbprint']} to its SHA-256 fingerprint. "
        f"{called['allowUnverifiedSsl']} set to true trusts any certificate, which lets others read the password."
    )


def distrust(error: BaseException) -> str:
    """Returns why a certificate is not trusted, or nothing if that is not what went wrong.

    Args:
        error: An error of a connection, with whatever libraries have wrapped around it.
    """
    found = _verification_error(error)
    return "" if found is None else str(getattr(found, "verify_message", "") or found)


def _verification_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    return next((inner for inner in wrapped(error) if isinstance(inner, ssl.SSLCertVerificationError)), None)


def wrapped(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and all errors that it wraps."""
    seen: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        inner = queue.pop(0)
        if isinstance(inner, BaseException) and inner not in seen:
            seen.append(inner)
            yield inner
            queue += [getattr(inner, "reason", None), inner.__cause__, inner.__context__, *inner.args]


def _system() -> ssl.SSLContext:
    """Trusts what the system trusts, or the files that SSL_CERT_FILE and SSL_CERT_DIR name, as most programs do."""
    if _HAS_OWN_STORE and not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        import truststore  # noqa: PLC0415 -- it supports only systems that it knows

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _unverified(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _PinnedContext(ssl.SSLContext):
    """Trusts one certificate of any authority: each handshake ends with a comparison, before anything is sent."""

    fingerprint: str

    @classmethod
    def of(cls, fingerprint: str) -> _PinnedContext:
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        _unverified(context)
        context.fingerprint = fingerprint
        context.sslsocket_class = _PinnedSocket
        context.sslobject_class = _PinnedObject
        return context


def _compare(connection: Any) -> None:
    """Raises an error unless the server's certificate is the pinned one."""
    found = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    if found != connection.context.fingerprint:
        raise WrongFingerprintError(found)


class _PinnedSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        _compare(self)


class _PinnedObject(ssl.SSLObject):
    """The same for TLS inside a connection that is not a plain socket, as through an HTTPS proxy."""

    def do_handshake(self) -> None:
        super().do_handshake()
        _compare(self)
