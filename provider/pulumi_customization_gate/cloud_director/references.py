"""What a user may write for a VM of Cloud Director, and what it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pulumi_customization_gate.core.errors import InvalidReferenceError
from pulumi_customization_gate.core.text import sanitize

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_URN = re.compile(f"urn:vcloud:(?P<kind>vm|vapp):(?P<uuid>{_UUID})", re.IGNORECASE)
_ID = re.compile(f"(?P<kind>vm|vapp)-(?P<uuid>{_UUID})", re.IGNORECASE)
_PATH = re.compile(f"/api/vapp/(?P<kind>vm|vapp)-(?P<uuid>{_UUID})/?", re.IGNORECASE)
_HTTPS = 443


@dataclass(frozen=True)
class Reference:
    """A VM, or a vApp, which names all VMs in it."""

    kind: str
    """"vm" or "vapp"."""
    uuid: str

    @property
    def vm_id(self) -> str | None:
        """The VM's identifier, None for a vApp."""
        return self.id if self.kind == "vm" else None

    @property
    def is_group(self) -> bool:
        """Whether it may name more than one VM."""
        return self.kind == "vapp"

    @property
    def id(self) -> str:
        """The identifier in the API's paths: `vm-{uuid}` or `vapp-{uuid}`."""
        return f"{self.kind}-{self.uuid}"

    @property
    def urn(self) -> str:
        """The identifier that outlives every move: `urn:vcloud:vm:{uuid}`."""
        return f"urn:vcloud:{self.kind}:{self.uuid}"


def parse_reference(text: str, url: str | None) -> Reference:
    """Returns what a reference names; opens no connection.

    Args:
        text: `urn:vcloud:vm:{uuid}`, `urn:vcloud:vapp:{uuid}`, `vm-{uuid}`, `vapp-{uuid}`, or an href of either.
        url: The address of the configured server; None where it is not known, and then any server may be it.

    Raises:
        InvalidReferenceError: If it is none of these, or an href of another server: the token must not go there.
    """
    text = text.strip()
    if match := _URN.fullmatch(text) or _ID.fullmatch(text):
        return _reference(match)
    try:
        href = urlsplit(text)
        is_address = bool(href.scheme) and bool(href.netloc)
        other_server = is_address and origin(href) != origin(urlsplit(url or ""))
    except ValueError:
        other_server, href = False, SplitResult("", "", "", "", "")
    if url is not None and other_server:
        raise InvalidReferenceError(
            f"an address on {sanitize(url)}, because the login's token is sent to the configured server only, or the "
            "VM's URN (urn:vcloud:vm:<uuid>)",
            sanitize(text),
        )
    if href.netloc and not href.query and not href.fragment and (match := _PATH.fullmatch(href.path)):
        return _reference(match)
    raise InvalidReferenceError(
        "a VM of Cloud Director (urn:vcloud:vm:<uuid>, vm-<uuid> or the VM's href), or a vApp's URN or href for all "
        "VMs in it",
        sanitize(text),
    )


def origin(parts: SplitResult) -> tuple[str, str, int | None]:
    """Returns what decides whether two addresses are one server; an address with a user name in it is none.

    Raises:
        ValueError: If the port is not a number.
    """
    if parts.username is not None or parts.password is not None:
        return ("", "", None)
    scheme = parts.scheme.lower()
    return (scheme, (parts.hostname or "").lower(), parts.port or (_HTTPS if scheme == "https" else None))


def _reference(match: re.Match[str]) -> Reference:
    return Reference(match["kind"].lower(), match["uuid"].lower())
