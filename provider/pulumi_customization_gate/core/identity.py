"""The identity of a VM, which differs from that of a VM with the same identifier on another server or later."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """A VM's identity beside its identifier. What is empty is not known, and differs from nothing."""

    server: str = ""
    """The server's own UUID (`about.instanceUuid`); on Cloud Director its address."""
    instance_uuid: str = ""
    """The VM's instance UUID (`config.instanceUuid`), which no two VMs of a vCenter share.

    It is empty on Cloud Director, where an identifier never names a second VM.
    """

    def differs(self, other: Identity) -> bool:
        """Whether the two are certainly not one VM."""
        pairs = ((self.server, other.server), (self.instance_uuid, other.instance_uuid))
        return any(mine and others and mine != others for mine, others in pairs)
