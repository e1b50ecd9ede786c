"""Which VM a reference names now, and by which UUIDs a VM is known: of many VMs in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyVmomi import vim

from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.session import acquire

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pulumi_customization_gate.vsphere.inventory import Place
    from pulumi_customization_gate.vsphere.references import Reference
    from pulumi_customization_gate.vsphere.session import Session
    from pulumi_customization_gate.vsphere.settings import VsphereSettings


def read_uuids(session: Session, moids: Iterable[str]) -> dict[str, Sequence[str]]:
    """Returns instance UUID and BIOS UUID of VMs, in one call; without VMs that are not there or may not be read."""
    found = inventory.read_places(session, [vim.VirtualMachine(moid, session.stub) for moid in moids])
    return {moid: (place.instance_uuid, place.bios_uuid) for moid, place in found.items()}


def may_be(uuids: Collection[str], expected: str) -> bool:
    """Whether a UUID is one of a VM's UUIDs, or may be one that is not known."""
    return not expected or expected.lower() in uuids or not all(uuids)


def named_now(
    settings: VsphereSettings, references: Sequence[Reference], judged: Iterable[str]
) -> list[Mapping[str, str]]:
    """Returns the VM that each reference names now: its managed object ID, and its instance UUID where it is known.

    VMs that were judged and are still where their references say cost one call for all of them; each other reference
    is searched for. One that names no VM is returned as it was written, as a wait reports it.

    Args:
        settings: Which vCenter, and as whom.
        references: Paths and UUIDs.
        judged: Managed object IDs of the VMs that were judged.

    Raises:
        ServerError: If the server cannot be used.
        ConfigurationError: If a UUID belongs to two VMs.
    """
    with acquire(settings) as session:
        moids = list(judged)
        places = inventory.places(session, [vim.VirtualMachine(moid, session.stub) for moid in moids])
        known = {
            moid: (places[moid], inventory.path_in(places, session, moid).lstrip("/"))
            for moid in moids
            if moid in places
        }
        return [_named(session, reference, known) for reference in references]


def _named(session: Session, reference: Reference, known: Mapping[str, tuple[Place, str]]) -> Mapping[str, str]:
    found = [
        moid
        for moid, (place, path) in known.items()
        if reference.text in ((path,) if reference.kind == "path" else (place.instance_uuid, place.bios_uuid))
    ]
    moid = found[0] if len(found) == 1 else inventory.find(session, reference)
    if moid is None:
        return {reference.given: ""}
    if moid in known:
        return {moid: known[moid][0].instance_uuid}
    return {moid: read_uuids(session, [moid]).get(moid, ("", ""))[0]}


def is_same_guest(guest: str, other: str) -> bool:
    """Returns whether two values of `Guest.id` are those of one guest.

    A part that could not be read differs from nothing: of a VM whose host is disconnected, vCenter reports no UUID, and
    another guest would be a replacement, which runs a script again.
    """
    parts = zip(guest.split("/"), other.split("/"), strict=False)
    return all(part == known for part, known in parts if part and known)


def is_same_vm(recorded: str, known: str) -> bool:
    """Returns whether two values of `Guest.id` are those of one VM, so that what one of them did is not done again.

    The instance UUIDs decide: a clone gets another one, and a VM keeps its own where it is registered again, or moves
    to another vCenter. Where one of them is not known, this is the question of `is_same_guest`.
    """
    recorded, known = recorded.lower(), known.lower()
    uuid, other = recorded.rpartition("/")[2], known.rpartition("/")[2]
    return uuid == other if uuid and other else is_same_guest(recorded, known)
