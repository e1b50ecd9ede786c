"""Makes connections out of plain mappings: stack config first, then environment. Needs no Pulumi."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pulumi_customization_gate.cloud_director.settings import CALLED as CLOUD_DIRECTOR_CALLED
from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.vsphere.session import CALLED, VsphereSettings

Config = Callable[[str], str | None]
"""Returns the value of a config key such as `vsphere:user`, or None."""

VSPHERE_NAMESPACE, CLOUD_DIRECTOR_NAMESPACE = "vsphere", "vcd"
OWN_NAMESPACE = "customization"
"""Where our own keys stand beside the default namespaces: pulumi-vsphere refuses unknown keys in its own."""

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True)
class _Lookup:
    """Finds one setting under its config key or its environment variable.

    The environment counts for the default namespace only: with two servers it could not say which one it means.
    """

    config: Config
    environment: Mapping[str, str]
    namespace: str
    default_namespace: str
    prefix: str
    called: Mapping[str, str] = field(default_factory=dict)
    """What the settings are called in messages where they are not config keys."""

    @property
    def _is_default(self) -> bool:
        return self.namespace == self.default_namespace

    def key(self, name: str) -> str:
        is_own = self._is_default and name in {"caFile", "thumbprint"}
        return f"{OWN_NAMESPACE if is_own else self.namespace}:{name}"

    def variable(self, name: str) -> str:
        word = "server" if name == "vsphereServer" else re.sub("([A-Z])", r"_\1", name)
        return f"{self.prefix}_{word.upper()}"

    def get(self, name: str) -> str:
        value = self.config(self.key(name))
        if value is None and self._is_default:
            value = self.environment.get(self.variable(name))
        return str(value or "").strip() if name != "password" else str(value or "")

    def names(self, name: str) -> str:
        if name in self.called:
            return self.called[name]
        return f"`{self.key(name)}`" + (f" or {self.variable(name)}" if self._is_default else "")

    def boolean(self, name: str) -> bool:
        value = self.get(name)
        if value.lower() not in _BOOLEANS:
            raise ConfigurationError(f"{self.names(name)} is {value!r}; wanted is true or false")
        return _BOOLEANS[value.lower()]

    def require(self, names: Mapping[str, str]) -> None:
        """Refuses missing settings, all of them in one message.

        Args:
            names: An example for each required name.
        """
        missing = [name for name in names if not self.get(name)]
        if missing:
            wanted = ", ".join(self.names(name) for name in missing)
            example = "; ".join(f"pulumi config set {self.key(name)} {names[name]}" for name in missing)
            raise ConfigurationError(f"missing {wanted}, for example: {example}")

    def ca_file(self) -> str:
        path = self.get("caFile")
        if path and not Path(path).is_file():
            raise ConfigurationError(f"{self.names('caFile')} is {path!r}, and there is no such file; wanted is PEM")
        return path

    def thumbprint(self) -> str:
        value = self.get("thumbprint")
        if value and not re.fullmatch("[0-9a-f]{64}", value.replace(":", "").lower()):
            raise ConfigurationError(
                f"{self.names('thumbprint')} is {value!r}; wanted is a SHA-256 fingerprint, 64 hexadecimal digits: "
                "openssl s_client -connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256"
            )
        return value


def vsphere_settings(
    config: Config,
    environment: Mapping[str, str],
    namespace: str = VSPHERE_NAMESPACE,
    called: Mapping[str, str] | None = None,
) -> VsphereSettings:
    """Returns where the vCenter is and who logs in, from the keys that pulumi-vsphere itself reads.

    Args:
        config: The stack's config.
        environment: The process's environment.
        namespace: The config namespace of the keys.
        called: What messages call the settings, by name; by default config key and environment variable.

    Raises:
        ConfigurationError: If something is missing, naming the config key and the environment variable.
    """
    lookup = _Lookup(config, environment, namespace, VSPHERE_NAMESPACE, "VSPHERE", called or {})
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


def _host(lookup: _Lookup) -> str:
    server = lookup.get("vsphereServer")
    if "/" in server or "@" in server or " " in server:
        shown = re.sub("^.*@", "...@", server)  # what stands before it may be a password
        raise ConfigurationError(
            f"{lookup.names('vsphereServer')} is {shown!r}; wanted is a host name or address without scheme or path, "
            "for example vcenter.example.com or vcenter.example.com:8443"
        )
    return server


def _is_plain_https(address: str) -> bool:
    """Whether an address is one over TLS, without credentials in it."""
    try:
        url = urlsplit(address)
    except ValueError:
        return False
    return url.scheme == "https" and bool(url.hostname) and url.username is None and url.password is None


def cloud_director_settings(
    config: Config,
    environment: Mapping[str, str],
    namespace: str = CLOUD_DIRECTOR_NAMESPACE,
    called: Mapping[str, str] | None = None,
) -> CloudDirectorSettings:
    """Returns where Cloud Director is and who logs in, by user and password or by API token.

    Args:
        config: The stack's config.
        environment: The process's environment.
        namespace: The config namespace of the keys.
        called: What messages call the settings, by name; by default config key and environment variable.

    Raises:
        ConfigurationError: If something is missing, naming the config key and the environment variable.
    """
    lookup = _Lookup(config, environment, namespace, CLOUD_DIRECTOR_NAMESPACE, "VCD", called or {})
    required = {"url": "https://vcd.example.com", "org": "acme"}
    if not lookup.get("apiToken"):
        required |= {"user": "deployer", "password": "--secret"}
    lookup.require(required)
    if not _is_plain_https(lookup.get("url")):
        raise ConfigurationError(
            f"{lookup.names('url')} is not an https address without credentials; wanted is https://vcd.example.com"
        )
    return CloudDirectorSettings(
        url=lookup.get("url").rstrip("/").removesuffix("/api"),
        org=lookup.get("org"),
        user=lookup.get("user"),
        password=lookup.get("password"),
        api_token=lookup.get("apiToken"),
        allow_unverified_ssl=lookup.boolean("allowUnverifiedSsl"),
        ca_file=lookup.ca_file(),
        thumbprint=lookup.thumbprint(),
        called={name: lookup.names(name) for name in CLOUD_DIRECTOR_CALLED},
    )
