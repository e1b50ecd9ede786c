"""The customization history of machines, as far as the vCenter remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_customization_gate.command_line import catalogue
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.vsphere import history, inventory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_customization_gate.core.model import Event
    from pulumi_customization_gate.vsphere.session import Session


def histories(session: Session, words: Sequence[str]) -> tuple[list[Event], dict[str, str]]:
    """Returns the events of the machines that the words mean, oldest first, and the machines' names by ID.

    Raises:
        ConfigurationError: If a word means no machine.
        ServerError: If the server does not answer.
    """
    moids = inventory.resolve(session, catalogue.expand(session, words))
    present = [moid for moid in moids.values() if moid is not None]
    snapshots = session.patiently(lambda: inventory.read(session, present))
    gone = [word for word, moid in moids.items() if moid is None] + [s.vm for s in snapshots if not s.exists]
    if gone:
        raise ConfigurationError(f"{session.settings.server} has no virtual machine {', '.join(gone)}")
    events = session.patiently(lambda: history.read_all(session, present))
    return events, {snapshot.vm: snapshot.name for snapshot in snapshots}
