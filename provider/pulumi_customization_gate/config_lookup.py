"""Finds a connection's settings: stack config first, then environment. Needs no Pulumi."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pulumi_customization_gate.core.errors import ConfigurationError

Config = Callable[[str], str | None]
"""Returns the value of a config key such as `vsphere:user`, or None."""

OWN_NAMESPACE = "customization"
"""The namespace of our own keys beside the default namespaces: pulumi-vsphere refuses unknown keys in its own."""
PLUGIN_NAMESPACE = "customization-gate"
"""The namespace of the native provider's settings. The engine gives a provider no other namespace."""
_OWN = frozenset({"caFile", "thumbprint"})
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True)
class Lookup:
    """Finds one setting under its config key or its environment variable.

    The environment counts for the default namespace and for the native provider: of several other namespaces it could
    not say which one it means.
    """

    config: Config
    environment: Mapping[str, str]
    namespace: str
    default_namespace: str
    prefix: str
    """What the names of the environment variables begin with."""
    called: Mapping[str, str] = field(default_factory=dict)
    """What messages call the settings that are not given as config."""

    @property
    def _is_default(self) -> bool:
        return self.namespace == self.default_namespace

    @property
    def _reads_environment(self) -> bool:
        return self.namespace in {self.default_namespace, PLUGIN_NAMESPACE}

    def key(self, name: str) -> str:
        """Returns the config key of a setting."""
        return f"{OWN_NAMESPACE if self._is_default and name in _OWN else self.namespace}:{name}"

    def variable(self, name: str) -> str:
        """Returns the environment variable of a setting."""
        word = "server" if name == "vsphereServer" else re.sub("([A-Z])", r"_\1", name)
        return f"{self.prefix}_{word.upper()}"

    def get(self, name: str) -> str:
        """Returns the value of a setting, empty where there is none."""
        value = self.config(self.key(name))
        if value is None and self._reads_environment:
            value = self.environment.get(self.variable(name))
        return str(value or "").strip() if name != "password" else str(value or "")

    def names(self, name: str) -> str:
        """Returns what messages call a setting."""
        if name in self.called:
            return self.called[name]
        return f"`{self.key(name)}`" + (f" or {self.variable(name)}" if self._reads_environment else "")

    def boolean(self, name: str) -> bool:
        """Returns a setting that is true or false.

        Raises:
            ConfigurationError: If it is neither.
        """
        value = self.get(name)
        if value.lower() not in _BOOLEANS:
            raise ConfigurationError(f"{self.names(name)}: expected true or false, got {value!r}")
        return _BOOLEANS[value.lower()]

    def require(self, examples: Mapping[str, str]) -> None:
        """Refuses missing settings, all of them in one message.

        Args:
            examples: An example for each required setting.

        Raises:
            ConfigurationError: If one is missing.
        """
        missing = [name for name in examples if not self.get(name)]
        if missing:
            names = ", ".join(self.names(name) for name in missing)
            example = "; ".join(f"pulumi config set {self.key(name)} {examples[name]}" for name in missing)
            raise ConfigurationError(f"missing {names}, for example: {example}")

    def ca_file(self) -> str:
        """Returns the path of the file of authorities.

        Raises:
            ConfigurationError: If there is no such file.
        """
        path = self.get("caFile")
        if path and not Path(path).is_file():
            raise ConfigurationError(f"{self.names('caFile')}: expected an existing PEM file, got {path!r}")
        return path

    def thumbprint(self) -> str:
        """Returns the fingerprint of the pinned certificate.

        Raises:
            ConfigurationError: If it is not a SHA-256 fingerprint.
        """
        value = self.get("thumbprint")
        if value and not re.fullmatch("[0-9a-f]{64}", value.replace(":", "").lower()):
            raise ConfigurationError(
                f"{self.names('thumbprint')}: expected a SHA-256 fingerprint, 64 hexadecimal digits (openssl s_client "
                f"-connect HOST:443 </dev/null | openssl x509 -noout -fingerprint -sha256), got {value!r}"
            )
        return value
