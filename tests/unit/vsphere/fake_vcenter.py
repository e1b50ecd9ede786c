"""A vCenter in memory: it answers pyVmomi's calls where they would go to the network. It decides nothing by itself.

Two parts stand for the two protocols that a wait uses: `FakeEvents` for collectors and history, `FakeState` for
properties. Tests put in what happened and what is so, and say which calls fail.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pyVmomi import vim, vmodl

from pulumi_customization_gate.vsphere import login, refused_logins, session
from pulumi_customization_gate.vsphere.events import moid_of
from pulumi_customization_gate.vsphere.faults import InvalidXmlError, SessionCookie
from pulumi_customization_gate.vsphere.settings import VsphereSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

PASSWORD = "canary-password"
SETTINGS = VsphereSettings("vc.example.com", "ann", PASSWORD, allow_unverified_ssl=True)
NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
SERVER_UUID = "8f1d3c52-0c1c-4a4e-9b1d-6a3f6f0d2b11"
TIMEOUT = 10.0
"""Seconds after which something that should have happened counts as missing."""
IDLE: dict[str, Any] = {
    "parent": vim.Folder("group-v1"),
    "runtime.powerState": "poweredOn",
    "summary.runtime.bootTime": NOON - timedelta(minutes=1),
    "guest.toolsRunningStatus": "guestToolsRunning",
    "guest.customizationInfo.customizationStatus": "TOOLSDEPLOYPKG_IDLE",
}
"""The properties of a VM that is on, and of which no customization was requested."""


class FakeStub:
    """Replaces one connection, and so pyVmomi's stub."""

    def __init__(self, vcenter: FakeVcenter, timeout: float, session_cookie: SessionCookie | None = None) -> None:
        self.vcenter, self.timeout = vcenter, timeout
        self._cookie = session_cookie or SessionCookie()
        self.is_retired = False

    @property
    def cookie(self) -> str:
        return self._cookie.value

    @cookie.setter
    def cookie(self, value: str) -> None:
        self._cookie.value = value

    def InvokeAccessor(self, mo: Any, info: Any) -> Any:  # noqa: N802 -- pyVmomi's name
        if info.name == "currentSession":
            return SimpleNamespace(key=self.cookie)
        assert info.name == "content", info.name
        return self.vcenter.call(self, mo, "RetrieveServiceContent", ())

    def InvokeMethod(self, mo: Any, info: Any, args: Any) -> Any:  # noqa: N802 -- pyVmomi's name
        return self.vcenter.call(self, mo, info.wsdlName, args)

    def DropConnections(self) -> None:  # noqa: N802 -- pyVmomi's name
        pass

    def retire(self) -> None:
        self.is_retired = True


class FakeEvents:
    """Replaces collectors and history: each collector reads a journal that tests write."""

    def __init__(self) -> None:
        self.journal: list[Any] = []
        self.allowed: set[str] | None = None
        """The entities whose events may be collected, None for all; a VM's own may always be queried."""
        self.capacity = 1000
        """How many unread events a collector holds."""
        self.is_newest_first = True
        """Whether a query that finds more events than it may return leaves out the oldest, or the newest."""
        self.shows_pages = True
        """Whether the latest page has the events in it."""
        self.unreadable: set[int] = set()
        """Keys of events that no response with them can be parsed with."""
        self.collectors: dict[str, SimpleNamespace] = {}
        self.pollers: dict[str, str] = {}
        """The collector that each property collector watches."""
        self.changed = threading.Condition()
        self._made = 0

    def happen(self, kind: Any, vm: str, at: datetime, *, key: int = 0) -> int:
        """Adds an event to the journal and returns its key."""
        with self.changed:
            key = key or len(self.journal) + 1
            argument = vim.event.VmEventArgument(name=f"name of {vm}", vm=vim.VirtualMachine(vm))
            event = kind(key=key, chainId=key, userName="", createdTime=at, vm=argument, fullFormattedMessage="")
            self.journal.append(event)
            for collector in self.collectors.values():
                collector.version += 1
                collector.position = max(collector.position, 0)
                # A reader that falls behind reads nothing until it rewinds.
                collector.is_lost = len(self.journal) - collector.position > self.capacity
            self.changed.notify_all()
            return key

    def create(self, mo: Any, spec: Any) -> Any:
        if self.allowed is not None and (spec.entity is None or moid_of(spec.entity.entity) not in self.allowed):
            raise vim.fault.NoPermission
        self._made += 1
        moid = f"collector-{self._made}"
        start = next((n for n, event in enumerate(self.journal) if event.createdTime >= spec.time.beginTime), None)
        position = len(self.journal) if start is None else start
        self.collectors[moid] = SimpleNamespace(version=1, position=position, is_lost=False, cancelled=False, page=10)
        return vim.event.EventHistoryCollector(moid, mo._stub)

    def query(self, _: Any, spec: Any, *_more: Any) -> list[Any]:
        if self.allowed is not None and spec.entity is None:
            raise vim.fault.NoPermission
        begin, end = spec.time.beginTime, spec.time.endTime
        found = [
            event
            for event in (reversed(self.journal) if self.is_newest_first else self.journal)
            if type(event).__name__.rpartition(".")[2] in spec.eventTypeId
            and (begin is None or event.createdTime >= begin)
            and (end is None or event.createdTime <= end)
            and (spec.entity is None or moid_of(spec.entity.entity) == moid_of(event.vm.vm))
        ]
        return self._parsed(found[: spec.maxCount])

    def read(self, mo: Any, count: int) -> list[Any]:
        collector = self._collector(mo)
        if collector.is_lost:
            return []
        page = self.journal[collector.position : collector.position + count]
        collector.position += len(page)
        return self._parsed(page)

    def rewind(self, mo: Any) -> None:
        collector = self._collector(mo)
        collector.position, collector.is_lost = max(0, len(self.journal) - self.capacity), False

    def set_page(self, mo: Any, count: int) -> None:
        self._collector(mo).page = count

    def create_poller(self, mo: Any) -> Any:
        return vmodl.query.PropertyCollector(f"poller-{self._made}", mo._stub)

    def watch(self, mo: Any, spec: Any, _is_partial: bool) -> None:
        self.pollers[moid_of(mo)] = moid_of(spec.objectSet[0].obj)

    def wait(self, mo: Any, version: str, options: Any) -> Any:
        collector = self._watched(mo)
        with self.changed:
            self.changed.wait_for(
                lambda: collector.cancelled or str(collector.version) != version, options.maxWaitSeconds
            )
            if collector.cancelled:
                raise vmodl.fault.RequestCanceled
            if collector not in self.collectors.values():
                raise vim.fault.NotAuthenticated
            if str(collector.version) == version:
                return None
            newest = self.journal[-collector.page :] if self.shows_pages and collector.version > 1 else []
            change = SimpleNamespace(val=self._parsed(newest))
            changes = SimpleNamespace(objectSet=[SimpleNamespace(changeSet=[change])])
            return SimpleNamespace(version=str(collector.version), filterSet=[changes])

    def cancel(self, mo: Any) -> None:
        with self.changed:
            self._watched(mo).cancelled = True
            self.changed.notify_all()

    def destroy(self, mo: Any) -> None:
        self._collector(mo)
        del self.collectors[moid_of(mo)]

    def forget_all(self) -> None:
        """Ends all collectors, and the long polls on them."""
        with self.changed:
            for collector in self.collectors.values():
                collector.version += 1
            self.collectors.clear()
            self.changed.notify_all()

    def _collector(self, mo: Any) -> Any:
        if moid_of(mo) not in self.collectors:
            raise vmodl.fault.ManagedObjectNotFound(obj=mo)
        return self.collectors[moid_of(mo)]

    def _watched(self, mo: Any) -> Any:
        moid = self.pollers.get(moid_of(mo), "")
        if moid not in self.collectors:
            raise vmodl.fault.ManagedObjectNotFound(obj=mo)
        return self.collectors[moid]

    def _parsed(self, events: list[Any]) -> list[Any]:
        if self.unreadable & {event.key for event in events}:
            raise InvalidXmlError("not well-formed (invalid token)")
        return list(events)


class FakeState:
    """Replaces the inventory: properties by managed object ID."""

    def __init__(self) -> None:
        self.entities: dict[str, dict[str, Any]] = {
            "group-d1": {"name": "Datacenters", "parent": None},
            "group-v1": {"name": "vm", "parent": vim.Folder("group-d1")},
        }
        self.private: set[str] = set()
        """Entities that the user may not read."""
        self.refusal: Any = vim.fault.NoPermission()
        """The value that replaces each property of those."""
        self.paths: list[set[str]] = []
        """The properties that each read asked for."""
        self.selected: list[set[str]] = []
        """The managed object IDs that each read named."""

    def add(self, moid: str, **properties: Any) -> str:
        """Adds a VM; `__` is the dot in a path."""
        given = {path.replace("__", "."): value for path, value in properties.items()}
        self.entities[moid] = {"name": f"name of {moid}", **IDLE, **given}
        return moid

    def retrieve(self, mo: Any, specs: Any, _options: Any) -> Any:
        paths = {one.type: set(one.pathSet) for one in specs[0].propSet}
        self.paths.append(set().union(*paths.values()))
        (first, *_) = specs[0].objectSet
        selected = {moid_of(one.obj): one.obj for one in specs[0].objectSet}
        self.selected.append(set(selected))
        if isinstance(first.obj, vim.view.ContainerView):
            # All below the root folder.
            kinds = {
                "group": vim.Folder,
                "host": vim.HostSystem,
                "resgroup": vim.VirtualApp,
                "vm": vim.VirtualMachine,
            }
            below = [moid for moid, values in self.entities.items() if values.get("parent") or "parentVApp" in values]
            entities = [kinds[moid.partition("-")[0]](moid, mo._stub) for moid in below]
            selected = {moid_of(entity): entity for entity in entities if isinstance(entity, tuple(paths))}
        elif first.selectSet:
            self._select_holders(selected, first.selectSet)
        known = [entity for moid, entity in selected.items() if moid in self.entities]
        asked = [set().union(*(names for kind, names in paths.items() if isinstance(one, kind))) for one in known]
        return SimpleNamespace(objects=list(map(self._content, known, asked)), token=None)

    def _select_holders(self, selected: dict[str, Any], steps: Any) -> None:
        """Adds all that holds what is selected, as far up as may be read."""
        pending = [moid for moid in selected if moid in self.entities]
        while pending:
            moid = pending.pop()
            if moid in self.private:
                continue
            held = [self.entities[moid].get(step.path) for step in steps if isinstance(selected[moid], step.type)]
            for holder in filter(None, held):
                name = moid_of(holder)
                if name in self.entities and name not in selected:
                    selected[name] = type(holder)(name, selected[moid]._stub)
                    pending.append(name)

    def _content(self, mo: Any, paths: set[str]) -> Any:
        if moid_of(mo) in self.private:
            missing = [SimpleNamespace(path=path, fault=self.refusal) for path in paths]
            return SimpleNamespace(obj=mo, propSet=[], missingSet=missing)
        values = self.entities[moid_of(mo)]
        found = [SimpleNamespace(name=path, val=values[path]) for path in paths if values.get(path) is not None]
        return SimpleNamespace(obj=mo, propSet=found, missingSet=[])

    def by_path(self, mo: Any, path: str) -> Any:
        name = path.rpartition("/")[2]
        moid = next((moid for moid, values in self.entities.items() if values["name"] == name), None)
        return moid and vim.VirtualMachine(moid, mo._stub)

    def by_uuid(self, mo: Any, _datacenter: Any, uuid: str, _is_vm: bool, is_instance: bool) -> list[Any]:
        key = "config.instanceUuid" if is_instance else "config.uuid"
        return [vim.VirtualMachine(m, mo._stub) for m, values in self.entities.items() if values.get(key) == uuid]


class FakeVcenter:
    """Replaces a vCenter with one user."""

    def __init__(self) -> None:
        self.events, self.state = FakeEvents(), FakeState()
        self.now = NOON
        self.about = vim.AboutInfo(
            instanceUuid=SERVER_UUID, apiType="VirtualCenter", apiVersion="8.0.3.0", name="",
            fullName="fake vCenter", vendor="", version="8.0.3", build="", osType="", productLineId="",
        )  # fmt: skip
        self.password = PASSWORD
        self.sessions: set[str] = set()
        self.stubs: list[FakeStub] = []
        self.calls: Counter[str] = Counter()
        self.failures: dict[str, list[BaseException]] = {}
        """By the method's name, what its next calls raise instead of being carried out."""
        self.lost_answers: dict[str, list[BaseException]] = {}
        """By the method's name, what its next calls raise after they were carried out."""
        self._logins = 0
        self.methods: dict[str, Callable[..., Any]] = {
            "CreateCollectorForEvents": self.events.create,
            "QueryEvents": self.events.query,
            "ReadNextEvents": self.events.read,
            "RewindCollector": self.events.rewind,
            "SetCollectorPageSize": self.events.set_page,
            "DestroyCollector": self.events.destroy,
            "CreatePropertyCollector": self.events.create_poller,
            "CreateFilter": self.events.watch,
            "WaitForUpdatesEx": self.events.wait,
            "CancelWaitForUpdates": self.events.cancel,
            "DestroyPropertyCollector": lambda mo: self.events.pollers.pop(moid_of(mo), None) and None,
            "RetrievePropertiesEx": self.state.retrieve,
            "CreateContainerView": lambda mo, *_: vim.view.ContainerView("view", mo._stub),
            "DestroyView": lambda _: None,
            "FindByInventoryPath": self.state.by_path,
            "FindAllByUuid": self.state.by_uuid,
            "HasPrivilegeOnEntities": self._privileges,
        }
        self.lacking: dict[str, set[str]] = {}
        """The privileges that the user lacks, by entity."""

    def connect(
        self,
        *,
        httpConnectionTimeout: float,  # noqa: N803 -- pyVmomi's name
        session_cookie: SessionCookie | None = None,
        **_: Any,
    ) -> FakeStub:
        """Replaces `faults.Stub` and `faults.SessionStub`."""
        self.stubs.append(FakeStub(self, httpConnectionTimeout, session_cookie))
        return self.stubs[-1]

    def end_sessions(self) -> None:
        """Ends what a restart ends: the sessions and their collectors."""
        self.sessions.clear()
        self.events.forget_all()

    def call(self, stub: FakeStub, mo: Any, method: str, args: Any) -> Any:
        self.calls[method] += 1
        if self.failures.get(method):
            raise self.failures[method].pop(0)
        if method == "RetrieveServiceContent":
            return self._content(stub)
        if method == "CurrentTime":
            return self.now
        if method == "Login":
            return self._log_in(stub, *args[:2])
        if stub.cookie not in self.sessions:
            raise vim.fault.NotAuthenticated
        if method == "Logout":
            return self.sessions.discard(stub.cookie)
        answer = self.methods[method](mo, *args)
        if self.lost_answers.get(method):
            raise self.lost_answers[method].pop(0)
        return answer

    def _content(self, stub: FakeStub) -> Any:
        return SimpleNamespace(
            about=self.about,
            rootFolder=vim.Folder("group-d1", stub),
            sessionManager=vim.SessionManager("sessions", stub),
            eventManager=vim.event.EventManager("events", stub),
            propertyCollector=vmodl.query.PropertyCollector("properties", stub),
            viewManager=vim.view.ViewManager("views", stub),
            searchIndex=vim.SearchIndex("search", stub),
            authorizationManager=vim.AuthorizationManager("authorization", stub),
            guestOperationsManager=SimpleNamespace(
                fileManager=vim.vm.guest.FileManager("files", stub),
                processManager=vim.vm.guest.ProcessManager("processes", stub),
                authManager=vim.vm.guest.AuthManager("logins", stub),
            ),
        )

    def _privileges(self, _: Any, entities: Any, session_id: str, names: Any) -> list[Any]:
        assert session_id in self.sessions
        lacking = {moid_of(entity): self.lacking.get(moid_of(entity), set()) for entity in entities}
        if any("System.View" in names for names in lacking.values()):
            raise vim.fault.NoPermission
        return [
            SimpleNamespace(
                entity=entity,
                privAvailability=[
                    SimpleNamespace(privId=name, isGranted=name not in lacking[moid_of(entity)]) for name in names
                ],
            )
            for entity in entities
        ]

    def _log_in(self, stub: FakeStub, _user: str, password: str) -> None:
        if password != self.password:
            raise vim.fault.InvalidLogin
        self._logins += 1
        stub.cookie = f"session-{self._logins}"
        self.sessions.add(stub.cookie)


def until(condition: Callable[[], object]) -> None:
    """Waits until something holds that another thread brings about."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def connected(monkeypatch: pytest.MonkeyPatch) -> FakeVcenter:
    """Returns a vCenter to which all sessions of the test connect."""
    vcenter = FakeVcenter()
    monkeypatch.setattr(session, "Stub", vcenter.connect)
    monkeypatch.setattr(session, "SessionStub", vcenter.connect)
    monkeypatch.setattr(login, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(refused_logins, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(refused_logins, "_accepted", set())
    monkeypatch.setattr(refused_logins, "_refusals", {})
    monkeypatch.setattr(refused_logins, "_unanswered", {})
    return vcenter
