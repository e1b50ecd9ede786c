"""Gives the providers of guest work the guest that their inputs name."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.core import report as words
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.resources import guest_arguments, host
from pulumi_customization_gate.resources.settings import Config, vsphere_settings
from pulumi_customization_gate.vsphere import inventory
from pulumi_customization_gate.vsphere.guest.deadline import Deadline
from pulumi_customization_gate.vsphere.guest.errors import GuestGoneError, GuestTimeoutError
from pulumi_customization_gate.vsphere.guest.operations import Guest
from pulumi_customization_gate.vsphere.session import acquire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LAST_VISIT = 60.0
"""Seconds that a guest gets to become ready for what is done at its end."""


@contextlib.contextmanager
def guest_of(inputs: Mapping[str, Any], config: Config, timeout: float) -> Iterator[Guest]:
    """Lends the guest, once it lets the user in.

    Args:
        inputs: The inputs of a guest script or file, checked.
        config: The stack's config.
        timeout: Seconds for all that is done there.

    Raises:
        GuestGoneError: If the inventory has no such machine.
        GuestError: If the guest does not let the user in, or not in time.
        ServerError: If vCenter cannot be used.
        ConfigurationError: If settings are missing.
    """
    with _reach(inputs, config, Deadline(timeout, host.cancelled)) as guest:
        guest.check_login()
        yield guest


@contextlib.contextmanager
def guest_at_the_end(inputs: Mapping[str, Any], config: Config, timeout: float, task: str) -> Iterator[Guest | None]:
    """Lends the guest for what is done at a resource's deletion, or None, with a warning, where it is gone or off.

    Args:
        inputs: The inputs, as they are stored.
        config: The stack's config.
        timeout: Seconds for all that is done there.
        task: What is not done then, for the warning.
    """
    with contextlib.ExitStack() as held:
        guest: Guest | None = None
        reason = ""
        try:
            short = Deadline(min(timeout, LAST_VISIT), host.cancelled)
            guest = held.enter_context(_reach(inputs, config, short))
            if guest.is_powered_on:
                guest.check_login()
                guest = guest.with_deadline(Deadline(timeout, host.cancelled))
            else:
                guest, reason = None, f"{guest} is powered off"
        except (GuestGoneError, GuestTimeoutError) as error:
            guest, reason = None, words.plain(str(error))
        if guest is None:
            host.Call(inputs).log(f"{task}: {reason}", warning=True)
        yield guest


@contextlib.contextmanager
def _reach(inputs: Mapping[str, Any], config: Config, deadline: Deadline) -> Iterator[Guest]:
    call = host.Call(inputs)

    def tell(line: str) -> None:
        if host.has_terminal():
            call.log(words.plain(line), lasting=False)

    credentials = guest_arguments.credentials(inputs, config, os.environ)
    settings = vsphere_settings(config, os.environ, guest_arguments.namespace_of(inputs))
    with acquire(settings) as session:
        reference = str(inputs["vm"])
        moid = inventory.resolve(session, {"vm": reference})["vm"]
        if moid is None:
            raise GuestGoneError(f"{settings.server} knows no virtual machine {words.plain(reference)!r}")
        guest = Guest(session, moid, credentials, deadline, tell)
        tell(f"working in {guest}")
        yield guest


def settings_problems(inputs: Mapping[str, Any], config: Config) -> list[str]:
    """Returns what is missing of the vCenter's settings or the guest's credentials.

    No connection is opened.
    """
    named = [inputs.get(name) for name in ("username", "password", "config_namespace")]
    if any(map(host.is_unknown, named)):
        return []
    try:
        vsphere_settings(config, os.environ, guest_arguments.namespace_of(inputs))
        guest_arguments.credentials(inputs, config, os.environ)
    except ConfigurationError as error:
        return [str(error)]
    return []


def is_another_server(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    """Whether the inputs name another vCenter, or may turn out to."""
    if host.is_unknown(news.get("config_namespace")):
        return True
    return guest_arguments.namespace_of(olds) != guest_arguments.namespace_of(news)
