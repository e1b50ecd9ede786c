"""The connection of the native provider: the arguments of the provider, or config of its namespace, else environment.

The environment is read where a setting is looked up: what it holds reaches no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2

from pulumi_customization_gate.lifecycle.value_types import nearest
from pulumi_customization_gate.plugin import values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pulumi_customization_gate.config_lookup import Config

SETTINGS: Mapping[str, str] = {
    "vsphereServer": "The host name or address of the vCenter, with or without a port. Environment: VSPHERE_SERVER.",
    "url": "The https address of Cloud Director. Environment: VCD_URL.",
    "org": "The organization of Cloud Director. Environment: VCD_ORG.",
    "user": "The user who logs in. Environment: VSPHERE_USER, for Cloud Director VCD_USER.",
    "password": "The password of the user. Environment: VSPHERE_PASSWORD, for Cloud Director VCD_PASSWORD.",
    "apiToken": "An API token of Cloud Director, instead of user and password. Environment: VCD_API_TOKEN.",
    "allowUnverifiedSsl": (
        "Whether the certificate of the server is not verified. Environment: VSPHERE_ALLOW_UNVERIFIED_SSL, for Cloud "
        "Director VCD_ALLOW_UNVERIFIED_SSL."
    ),
    "caFile": (
        "A PEM file of the certificate authorities that are trusted. Environment: VSPHERE_CA_FILE, for Cloud Director "
        "VCD_CA_FILE."
    ),
    "thumbprint": (
        "The SHA-256 fingerprint of the server's certificate. Environment: VSPHERE_THUMBPRINT, for Cloud Director "
        "VCD_THUMBPRINT."
    ),
    "guestUser": "The user who works in the guests. Environment: GUEST_USER.",
    "guestPassword": "The password of the user who works in the guests. Environment: GUEST_PASSWORD.",
}
"""What each setting is."""
SECRETS = frozenset({"apiToken", "guestPassword", "password"})
"""The settings that the state always has encrypted."""
BOOLEANS = frozenset({"allowUnverifiedSsl"})
_OF_THE_ENGINE = frozenset({"pluginChecksums", "pluginDownloadURL", "version"})


def config(given: Mapping[str, str]) -> Config:
    """Returns what looks a setting up, whatever namespace it is looked up in: this provider has one connection."""
    return lambda key: given.get(key.rpartition(":")[2])


def of(request: Any) -> dict[str, str]:
    """Returns the settings of a Configure call, those that have a value."""
    given = values.decode(request.args) if request.args.fields else _variables(request.variables)
    return {name: _text(value) for name, value in given.items() if value is not None}


def problems(given: struct_pb2.Struct) -> Iterator[str]:
    """Yields what is wrong with the names of settings."""
    for name in given.fields:
        if name not in SETTINGS and name not in _OF_THE_ENGINE and not name.startswith("__"):
            hint = nearest(name, SETTINGS)
            expected = f"{', '.join(list(SETTINGS)[:-1])} or {list(SETTINGS)[-1]}"
            yield f"provider: expected {expected}, got {name!r}" + (f"; {hint}" if hint else "")


def with_secrets_marked(given: struct_pb2.Struct) -> struct_pb2.Struct:
    """Returns settings in which each secret one is marked as one."""
    marked = struct_pb2.Struct()
    marked.CopyFrom(given)
    for name in SECRETS & set(marked.fields):
        marked.fields[name].CopyFrom(values.as_secret(marked.fields[name]))
    return marked


def _variables(variables: Mapping[str, str]) -> dict[str, Any]:
    return {key.rpartition(":")[2]: value for key, value in variables.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
