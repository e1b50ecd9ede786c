"""The connection that govc has: GOVC_URL, GOVC_USERNAME, GOVC_PASSWORD and GOVC_INSECURE of the environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pulumi_customization_gate.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS = ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD")
_PATHS = ("", "/", "/sdk")


def counts(environment: Mapping[str, str]) -> bool:
    """Whether the variables of govc are those of the connection: a password for one vCenter never goes to another."""
    return bool(environment.get("GOVC_URL")) and not any(environment.get(name) for name in _OURS)


def as_ours(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Returns the environment with the connection of govc under the names of ours.

    User and password may be in the URL; their own variables win, as for govc.

    Raises:
        ConfigurationError: If GOVC_URL is not the address of a vCenter.
    """
    given = environment["GOVC_URL"].strip()
    try:
        parts = urlsplit(given if "://" in given else f"https://{given}")
        is_usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and parts.path in _PATHS
    except ValueError:
        parts, is_usable = urlsplit(""), False
    if not is_usable:
        shown = re.sub("^.*@", "...@", given)  # what is before it may be a password
        raise ConfigurationError(
            "GOVC_URL: expected a host name or an https URL, for example vcenter.example.com or "
            f"https://vcenter.example.com/sdk, got {shown!r}"
        )
    found = {
        "VSPHERE_SERVER": parts.netloc.rpartition("@")[2],
        "VSPHERE_USER": environment.get("GOVC_USERNAME") or unquote(parts.username or ""),
        "VSPHERE_PASSWORD": environment.get("GOVC_PASSWORD") or unquote(parts.password or ""),
        "VSPHERE_ALLOW_UNVERIFIED_SSL": environment.get("GOVC_INSECURE", ""),
    }
    return {**{name: value for name, value in found.items() if value}, **environment}
