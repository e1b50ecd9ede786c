"""What guest scripts and guest files have in common: the guest that their inputs name, and whether it is another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core.errors import ConfigurationError, GateError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.lifecycle import guest_arguments
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.outputs import GUEST_ID, GUEST_SERVER
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.guest.calls import session_until
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestGoneError, GuestLoginError, GuestTimeoutError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.identity import is_same_guest
from pulumi_customization_gate.vsphere.references import parse_reference
from pulumi_customization_gate.vsphere.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pulumi_customization_gate.config_lookup import Config
    from pulumi_customization_gate.lifecycle.engine import Engine

DELETE_TIMEOUT = 60.0
"""Seconds that a guest gets to become ready for what is done at a resource's deletion."""
LOCATE_TIMEOUT = 30.0
"""Seconds that a preview waits for a VM's identity."""
_KEY_LENGTH = 16


def key_of(engine: Engine) -> str:
    """Returns the id of a resource that is created now.

    It is the same in every attempt to create the resource, so that the work of an attempt whose answer never reached
    the engine is found in the guest.
    """
    if not engine.urn:
        return secrets.token_hex(_KEY_LENGTH // 2)
    return hashlib.sha256(engine.urn.encode()).hexdigest()[:_KEY_LENGTH]


@contextlib.contextmanager
def open_guest(engine: Engine, config: Config, inputs: Mapping[str, Any], timeout: float) -> Iterator[Guest]:
    """Gives the guest, once it lets the user in.

    Args:
        engine: Who asks.
        config: The stack's config.
        inputs: The inputs of a guest script or file, checked.
        timeout: Seconds for all that is done there.

    Raises:
        GuestGoneError: If the inventory has no such VM.
        GuestError: If the guest does not let the user in, or not in time.
        ServerError: If vCenter cannot be used.
        ConfigurationError: If settings are missing.
    """
    with _connected(engine, config, inputs, Deadline(timeout, engine.cancelled)) as guest:
        guest.check_login()
        yield guest


@contextlib.contextmanager
def open_guest_for_deletion(
    engine: Engine, config: Config, inputs: Mapping[str, Any], timeout: float, task: str
) -> Iterator[Guest | None]:
    """Yields the guest for a resource's deletion, or None, with a warning, if the guest refuses the user.

    Args:
        engine: Who asks.
        config: The stack's config.
        inputs: The inputs, as they are stored.
        timeout: Seconds for all that is done there.
        task: What is not done then, for the warning.
    """
    with contextlib.ExitStack() as held:
        guest: Guest | None = None
        reason = ""
        try:
            short = Deadline(min(timeout, DELETE_TIMEOUT), engine.cancelled)
            guest = held.enter_context(_connected(engine, config, inputs, short))
            if not is_same_guest(guest.id, inputs.get(GUEST_ID) or guest.id):
                guest, reason = None, f"{sanitize(str(inputs['vm']))} now refers to another VM"
            elif guest.is_powered_on:
                guest.check_login()
                guest = guest.with_deadline(Deadline(timeout, engine.cancelled))
            else:
                guest, reason = None, f"{guest} is powered off"
        except (GuestGoneError, GuestTimeoutError, GuestLoginError) as error:
            # A password that was changed in the guest must not keep the stack from being destroyed.
            guest, reason = None, sanitize(str(error))
        if guest is None:
            engine.log(f"{task}: {reason}", warning=True)
        yield guest


@contextlib.contextmanager
def _connected(engine: Engine, config: Config, inputs: Mapping[str, Any], deadline: Deadline) -> Iterator[Guest]:
    def notify(line: str) -> None:
        if engine.has_terminal:
            engine.log(sanitize(line), lasting=False)

    credentials = guest_arguments.credentials(inputs, config, os.environ)
    settings = read_settings(config, os.environ, guest_arguments.namespace_of(inputs))
    with session_until(settings, deadline) as session:
        reference = str(inputs["vm"])
        moid = inventory.find(session, parse_reference(reference))
        if moid is None:
            raise GuestGoneError(f"{settings.server} has no virtual machine {sanitize(reference)!r}")
        guest = Guest(session, moid, credentials, deadline, notify)
        notify(f"working in {guest}")
        yield guest


def settings_problems(inputs: Mapping[str, Any], config: Config) -> list[str]:
    """Returns what is missing of the vCenter's settings or the guest's credentials; opens no connection."""
    if any(is_unknown(inputs.get(name)) for name in ("username", "password", "config_namespace")):
        return []
    try:
        read_settings(config, os.environ, guest_arguments.namespace_of(inputs))
        guest_arguments.credentials(inputs, config, os.environ)
    except ConfigurationError as error:
        return [str(error)]
    return []


def changed_target(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> Sequence[str]:
    """Returns the arguments by which new inputs name another guest, or may turn out to.

    Another spelling of the same VM is the same guest, and so is a VM of a vCenter that has another address now. Another
    VM behind the same path or UUID is another guest: a connection is opened to find that out, and only then.
    """
    changed = [name for name in ("vm", "config_namespace") if _spelling(olds, name) != _spelling(news, name)]
    if not changed and is_elsewhere(config, olds, news):
        changed = ["vm"]
    if not changed:
        return ["vm"] if _is_replaced(engine, config, olds, news) else []
    if any(is_unknown(news.get(name)) for name in changed):
        return changed
    try:
        is_same = is_same_guest(_locate(engine, config, news), olds.get(GUEST_ID) or _locate(engine, config, olds))
    except GateError as error:
        engine.log(f"it is unknown whether this is the same guest, so it counts as another: {error}", warning=True)
        return changed
    return [] if is_same else changed


def _is_replaced(engine: Engine, config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether another VM, or none, is behind a reference that is not an identifier."""
    known = olds.get(GUEST_ID)
    if not known or parse_reference(str(news["vm"])).vm_id is not None:
        return False
    try:
        return not is_same_guest(_locate(engine, config, news), str(known))
    except GuestGoneError:
        return True
    except GateError as error:
        engine.log(f"cannot check whether vm still names the same guest: {error}", warning=True)
        return False


def is_elsewhere(config: Config, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether the settings name another vCenter than before, as far as both are known; opens no connection."""
    return bool(olds.get(GUEST_SERVER)) and server_of(config, news, olds) != olds[GUEST_SERVER]


def server_of(config: Config, inputs: Mapping[str, Any], olds: Mapping[str, Any]) -> str | None:
    """Returns the address of the vCenter that the settings name; the one before where they are not known."""
    known: str | None = olds.get(GUEST_SERVER)
    if is_unknown(inputs.get("config_namespace")):
        return known
    try:
        return read_settings(config, os.environ, guest_arguments.namespace_of(inputs)).address
    except ConfigurationError:
        return known  # `check` has reported it.


def identity_of(guest: Guest) -> dict[str, str]:
    """Returns what is stored of the guest, by which another one is noticed."""
    return {GUEST_ID: guest.id, GUEST_SERVER: guest.session.settings.address}


def _spelling(inputs: Mapping[str, Any], name: str) -> object:
    value = inputs.get(name)
    return value if name == "vm" or is_unknown(value) else guest_arguments.namespace_of(inputs)


def _locate(engine: Engine, config: Config, inputs: Mapping[str, Any]) -> str:
    with _connected(engine, config, inputs, Deadline(LOCATE_TIMEOUT, engine.cancelled)) as guest:
        return guest.id
