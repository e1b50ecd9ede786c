"""One running lab with a session, and what tests do to it; shared by the tests of the lab's vCenter."""

from __future__ import annotations

import contextlib
import functools
import itertools
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
from pyVmomi import SoapStubAdapter, vim

from lab import vcenter_client
from lab.bootstrap import build_vcenter
from lab.paths import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = "100ms"
DURATION = "200ms"
VERSION = "8.0.3.0"
TEST_TIMEOUT = 15.0
"""The time-out of steps that take well under a second: the computer may be busy."""


@dataclass
class VCenter:
    """One running lab with a session, and what the tests do to it."""

    lab: vcenter_client.Lab
    service: Any
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def content(self) -> Any:
        return self.service.content

    def control(self, verb: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.lab.token}"}
        return requests.request(verb, self.lab.control + path, json=body, headers=headers, timeout=TEST_TIMEOUT)

    def done(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.control(verb, path, body)
        assert answer.ok, answer.text
        return answer.json()

    def find(self, name: str) -> Any:
        view = self.content.viewManager.CreateContainerView(
            self.content.rootFolder, [vim.VirtualMachine], recursive=True
        )
        try:
            return {vm.name: vm for vm in view.view}[name]
        finally:
            view.Destroy()

    def vm(self, moid: str) -> Any:
        return vim.VirtualMachine(moid, self.service._stub)

    @property
    def template(self) -> Any:
        return self.find("linux-template")

    def clone(self, name: str = "", *, on: bool = True, custom: Any = None, plan: dict[str, str] | None = None) -> Any:
        template = self.template
        extra = [vim.option.OptionValue(key=f"lab.{key}", value=value) for key, value in (plan or {}).items()]
        spec = vim.vm.CloneSpec(
            location=vim.vm.RelocateSpec(pool=template.resourcePool),
            powerOn=on,
            customization=custom,
            config=vim.vm.ConfigSpec(extraConfig=extra),
        )
        return finish(template.CloneVM_Task(template.parent, name or f"clone-{next(self.numbers)}", spec))

    def events(self, **filters: Any) -> list[Any]:
        return list(self.content.eventManager.QueryEvents(vim.event.EventFilterSpec(**filters)))

    def story(self, vm: Any, since: str = "VmStartingEvent") -> list[str]:
        """Returns the classes of a VM's events, oldest first, from the newest one of a class on."""
        only = vim.event.EventFilterSpec.ByEntity(entity=vm, recursion="self")
        classes = [kind(event) for event in self.events(entity=only)]
        return classes[classes.index(since) :: -1]


@contextlib.contextmanager
def connection(lab: vcenter_client.Lab) -> Iterator[Any]:
    """Gives a service instance without a session; its sockets are closed at the end."""
    host, _, port = lab.server.partition(":")
    context = ssl.create_default_context(cafile=lab.ca_file)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    stub = SoapStubAdapter(
        host=host,
        port=int(port),
        sslContext=context,
        version=f"vim.version.v{VERSION.replace('.', '_')}",
        httpConnectionTimeout=TEST_TIMEOUT,
    )
    try:
        yield vim.ServiceInstance("ServiceInstance", stub)
    finally:
        stub.DropConnections()


@contextlib.contextmanager
def session(lab: vcenter_client.Lab) -> Iterator[Any]:
    """Gives a service instance with a session of its own."""
    with connection(lab) as service:
        manager = service.RetrieveContent().sessionManager
        manager.Login(lab.user, lab.password)
        try:
            yield service
        finally:
            service._stub.DropConnections()  # a test may have broken them off
            with contextlib.suppress(vim.fault.NotAuthenticated):  # a test may have ended it
                manager.Logout()


def kind(event: Any) -> str:
    return type(event).__name__.rpartition(".")[2]


def finish(task: Any) -> Any:
    """Waits for a task, and raises its fault."""
    until(lambda: task.info.state in ("success", "error"))
    if task.info.state == "error":
        raise task.info.error
    return task.info.result


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + TEST_TIMEOUT
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def status(vm: Any) -> str:
    return str(vm.guest.customizationInfo.customizationStatus).removeprefix("TOOLSDEPLOYPKG_")


def linux(*addresses: str, host_name: str = "web-1") -> Any:
    """Returns a Linux specification with one network adapter per address; an empty address means DHCP."""
    mappings = []
    for address in addresses or ("",):
        fixed = vim.vm.customization.FixedIp(ipAddress=address)
        adapter = vim.vm.customization.IPSettings(
            ip=fixed if address else vim.vm.customization.DhcpIpGenerator(), subnetMask="255.255.255.0"
        )
        mappings.append(vim.vm.customization.AdapterMapping(adapter=adapter))
    name = vim.vm.customization.FixedName(name=host_name)
    return vim.vm.customization.Specification(
        identity=vim.vm.customization.LinuxPrep(hostName=name, domain="lab.test"),
        globalIPSettings=vim.vm.customization.GlobalIPSettings(),
        nicSettingMap=mappings,
    )


@functools.cache
def program() -> Path:
    """Returns the lab's vCenter, built from the sources as they are."""
    return build_vcenter(Home())


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[VCenter]:
    """Runs a lab in a folder, with a session, for the length of a block."""
    lab = vcenter_client.start(program(), folder, ["-start-delay", START, "-duration", DURATION, *options])
    try:
        with session(lab) as service:
            yield VCenter(lab, service)
    finally:
        vcenter_client.stop(program(), folder)
