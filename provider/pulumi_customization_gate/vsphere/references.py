"""What a user may write to name a VM of a vCenter. Opens no connection, and needs no client library."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pulumi_customization_gate.core.errors import InvalidReferenceError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOID = re.compile(r"(?:VirtualMachine:)?(vm-[0-9A-Za-z][0-9A-Za-z._-]*)")
"""With the type before it, as govc and PowerCLI print it."""
_ESCAPES = {"2f": "/", "5c": "\\", "25": "%"}
"""What vCenter escapes in names (vSphere Web Services API, ManagedEntity.name)."""


@dataclass(frozen=True)
class Reference:
    """What a user wrote to name a virtual machine."""

    kind: str
    """"moid", "uuid" or "path"."""
    text: str
    """The normalized text."""
    given: str = field(default="", compare=False)
    """What the user wrote."""

    @property
    def vm_id(self) -> str | None:
        """The VM's managed object ID, None where only the server knows it."""
        return self.text if self.kind == "moid" else None

    @property
    def is_group(self) -> bool:
        """Whether it may name more than one VM."""
        return False


def parse_reference(text: str) -> Reference:
    """Returns what kind of reference a text is.

    Raises:
        InvalidReferenceError: If it has none of the known forms.
    """
    if _UUID.fullmatch(text):
        return Reference("uuid", text.lower(), text)
    if moid := moid_in(text):
        return Reference("moid", moid, text)
    if "/" in text.strip("/"):
        return Reference("path", text.strip("/"), text)
    raise InvalidReferenceError(
        "a managed object ID (vm-87), an instance or BIOS UUID (4210f6a5-6a5c-4d5a-9f35-2f6d3a0c9b1e), "
        "an inventory path (/Datacenter/vm/folder/web-1), or a resource with a moid",
        text,
    )


def moid_in(text: str) -> str | None:
    """Returns the managed object ID that a text is, `vm-87` or `VirtualMachine:vm-87`; None of any other text."""
    match = _MOID.fullmatch(text)
    return match[1] if match else None


def unescaped(name: str) -> str:
    """Returns a name of the inventory as people write it: vCenter has `web%2f1` where they write `web/1`."""
    return re.sub("%(2f|5c|25)", lambda escape: _ESCAPES[escape[1].lower()], name, flags=re.IGNORECASE)
