"""Makes certificates for tests, with the flaws that certificates of real authorities have."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key.

    Args:
        x509: The certificate.
        key: Its private key.
    """

    x509: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.x509.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint in hexadecimal digits."""
        return self.x509.fingerprint(hashes.SHA256()).hex()

    def server(self, folder: Path) -> ssl.SSLContext:
        """Returns the context of a server that presents the certificate; its key is written to a folder."""
        file = folder / f"{self.fingerprint}.pem"
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(self.pem + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def authority(name: str = "Example Authority", *, is_critical: bool = True) -> Certificate:
    """Returns the certificate of an authority, signed by itself.

    Args:
        name: The common name.
        is_critical: Whether its basic constraints are critical, as RFC 5280 requires.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key, -_DAY, 10 * _DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=is_critical)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = builder.add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
    return Certificate(builder.sign(key, hashes.SHA256()), key)


def leaf(
    issuer: Certificate | None = None,
    *names: str,
    days: tuple[int, int] = (-1, 10),
    names_issuer_key: bool = True,
) -> Certificate:
    """Returns the certificate of a server.

    Args:
        issuer: The authority that signs it; None for the server itself.
        names: Its host names and addresses; by default localhost and 127.0.0.1.
        days: The first and the last day on which it is valid, counted from now.
        names_issuer_key: Whether it has an authority key identifier, as RFC 5280 requires.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issued_by = "Example Server" if issuer is None else _common_name(issuer)
    builder = _builder("Example Server", issued_by, key, days[0] * _DAY, days[1] * _DAY)
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names or ("localhost", "127.0.0.1")])
    builder = builder.add_extension(alternatives, critical=False)
    if issuer is not None and names_issuer_key:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return Certificate(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def _builder(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, begin: timedelta, end: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _common_name(certificate: Certificate) -> str:
    return str(certificate.x509.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
