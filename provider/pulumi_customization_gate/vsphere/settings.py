"""Where a vCenter is and who logs in, from the keys that pulumi-vsphere itself reads."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 -- dataclass fields are read at run time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from pulumi_customization_gate.config_lookup import Lookup
from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.tls import Trust

NAMESPACE = "vsphere"
"""The default namespace of stack config."""

CALLED: Mapping[str, str] = MappingProxyType(
    {
        "vsphereServer": "`vsphere:vsphereServer` or VSPHERE_SERVER",
        "password": "`vsphere:password` or VSPHERE_PASSWORD",
        "allowUnverifiedSsl": "`vsphere:allowUnverifiedSsl` or VSPHERE_ALLOW_UNVERIFIED_SSL",
        "caFile": "`customization:caFile` or VSPHERE_CA_FILE",
        "thumbprint": "`customization:thumbprint` or VSPHERE_THUMBPRINT",
    }
)
"""What messages call the settings by default."""


@dataclass(frozen=True)
class VsphereSettings:
    """Where a vCenter is, who logs in, and how its certificate is trusted."""

    server: str
    """`host` or `host:port`."""
    user: str
    password: str = field(repr=False)
    allow_unverified_ssl: bool = False
    ca_file: str = ""
    """A PEM file of the authorities that are trusted."""
    thumbprint: str = ""
    """The SHA-256 fingerprint of the server's certificate; it alone decides where it is given."""
    called: Mapping[str, str] = field(default_factory=lambda: CALLED, compare=False, repr=False)
    """What messages call the settings, as the user wrote them."""

    @property
    def trust(self) -> Trust:
        """How the server's certificate is verified."""
        from pulumi_customization_gate.tls import Trust  # noqa: PLC0415 -- the help of the command needs no TLS

        return Trust(self.ca_file, self.thumbprint, self.allow_unverified_ssl)

    @property
    def address(self) -> str:
        """The server's address in one spelling."""
        return "{}:{}".format(*self.host_and_port()).lower()

    def host_and_port(self) -> tuple[str, int]:
        """Returns the host, and the port or 443."""
        host, colon, port = self.server.rpartition(":")
        is_bare_ipv6 = ":" in host and not host.endswith("]")
        if colon and port.isdigit() and not is_bare_ipv6:
            return host.strip("[]"), int(port)
        return self.server.strip("[]"), 443


def read_settings(
    config: Config,
    environment: Mapping[str, str],
    namespace: str = NAMESPACE,
    called: Mapping[str, str] | None = None,
) -> VsphereSettings:
    """Returns where the vCenter is and who logs in.

    Args:
        config: The stack's config.
        environment: The process's environment.
        namespace: The config namespace of the keys.
        called: What messages call the settings, by name; by default config key and environment variable.

    Raises:
        ConfigurationError: If something is missing, naming the config key and the environment variable.
    """
    lookup = Lookup(config, environment, namespace, NAMESPACE, "VSPHERE", called or {})
    lookup.require(
        {
            "vsphereServer": "vcenter.example.com",
            "user": "administrator@vsphere.local",
            "password": "--secret",
        }
    )
    return VsphereSettings(
        server=_host(lookup),
        user=lookup.get("user"),
        password=lookup.get("password"),
        allow_unverified_ssl=lookup.boolean("allowUnverifiedSsl"),
        ca_file=lookup.ca_file(),
        thumbprint=lookup.thumbprint(),
        called={name: lookup.names(name) for name in CALLED},
    )


def _host(lookup: Lookup) -> str:
    server = lookup.get("vsphereServer")
    if "/" in server or "@" in server or " " in server:
        shown = re.sub("^.*@", "...@", server)  # what is before it may be a password
        raise ConfigurationError(
            f"{lookup.names('vsphereServer')}: expected a host name or address without scheme or path, for example "
            f"vcenter.example.com or vcenter.example.com:8443, got {shown!r}"
        )
    return server
