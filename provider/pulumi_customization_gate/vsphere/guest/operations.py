"""A guest as scripts and files need it: its files, and the programs that run in it."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.vsphere.guest import refused_logins
from pulumi_customization_gate.vsphere.guest.errors import GuestError
from pulumi_customization_gate.vsphere.guest.files import GuestFiles

if TYPE_CHECKING:
    from collections.abc import Callable

_UNSENT = (ConnectionRefusedError, socket.gaierror)
"""Failures of a call that cannot have reached the server."""


class Guest(GuestFiles):
    """The guest of one virtual machine, for one user: its files, and the programs that run in it."""

    def check_login(self) -> None:
        """Waits until the guest is ready, and has it check user and password, unless it refused them before.

        Raises:
            GuestLoginError: If the guest refuses them, or refused them earlier in this process.
        """

        def send() -> None:
            self.ask(lambda: self._logins.ValidateCredentials(self._vm, self._login), "ValidateCredentials")

        refused_logins.log_in(self.id, self._user, self._login.password, self.deadline, send=send, notify=self._notify)

    def private_directory(self) -> str:
        """Returns the directory under the guest user's home that no other user can read; makes it where it is missing.

        Raises:
            GuestError: If what is there belongs to another user, or is not a directory.
        """
        variable, name = ("LOCALAPPDATA", "customization-gate") if self.is_windows else ("HOME", ".customization-gate")
        home = self.environment_variable(variable)
        if not home:
            raise GuestError(f"the guest of {self} has no {variable} for {sanitize(self._user)}: scripts need a home")
        path = self.join(home, name)
        wanted = f"^({re.escape(name)}|[.])$"
        found = {entry.name: entry for entry in self.list_files(home, wanted)}
        if name not in found:
            self.make_directory(path, exist_ok=True)
            found = {entry.name: entry for entry in self.list_files(home, wanted)}
        entry = found.get(name)
        if entry is None or not entry.is_directory:
            raise GuestError(f"expected {path} in {self} to be a directory, got another kind of file: remove it")
        if "." in found and entry.owner != found["."].owner:
            raise GuestError(f"{path} in {self} belongs to another user than {home}: remove it")
        self.make_private(path, entry)
        return path

    def environment_variable(self, name: str) -> str:
        """Returns a variable of the user's environment; empty if there is none."""
        found = self.ask(
            lambda: self._processes.ReadEnvironmentVariable(self._vm, self._login, [name]), "ReadEnvironmentVariable"
        )
        return next((str(pair).partition("=")[2] for pair in found or () if str(pair).startswith(f"{name}=")), "")

    def start(self, path: str, arguments: str, requested: Callable[[int], None] = lambda _: None) -> int:
        """Starts a program, and asks again where the answer was lost: the program has to bear a second start.

        Args:
            path: The program.
            arguments: Its arguments, as the guest's shell takes them.
            requested: Takes 1 before each request, and -1 once it is certain that the request started nothing.

        Returns:
            The process of the last request.
        """
        spec = vim.vm.guest.ProcessManager.ProgramSpec(programPath=path, arguments=arguments)

        def call() -> int:
            requested(1)
            try:
                return int(self._processes.StartProgram(self._vm, self._login, spec))
            except (vmodl.fault.SystemError, vmodl.fault.HostCommunication):
                raise
            except (*_UNSENT, vmodl.MethodFault):
                requested(-1)
                raise

        return self.ask(call, "StartProgram")

    def processes(self, pid: int) -> list[Any]:
        """Returns what vCenter knows of a process, an ended one included: no entry, or one."""
        return list(
            self.ask(lambda: self._processes.ListProcesses(self._vm, self._login, [pid]), "ListProcesses") or ()
        )

    @property
    def _processes(self) -> Any:
        return self._service("processManager", vim.vm.guest.ProcessManager)

    @property
    def _logins(self) -> Any:
        return self._service("authManager", vim.vm.guest.AuthManager)
