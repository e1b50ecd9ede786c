"""Whether a gate can work with a Cloud Director and VMs. Writes nothing."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pulumi_customization_gate import reachability
from pulumi_customization_gate.cloud_director.api import Refusal, read_inventory, read_state, read_vapp
from pulumi_customization_gate.cloud_director.references import parse_reference
from pulumi_customization_gate.cloud_director.session import acquire
from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.core.text import duration, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pulumi_customization_gate.cloud_director.session import Session
    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings

_HTTPS = 443
_RIGHTS = (
    "Correct the reference, or give the user a role with the right vApp: View VM and access to the vApp, for example "
    "by sharing it."
)
_ENABLE = "Enable guest customization on the VM before its first power-on, or use `expect` optional."


def preflight(settings: CloudDirectorSettings, vms: Sequence[str] = ()) -> Iterator[Finding]:
    """Yields what a gate would meet on a Cloud Director, each finding as soon as it is there.

    Args:
        settings: Where the Cloud Director is and who logs in.
        vms: URNs, hrefs or identifiers of VMs and vApps.
    """
    parts = urlsplit(settings.address)
    host, port = parts.hostname or "", parts.port or _HTTPS
    for finding in reachability.findings(settings.address, host, port, settings.trust, settings.called):
        yield finding
        if finding.state is State.FAILED:
            return
    server = sanitize(settings.address)
    with acquire(settings) as session:
        began = time.monotonic()
        try:
            session.open()
        except GateError as error:
            yield Finding(Check.LOGIN, State.FAILED, server, str(error))
            return
        who = f"{settings.user} of {settings.org}" if settings.user else f"an API token of {settings.org}"
        message = f"as {sanitize(who)}, after {duration(time.monotonic() - began)}"
        notes = " ".join(sanitize(note) for _, note in session.notes)
        yield Finding(Check.LOGIN, State.WARNING if notes else State.OK, server, message, notes)
        yield Finding(Check.VERSION, State.OK, server, f"API {sanitize(session.api_version)}")
        try:
            yield _clock(session, server)
            for text in vms:
                yield from _vms(session, settings, text)
        except GateError as error:
            yield Finding(Check.CONNECTION, State.FAILED, server, str(error))


def _clock(session: Session, server: str) -> Finding:
    """Compares the clocks, by the date of an answer, which has no fractions of a second."""
    before = datetime.now(timezone.utc)
    offset = session.get("/api/org").at - before
    return reachability.clock_finding(server, offset)


def _vms(session: Session, settings: CloudDirectorSettings, text: str) -> Iterator[Finding]:
    """Yields whether the customization status of the VMs of a reference can be read."""
    try:
        reference = parse_reference(text, settings.address)
    except ConfigurationError as error:
        yield Finding(Check.VM, State.FAILED, sanitize(text), str(error))
        return
    ids = [reference.id]
    if reference.is_group:
        inside = read_vapp(session, reference.id)
        if isinstance(inside, Refusal):
            yield Finding(Check.VM, State.FAILED, reference.urn, sanitize(inside.message), _RIGHTS)
            return
        ids = [vm.id for vm in inside]
    names = {vm: seen.name for vm, (_, seen) in read_inventory(session, ids).items()} if ids else {}
    for vm in ids:
        label = f"{sanitize(names[vm])} ({vm})" if names.get(vm) else vm
        yield _state(session, vm, label)


def _state(session: Session, vm: str, label: str) -> Finding:
    found = read_state(session, vm, read_enabled=True)
    if isinstance(found, Refusal):
        return Finding(Check.VM, State.FAILED, label, sanitize(found.message), _RIGHTS)
    if found.enabled is False:
        return Finding(Check.VM, State.WARNING, label, "guest customization is not enabled", _ENABLE)
    return Finding(Check.VM, State.OK, label, f"its customization status can be read: {sanitize(found.word, 80)}")
