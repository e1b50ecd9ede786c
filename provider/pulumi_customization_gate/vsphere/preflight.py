"""Whether a gate can work with a vCenter, VMs, a folder and a template, before anything is cloned. Writes nothing."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from pulumi_customization_gate import reachability
from pulumi_customization_gate.core.errors import ApiError, ConfigurationError, GateError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.core.model import Missing
from pulumi_customization_gate.core.text import duration, sanitize
from pulumi_customization_gate.vsphere import event_listener, inventory, preflight_guests, search
from pulumi_customization_gate.vsphere.privileges import GATE, GUEST_WORK, missing_privileges
from pulumi_customization_gate.vsphere.session import acquire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
    from pulumi_customization_gate.vsphere.search import InventoryVm
    from pulumi_customization_gate.vsphere.session import Session
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

SLOW_LOGIN = 5.0
"""Seconds of a login after which something is said about it."""
_READ_ONLY = "Grant {user} the role Read-only on the VMs and their folder, propagated to children."
_GUEST_ROLE = (
    "Scripts, files and checks in the guest need a role with the privileges under Virtual machine > Guest operations "
    "on the VMs; a gate alone does not."
)


def preflight(
    settings: VsphereSettings,
    vms: Sequence[str] = (),
    *,
    folder: str = "",
    template: str = "",
    guest_credentials: GuestCredentials | None = None,
) -> Iterator[Finding]:
    """Yields what a gate would meet on a vCenter, each finding as soon as it is there.

    Args:
        settings: Where the vCenter is and who logs in.
        vms: IDs, UUIDs, names, paths or patterns of VMs.
        folder: The inventory path of the folder into which VMs will be cloned.
        template: The name, path or ID of the template, or of the VM that is cloned.
        guest_credentials: Who works in the guests; with them the settings of VMware Tools in a running template are
            read.
    """
    host, port = settings.host_and_port()
    for finding in reachability.findings(settings.server, host, port, settings.trust, settings.called):
        yield finding
        if finding.state is State.FAILED:
            return
    server = sanitize(settings.server)
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        try:
            session = stack.enter_context(acquire(settings))
        except GateError as error:
            yield Finding(Check.LOGIN, State.FAILED, server, str(error))
            return
        yield _login(session, server, time.monotonic() - began)
        yield from _Preflight(session, server, guest_credentials).findings(vms, folder, template)


class _Preflight:
    """What is looked at after the login."""

    def __init__(self, session: Session, server: str, credentials: GuestCredentials | None) -> None:
        self._session, self._server, self._credentials = session, server, credentials
        self._user = sanitize(session.settings.user)

    def findings(self, words: Sequence[str], folder: str, template: str) -> Iterator[Finding]:
        yield self._version()
        try:
            yield self._clock()
            known = search.read(self._session) if words or template else []
            found, problems = self._resolved(words, known, Check.VM)
            yield from problems
            place = None
            if folder:
                place, finding = self._folder(folder)
                yield finding
            yield from self._event_access([moid for moid, _ in found], place)
            readable = []
            for finding, moid in self._states(found):
                yield finding
                readable += [moid] if finding.state is State.OK else []
            yield from self._privileges([(moid, dict(found)[moid]) for moid in readable], place, folder)
            templates, problems = self._resolved([template] if template else [], known, Check.TEMPLATE)
            yield from problems
            for moid, label in templates:
                yield from preflight_guests.template(self._session, moid, label, self._credentials)
            yield from preflight_guests.hosts(self._session, readable)
        except GateError as error:
            yield Finding(Check.CONNECTION, State.FAILED, self._server, str(error))

    def _version(self) -> Finding:
        about = self._session.about
        message = f"{sanitize(about.fullName)}, API {sanitize(about.apiVersion)}"
        if self._session.reports_customization_info:
            return Finding(Check.VERSION, State.OK, self._server, message)
        remedy = (
            "Before API 7.0.2, vCenter does not report guest.customizationInfo. A gate then judges by events alone: "
            "vCenter must keep them longer than the wait lasts."
        )
        return Finding(Check.VERSION, State.WARNING, self._server, message, remedy)

    def _clock(self) -> Finding:
        before = datetime.now(timezone.utc)
        now = self._session.with_retries(self._session.current_time)
        took = datetime.now(timezone.utc) - before
        return reachability.clock_finding(self._server, now - (before + took / 2))

    def _resolved(
        self, words: Sequence[str], known: Sequence[InventoryVm], check: Check
    ) -> tuple[list[tuple[str, str]], list[Finding]]:
        """Returns the VMs of the words, ID and label, each once, and what is wrong with the other words."""
        names = {vm.moid: vm.name for vm in known}
        found: dict[str, str] = {}
        problems = []
        for word in words:
            try:
                for moid in search.find(self._session, word, known):
                    found[moid] = f"{sanitize(names[moid])} ({moid})" if moid in names else sanitize(moid)
            except ConfigurationError as error:  # noqa: PERF203 -- each wrong word is a finding
                remedy = "Correct the reference, or grant Read-only on the VM, without which its name cannot be read."
                problems.append(Finding(check, State.FAILED, sanitize(word), str(error), remedy))
        return list(found.items()), problems

    def _folder(self, path: str) -> tuple[Any, Finding]:
        """Returns the folder of an inventory path, None where there is none, and the finding that says so."""
        index = self._session.content.searchIndex
        found = self._session.with_retries(lambda: index.FindByInventoryPath(path.strip("/")))
        if isinstance(found, vim.Folder | vim.Datacenter):
            return found, Finding(Check.FOLDER, State.OK, sanitize(path), "is in the inventory")
        message = f"{self._server} has no such folder that {self._user} may see"
        remedy = "Expected the path of a VM folder, for example /Datacenter/vm/web. " + _READ_ONLY.format(
            user=self._user
        )
        return None, Finding(Check.FOLDER, State.FAILED, sanitize(path), message, remedy)

    def _event_access(self, moids: Sequence[str], folder: Any) -> Iterator[Finding]:
        """Yields how the events will be read, and whether the event collector for it could be created."""
        session = self._session
        now = session.with_retries(session.current_time)
        try:
            listener, restriction = session.with_retries(
                lambda: event_listener.started(session, now, lambda: moids, folder)
            )
        except ApiError as error:
            remedy = ""
            if error.code == vim.fault.InvalidState.__name__:
                remedy = (
                    f"vCenter allows about 32 event collectors at once for a user, and other clients of {self._user} "
                    "hold them. Run fewer of those at the same time, or end their sessions."
                )
            yield Finding(Check.EVENT_COLLECTOR, State.FAILED, self._server, str(error), remedy)
            return
        has_collector = isinstance(listener, event_listener.CollectorListener)
        listener.close()
        if not restriction:
            yield Finding(Check.EVENT_ACCESS, State.OK, self._server, "events of the whole inventory")
        elif has_collector or moids:
            yield Finding(Check.EVENT_ACCESS, State.WARNING, self._server, restriction)
        else:
            remedy = "Give VMs or a folder, so that event access is checked there. " + _READ_ONLY.format(
                user=self._user
            )
            message = f"{self._user} may not read events of the whole inventory"
            yield Finding(Check.EVENT_ACCESS, State.UNKNOWN, self._server, message, remedy)
        if has_collector:
            yield Finding(Check.EVENT_COLLECTOR, State.OK, self._server, "one was created and destroyed")

    def _states(self, found: Sequence[tuple[str, str]]) -> Iterator[tuple[Finding, str]]:
        """Yields for each VM whether its state can be read, and its ID."""
        labels = dict(found)
        looks = self._session.with_retries(lambda: inventory.read(self._session, labels, details=False))
        by_vm = {look.vm: look for look in looks}
        for moid, label in found:
            look = by_vm[moid]
            if isinstance(look, Missing):
                remedy = _READ_ONLY.format(user=self._user)
                yield Finding(Check.VM, State.FAILED, label, sanitize(look.message), remedy), moid
            else:
                pending = ", a customization specification is pending" if look.specification_pending else ""
                yield Finding(Check.VM, State.OK, label, f"{look.power.value}{pending}"), moid

    def _privileges(self, vms: Sequence[tuple[str, str]], folder: Any, path: str) -> Iterator[Finding]:
        """Yields for each VM, and for the folder, the rights for a gate and for work in the guest."""
        entities = [(vim.VirtualMachine(moid, self._session.stub), label) for moid, label in vms]
        if folder is not None:
            entities.append((folder, sanitize(path)))
        missing = missing_privileges(self._session, [entity for entity, _ in entities], (*GATE, *GUEST_WORK))
        for (_, label), lacking in zip(entities, missing, strict=True):
            for check, wanted, remedy, state in (
                (Check.PRIVILEGES, GATE, _READ_ONLY.format(user=self._user), State.FAILED),
                (Check.GUEST_PRIVILEGES, GUEST_WORK, _GUEST_ROLE, State.WARNING),
            ):
                absent = [name for name in wanted if name in lacking]
                if absent:
                    yield Finding(check, state, label, f"{self._user} lacks {', '.join(absent)}", remedy)
                else:
                    yield Finding(check, State.OK, label, ", ".join(wanted))


def _login(session: Session, server: str, seconds: float) -> Finding:
    message = f"as {sanitize(session.settings.user)}, after {duration(seconds)}"
    if seconds < SLOW_LOGIN:
        return Finding(Check.LOGIN, State.OK, server, message)
    remedy = "Find out why logins are slow on this vCenter: most often a directory server does not answer."
    return Finding(Check.LOGIN, State.WARNING, server, message, remedy)
