"""Where a Cloud Director is and who logs in: by user and password, or by API token."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pulumi_customization_gate.config_lookup import Lookup
from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.tls import Trust

NAMESPACE = "vcd"
"""The default namespace of stack config."""

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
"""What messages call the settings by default."""

_ROOTS = ("", "/api")


@dataclass(frozen=True)
class CloudDirectorSettings:
    """Where a Cloud Director is, how to log in, and how its certificate is trusted.

    Raises:
        ConfigurationError: If the address cannot be one.
    """

    url: str
    """`https://host[:port]`, with or without `/api` at its end."""
    org: str
    """The organization; "System" for a provider's administrator."""
    user: str = ""
    password: str = field(default="", repr=False)
    api_token: str = field(default="", repr=False)
    """It counts instead of user and password."""
    allow_unverified_ssl: bool = False
    ca_file: str = ""
    """A PEM file of the authorities that are trusted instead of the system's."""
    thumbprint: str = ""
    """The SHA-256 fingerprint of the server's certificate; it alone decides where it is given."""
    called: Mapping[str, str] = field(default_factory=lambda: CALLED, compare=False, repr=False)
    """What messages call the settings, as the user wrote them."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_https = parts.scheme.lower() == "https" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_https = False
        if not is_https or "@" in parts.netloc or parts.query or parts.fragment or parts.path.rstrip("/") not in _ROOTS:
            # The address is not shown: there may be a password in it.
            raise ConfigurationError(
                f"{self.called['url']}: expected an https address without user name, path or query, for example "
                "https://vcd.example.com"
            )

    @property
    def address(self) -> str:
        """The server's address without `/api` or a slash at its end."""
        return f"https://{urlsplit(self.url).netloc.lower()}"

    @property
    def trust(self) -> Trust:
        """How the server's certificate is verified."""
        from pulumi_customization_gate.tls import Trust  # noqa: PLC0415 -- the help of the command needs no TLS

        return Trust(self.ca_file, self.thumbprint, self.allow_unverified_ssl)

    @property
    def is_provider(self) -> bool:
        """Whether the login is that of a provider's administrator."""
        return self.org.lower() == "system"

    def without_secrets(self, text: str) -> str:
        """Returns a text of the server's in which the password and the API token are replaced by `[secret]`."""
        for secret in filter(None, (self.password, self.api_token)):
            text = text.replace(secret, "[secret]")
        return text


def read_settings(
    config: Config,
    environment: Mapping[str, str],
    namespace: str = NAMESPACE,
    called: Mapping[str, str] | None = None,
) -> CloudDirectorSettings:
    """Returns where Cloud Director is and who logs in.

    Args:
        config: The stack's config.
        environment: The process's environment.
        namespace: The config namespace of the keys.
        called: What messages call the settings, by name; by default config key and environment variable.

    Raises:
        ConfigurationError: If something is missing, naming the config key and the environment variable.
    """
    lookup = Lookup(config, environment, namespace, NAMESPACE, "VCD", called or {})
    required = {"url": "https://vcd.example.com", "org": "acme"}
    if not lookup.get("apiToken"):
        required |= {"user": "deployer", "password": "--secret"}
    lookup.require(required)
    return CloudDirectorSettings(
        url=lookup.get("url"),
        org=lookup.get("org"),
        user=lookup.get("user"),
        password=lookup.get("password"),
        api_token=lookup.get("apiToken"),
        allow_unverified_ssl=lookup.boolean("allowUnverifiedSsl"),
        ca_file=lookup.ca_file(),
        thumbprint=lookup.thumbprint(),
        called={name: lookup.names(name) for name in CALLED},
    )
