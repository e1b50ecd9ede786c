"""The customization events of VMs, as far as vCenter keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.model import Missing, Snapshot
from pulumi_customization_gate.vsphere import history, inventory, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.core.model import Event
    from pulumi_customization_gate.vsphere.session import Session


def histories(session: Session, words: Sequence[str]) -> tuple[list[Event], dict[str, str], dict[str, str]]:
    """Reads the events of the VMs that the references mean.

    Returns:
        The events, oldest first; the names of the VMs, and why not all events of a VM could be read, both by ID.

    Raises:
        ConfigurationError: If a reference has no VM.
        ServerError: If the server does not answer.
    """
    found = {reference: inventory.find(session, reference) for reference in search.expand(session, words)}
    present = [moid for moid in found.values() if moid is not None]
    looks = session.with_retries(lambda: inventory.read(session, present))
    snapshots = [look for look in looks if isinstance(look, Snapshot)]
    gone = [reference.given for reference, moid in found.items() if moid is None]
    gone += [look.vm for look in looks if isinstance(look, Missing)]
    if gone:
        raise ConfigurationError(f"{session.settings.server} has no virtual machine {', '.join(gone)}")
    events, incomplete = history.read_all(session, present)
    return events, {snapshot.vm: snapshot.name for snapshot in snapshots}, incomplete
