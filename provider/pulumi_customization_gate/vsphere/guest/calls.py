"""One guest and the calls into it, by VMware Tools: what may be asked again is, until the deadline."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.background import Background, wait_until_done
from pulumi_customization_gate.core.backoff import backoff
from pulumi_customization_gate.core.errors import (
    ApiError,
    AuthenticationError,
    CertificateError,
    GateError,
    ServerError,
)
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere import login
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.guest.errors import (
    GuestError,
    GuestNotReadyError,
    HostUnreachableError,
    translated,
)
from pulumi_customization_gate.vsphere.properties import retrieve, values_of
from pulumi_customization_gate.vsphere.session import Session, acquire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from typing_extensions import Self

    from pulumi_customization_gate.vsphere.guest.deadline import Deadline
    from pulumi_customization_gate.vsphere.settings import VsphereSettings

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PROPERTIES = ("name", "guest.guestFamily", "config.guestId", "config.instanceUuid", "runtime.powerState")
_CALLS = Background("guest-call", threads=256)
"""Where calls are made: a server that does not answer must not hold up a deadline, or the user's Ctrl-C."""


@contextlib.contextmanager
def session_until(settings: VsphereSettings, deadline: Deadline) -> Iterator[Session]:
    """Shares the session of these settings; the login may take until the deadline.

    A login that is not answered by then is left to its thread, which gives the session back.

    Raises:
        GuestTimeoutError: If there is no session by the deadline.
        GuestCancelledError: If the user has cancelled the work.
        ServerError, AuthenticationError, CertificateError: See `session.acquire`.
    """
    shared = acquire(settings)

    def leave(entered: Future[Session]) -> None:
        if entered.exception() is None:
            shared.__exit__(None, None, None)

    with contextlib.ExitStack() as held:
        held.enter_context(login.unlimited_login(settings))
        entering = _CALLS.submit(shared.__enter__)
        if not wait_until_done(entering, deadline.at, cancelled=deadline.cancelled):
            try:
                deadline.check(login.slow_login(settings) or f"{settings.server} does not answer")
            except GuestError:
                entering.add_done_callback(leave)
                raise
        session = entering.result()
        held.push(shared)
        yield session


@dataclass(frozen=True)
class GuestCredentials:
    """Who works in a guest. The password goes nowhere but into the API's own object for it."""

    user: str
    password: str = field(repr=False)


class GuestCalls:
    """The guest of one virtual machine, for one user, and how it is asked.

    Args:
        session: The vCenter's session.
        moid: The VM's managed object ID.
        credentials: Who works in the guest.
        deadline: How long the work may take.
        notify: Takes a sentence about what the work waits for.

    Raises:
        GuestGoneError: If the VM is not in the inventory.
    """

    def __init__(
        self,
        session: Session,
        moid: str,
        credentials: GuestCredentials,
        deadline: Deadline,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.session, self.deadline, self._notify = session, deadline, notify
        self._user, self._label = credentials.user, moid
        self._managers: dict[str, Any] = {}
        self._vm = vim.VirtualMachine(moid, session.stub)
        self._login = vim.vm.guest.NamePasswordAuthentication(
            username=credentials.user, password=credentials.password, interactiveSession=False
        )
        known = self.ask(lambda: self._read(*_PROPERTIES), "RetrievePropertiesEx")
        self._label = f"{sanitize(str(known.get('name') or moid))} ({moid})"
        family = str(known.get("guest.guestFamily") or "")
        self.is_windows = family == "windowsGuest" or (
            not family and str(known.get("config.guestId")).startswith("win")
        )
        """Whether the guest runs Windows, by its VMware Tools, or by the VM's settings while those do not run."""
        self.id = f"{session.about.instanceUuid}/{moid}/{known.get('config.instanceUuid') or ''}"
        """The identity of the VM: its vCenter, its managed object ID and its instance UUID."""
        self.is_powered_on = known.get("runtime.powerState") == "poweredOn"

    def __str__(self) -> str:
        return self._label

    def _read(self, *paths: str) -> dict[str, Any]:
        found = retrieve(self.session, [self._vm], {vim.VirtualMachine: paths})
        if not found:
            raise vmodl.fault.ManagedObjectNotFound(obj=self._vm)
        return values_of(found[0])

    def with_deadline(self, deadline: Deadline) -> Self:
        """Returns the same guest for work that has its own time, for example to tidy up."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, deadline=deadline)
        return other

    def ask(self, call: Callable[[], T], name: str) -> T:
        """Makes a call that may be made twice, again while network or guest are not ready for it.

        Args:
            call: The call.
            name: The API's name of what it calls, for the log.

        Raises:
            GuestTimeoutError: If they never were.
            GuestCancelledError: If the user cancelled the work.
            GuestError: If the guest refused.
            ServerError: If vCenter refused.
        """
        reason = ""
        for pause in backoff(0.5, 5.0):
            self.deadline.check(reason)
            _log.debug("%s: calling %s", self, name)
            try:
                return self._within_deadline(lambda: self.session.with_retries(lambda: self._translated(call)))
            except (AuthenticationError, CertificateError, ApiError, HostUnreachableError):
                raise
            except (GuestNotReadyError, ServerError) as error:
                reason = str(error)
            _log.debug("%s: %s failed and is repeated: %s", self, name, reason)
            self._notify(f"waiting for the guest: {reason}")
            self.deadline.pause(pause, reason)
        raise AssertionError("the pauses never end")

    def _within_deadline(self, call: Callable[[], T]) -> T:
        """Makes a call that may block; one that does not return in time is left to itself."""
        future = _CALLS.submit(call)
        if not wait_until_done(future, self.deadline.at, cancelled=self.deadline.cancelled):
            self.deadline.check(f"{self.session.settings.server} does not answer")
        return future.result()

    def _translated(self, call: Callable[[], T]) -> T:
        self.deadline.check()  # a call that was left to itself ends here
        try:
            return call()
        except vim.fault.NotAuthenticated:
            raise
        except vmodl.MethodFault as fault:
            raise self._error(fault) from None

    def _error(self, fault: Any) -> GateError:
        return translated(fault, str(self), self._user, self._login.password)

    def _service(self, name: str, kind: Any) -> Any:
        """Returns one of the managers of guest operations; vCenter is asked once which they are."""
        if name not in self._managers:
            known = self.session.content.guestOperationsManager
            self._managers[name] = kind(moid_of(getattr(known, name)), self.session.stub)
        return self._managers[name]
