"""Where a Cloud Director is, and how to log in there."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from pulumi_customization_gate.core.errors import ConfigurationError

_SHA256_DIGITS = 64


CALLED: Mapping[str, str] = MappingProxyType(
    {
        "url": "`vcd:url` or VCD_URL",
        "org": "`vcd:org` or VCD_ORG",
        "user": "`vcd:user` or VCD_USER",
        "password": "`vcd:password` or VCD_PASSWORD",
        "apiToken": "`vcd:apiToken` or VCD_API_TOKEN",
        "allowUnverifiedSsl": "`vcd:allowUnverifiedSsl` or VCD_ALLOW_UNVERIFIED_SSL",
        "caFile": "`customization:caFile` or VCD_CA_FILE",
        "thumbprint": "`customization:thumbprint` or VCD_THUMBPRINT",
    }
)
"""What the settings are called by default."""


@dataclass(frozen=True)
class CloudDirectorSettings:
    """Where a Cloud Director is and how to log in: an API token, or else user and password.

    Raises:
        ConfigurationError: If something is missing or cannot be.
    """

    url: str
    """`https://host[:port]`, with or without `/api` at its end."""
    org: str
    """The organization; "System" for a provider's administrator."""
    user: str = ""
    password: str = field(default="", repr=False)
    api_token: str = field(default="", repr=False)
    allow_unverified_ssl: bool = False
    ca_file: str = ""
    """A PEM file with the authorities to trust instead of the system's."""
    thumbprint: str = ""
    """The SHA-256 thumbprint of the server's certificate, with or without colons; it alone decides then."""
    called: Mapping[str, str] = field(default_factory=lambda: CALLED, compare=False, repr=False)
    """What the settings are called where the user wrote them, for messages."""

    def __post_init__(self) -> None:
        missing = [self.called[name] for name, value in (("url", self.url), ("org", self.org)) if not value]
        if not self.api_token and not (self.user and self.password):
            called = self.called
            missing.append(f"{called['apiToken']}, or else {called['user']} with {called['password']}")
        if missing:
            raise ConfigurationError(f"Cloud Director needs {'; '.join(missing)}")
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme.lower() == "https" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or "@" in parts.netloc or parts.query or parts.fragment or parts.path.rstrip("/") not in _ROOTS:
            # The text is not quoted: a password in it would be shown.
            wanted = "must be https://<host>[:<port>], without user name, path or query"
            raise ConfigurationError(f"{self.called['url']} {wanted}")
        if self.thumbprint and (len(self.pin) != _SHA256_DIGITS or set(self.pin) - set("0123456789abcdef")):
            raise ConfigurationError(f"{self.called['thumbprint']} must be a SHA-256: 64 hexadecimal digits")

    @property
    def address(self) -> str:
        """The server's address without `/api` or a slash at its end."""
        parts = urlsplit(self.url)
        return f"https://{parts.netloc.lower()}"

    @property
    def pin(self) -> str:
        """The thumbprint as bare lower-case digits."""
        return self.thumbprint.replace(":", "").strip().lower()

    @property
    def is_provider(self) -> bool:
        """Whether the login is that of a provider's administrator."""
        return self.org.lower() == "system"

    def without_secrets(self, text: str) -> str:
        """Returns a text of the server's in which the password and the API token are replaced by `[secret]`."""
        for secret in filter(None, (self.password, self.api_token)):
            text = text.replace(secret, "[secret]")
        return text


_ROOTS = ("", "/api")
