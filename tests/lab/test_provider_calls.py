"""The calls that pulumi-vsphere 4.18.2 was seen to make on the lab's vCenter, replayed: the plugin itself is not here.

They were recorded with the provider's own client log while it cloned, customized, changed and deleted three VMs at
once. What is replayed are the methods, the property filters, the classes in the references, and how many go on at once.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
from pyVmomi import vim, vmodl

from tests.lab.vcenter_fixture import VCenter, finish, linux, running, session, until

if TYPE_CHECKING:
    from collections.abc import Iterator

PARALLEL = 8
"""As many resources as the engine works on at once on a computer of two cores."""
MANY = 24
KEPT = ("name", "guestId", "swapPlacement", "firmware", "nestedHVEnabled", "vPMCEnabled", "memoryHotAddEnabled")

Collector = vmodl.query.PropertyCollector


@pytest.fixture
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """A lab of its own for each test: a test that fails may leave calls behind that wait."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2") as vcenter:
        yield vcenter


def read(vcenter: VCenter, *specs: Any) -> list[Any]:
    """Reads properties as the provider does, in one call with one specification."""
    found = vcenter.content.propertyCollector.RetrievePropertiesEx(list(specs), Collector.RetrieveOptions())
    return list(found.objects)


def everything(managed: Any) -> Any:
    """Asks for all properties of one object, under the class in its reference."""
    properties = Collector.PropertySpec(type=type(managed), all=True)
    return Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=managed, skip=False)])


def ancestors(managed: Any) -> Any:
    """Asks for what is above an object in the inventory, from which the provider makes its path."""
    again = Collector.SelectionSpec(name="traverseParent")
    up = Collector.TraversalSpec(
        name="traverseParent", type=vim.ManagedEntity, path="parent", skip=False, selectSet=[again]
    )
    app = Collector.TraversalSpec(type=vim.VirtualMachine, path="parentVApp", skip=False, selectSet=[again])
    return Collector.FilterSpec(
        propSet=[
            Collector.PropertySpec(type=vim.ManagedEntity, pathSet=["name", "parent"]),
            Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["parentVApp"]),
        ],
        objectSet=[Collector.ObjectSpec(obj=managed, skip=False, selectSet=[up, app])],
    )


def reference(kind: Any, managed: Any) -> Any:
    """Returns a reference to an object under another class."""
    return kind(managed._GetMoId(), managed._stub)


def awaited(collector: Any, task: Any) -> Any:
    """Waits for a task as the provider does, on the session's own collector with a filter of its own."""
    properties = Collector.PropertySpec(type=vim.Task, pathSet=["info"])
    objects = [Collector.ObjectSpec(obj=task)]
    one = collector.CreateFilter(Collector.FilterSpec(propSet=[properties], objectSet=objects), partialUpdates=False)
    try:
        version = ""
        while True:
            updates = collector.WaitForUpdatesEx(version)
            if updates is None:
                continue
            version = updates.version
            changes = [
                change
                for updated in updates.filterSet
                for changed in updated.objectSet
                for change in changed.changeSet
                if changed.obj._GetMoId() == task._GetMoId()
            ]
            for change in changes:
                if change.name == "info" and change.val.state in ("success", "error"):
                    if change.val.state == "error":
                        raise change.val.error
                    return change.val.result
    finally:
        one.Destroy()


def settings(name: str) -> Any:
    """Returns what the provider sets on a VM after its clone and before its power-on."""
    normal = vim.SharesInfo(shares=0, level="normal")
    share = vim.ResourceAllocationInfo(reservation=0, limit=-1, shares=normal)
    return vim.vm.ConfigSpec(
        name=name,
        guestId="ubuntu64Guest",
        numCPUs=2,
        numCoresPerSocket=1,
        memoryMB=2048,
        memoryHotAddEnabled=False,
        cpuHotAddEnabled=False,
        cpuHotRemoveEnabled=False,
        cpuAllocation=share,
        memoryAllocation=share,
        latencySensitivity=vim.LatencySensitivity(level="normal"),
        swapPlacement="hostLocal",
        firmware="bios",
        memoryReservationLockedToMax=False,
        nestedHVEnabled=False,
        vPMCEnabled=False,
    )


def test_the_server_says_what_the_provider_chooses_its_clients_by(vcenter: VCenter) -> None:
    """The provider has a client for tags only where the product has this name, and fails without one."""
    about = vcenter.content.about
    assert (about.name, about.apiType, about.version) == ("VMware vCenter Server", "VirtualCenter", "8.0.3")


def test_tags_are_read_from_the_rest_endpoint(vcenter: VCenter) -> None:
    """The provider logs in to the REST endpoint with the same password and reads the tags of every VM."""
    lab, front = vcenter.lab, f"https://{vcenter.lab.server}/rest/com/vmware/cis"
    answer = requests.post(f"{front}/session", auth=(lab.user, lab.password), verify=lab.ca_file, timeout=15)
    tags = requests.post(
        f"{front}/tagging/tag-association?~action=list-attached-tags",
        json={"object_id": {"id": vcenter.template._GetMoId(), "type": "VirtualMachine"}},
        headers={"vmware-api-session-id": answer.json()["value"]},
        verify=lab.ca_file,
        timeout=15,
    )
    assert (tags.status_code, tags.json()["value"] or []) == (200, [])


def test_a_cluster_is_found_under_its_base_class(vcenter: VCenter) -> None:
    """The provider refers to every cluster as a ComputeResource, and an ID finds its object whatever the class."""
    cluster = vcenter.template.resourcePool.owner
    asked = reference(vim.ComputeResource, cluster)
    (found,) = read(vcenter, everything(asked))
    assert found.obj._GetMoId() == cluster._GetMoId()
    browser = next(change.val for change in found.propSet if change.name == "environmentBrowser")
    assert browser._GetMoId() == cluster.environmentBrowser._GetMoId()
    names = {item.val for entity in read(vcenter, ancestors(asked)) for item in entity.propSet if item.name == "name"}
    assert {"DC0_C0", "host", "DC0", "Datacenters"} <= names
    assert asked.name == cluster.name


def test_a_reference_under_a_class_that_is_not_a_base_finds_nothing(vcenter: VCenter) -> None:
    """The lab stays strict where no client was seen to rely on more."""
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = reference(vim.Datastore, vcenter.template.resourcePool.owner).name


def test_settings_are_read_back_as_they_were_set(vcenter: VCenter) -> None:
    """A setting that is not kept is a difference in every later `up`, which then configures and upgrades the VM."""
    vm = vcenter.clone(on=False)
    assert vm.config.swapPlacement == "inherit"
    given = settings(vm.name)
    awaited(vcenter.content.propertyCollector, vm.ReconfigVM_Task(given))
    kept = vm.config
    different = {name: (getattr(given, name), getattr(kept, name)) for name in KEPT}
    different = {name: values for name, values in different.items() if values[0] != values[1]}
    assert different == {}
    assert (kept.hardware.numCPU, kept.hardware.memoryMB) == (2, 2048)


def test_a_setting_of_a_refused_change_is_not_kept(vcenter: VCenter) -> None:
    """A change that fails leaves the VM as it was."""
    vm = vcenter.clone(on=False)
    with pytest.raises(vmodl.fault.InvalidArgument):
        finish(vm.ReconfigVM_Task(vim.vm.ConfigSpec(swapPlacement="hostLocal", guestId="no such guest")))
    assert vm.config.swapPlacement == "inherit"


def test_settings_are_kept_on_a_clone_and_on_a_new_vm(vcenter: VCenter) -> None:
    """What a specification sets is there after each of the ways to make a VM."""
    template = vcenter.template
    location = vim.vm.RelocateSpec(pool=template.resourcePool)
    config = vim.vm.ConfigSpec(swapPlacement="vmDirectory")
    clone = finish(template.CloneVM_Task(template.parent, "kept", vim.vm.CloneSpec(location=location, config=config)))
    config.name, config.files = "made", vim.vm.FileInfo(vmPathName="[LocalDS_0]")
    made = finish(template.parent.CreateVM_Task(config, template.resourcePool))
    assert [vm.config.swapPlacement for vm in (clone, made)] == ["vmDirectory", "vmDirectory"]


def test_many_vms_are_made_at_once_in_one_session(vcenter: VCenter) -> None:
    """Every task of a VM's making is waited for on the session's own collector, by all of them at once."""
    content = vcenter.content
    template, collector = vcenter.template, content.propertyCollector
    folder, pool, uuid = template.parent, template.resourcePool, template.config.uuid

    def make(number: int) -> str:
        name = f"web-{number}"
        source = content.searchIndex.FindByUuid(uuid=uuid, vmSearch=True, instanceUuid=False)
        read(vcenter, everything(source))
        read(vcenter, ancestors(source))
        location = vim.vm.RelocateSpec(pool=pool, datastore=source.datastore[0])
        vm = awaited(collector, source.CloneVM_Task(folder, name, vim.vm.CloneSpec(location=location, powerOn=False)))
        read(vcenter, everything(vm))
        awaited(collector, vm.ReconfigVM_Task(settings(name)))
        awaited(collector, vm.CustomizeVM_Task(linux(f"192.168.10.{number + 10}", host_name=name)))
        awaited(collector, vm.PowerOnVM_Task())
        found = content.searchIndex.FindByUuid(uuid=vm.config.uuid, vmSearch=True, instanceUuid=False)
        read(vcenter, everything(found))
        awaited(collector, found.PowerOffVM_Task())
        awaited(collector, found.Destroy_Task())
        return name

    with ThreadPoolExecutor(PARALLEL) as pool_of_threads:
        made = list(pool_of_threads.map(make, range(MANY)))
    assert made == [f"web-{number}" for number in range(MANY)]


@pytest.mark.parametrize("own", [pytest.param(True, id="session's own collector"), pytest.param(False, id="created")])
def test_each_of_two_waits_on_one_collector_sees_a_change_that_concerns_both(vcenter: VCenter, own: bool) -> None:
    """A wait returns what has changed since its own version, whatever other waits returned."""
    vm, shared = vcenter.clone(on=False), vcenter.content.propertyCollector
    collector = shared if own else shared.CreatePropertyCollector()
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])
    spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=vm)])
    collector.CreateFilter(spec, partialUpdates=False)
    first = [collector.WaitForUpdatesEx("") for _ in range(2)]
    options = Collector.WaitOptions(maxWaitSeconds=10)
    seen: list[Any] = []

    def wait(version: str) -> None:
        seen.append(collector.WaitForUpdatesEx(version, options))

    threads = [threading.Thread(target=wait, args=(updates.version,)) for updates in first]
    for thread in threads:
        thread.start()
    finish(vm.PowerOnVM_Task())
    for thread in threads:
        thread.join()
    states = [change.val for updates in seen if updates for change in updates.filterSet[0].objectSet[0].changeSet]
    assert states == ["poweredOn", "poweredOn"]


def test_a_wait_with_an_empty_version_is_answered_with_all_there_is(vcenter: VCenter) -> None:
    """A task that ended before the first wait is returned to every caller that starts."""
    vm, collector = vcenter.clone(on=False), vcenter.content.propertyCollector
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])
    spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=vm)])
    mine = collector.CreateFilter(spec, partialUpdates=False)
    for _ in range(2):
        (updated,) = collector.WaitForUpdatesEx("").filterSet
        assert updated.filter._GetMoId() == mine._GetMoId()
        assert [change.val for change in updated.objectSet[0].changeSet] == ["poweredOff"]


def test_an_answer_that_was_lost_on_its_way_is_given_again(vcenter: VCenter) -> None:
    """A client whose connection broke asks with the version that it has, and misses nothing."""
    vm, collector = vcenter.clone(on=False), vcenter.content.propertyCollector
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])
    spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=vm)])
    collector.CreateFilter(spec, partialUpdates=False)
    known = collector.WaitForUpdatesEx("").version
    finish(vm.PowerOnVM_Task())
    answers = [collector.WaitForUpdatesEx(known, Collector.WaitOptions(maxWaitSeconds=10)) for _ in range(2)]
    assert [updates.version for updates in answers] == [answers[0].version] * 2
    assert [updates.filterSet[0].objectSet[0].changeSet[0].val for updates in answers] == ["poweredOn"] * 2


def test_a_filter_joins_a_wait_that_is_under_way(vcenter: VCenter) -> None:
    """A filter that comes later is part of the waits that have started before."""
    vm, collector = vcenter.clone(on=False), vcenter.content.propertyCollector
    known = collector.WaitForUpdatesEx("").version
    seen: list[Any] = []
    options = Collector.WaitOptions(maxWaitSeconds=10)
    waiting = threading.Thread(target=lambda: seen.append(collector.WaitForUpdatesEx(known, options)))
    waiting.start()
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])
    spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=vm)])
    mine = collector.CreateFilter(spec, partialUpdates=False)
    waiting.join()
    assert [updated.filter._GetMoId() for updated in seen[0].filterSet] == [mine._GetMoId()]


def test_two_sessions_wait_apart_on_their_own_collectors(vcenter: VCenter) -> None:
    """The collector of every session has the same ID, and each session is answered by its own."""
    vm = vcenter.clone(on=False)
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])
    with session(vcenter.lab) as other:
        collectors = [service.RetrieveContent().propertyCollector for service in (vcenter.service, other)]
        versions = []
        for collector in collectors:
            mine = vim.VirtualMachine(vm._GetMoId(), collector._stub)
            spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=mine)])
            collector.CreateFilter(spec, partialUpdates=False)
            versions.append(collector.WaitForUpdatesEx("").version)
        finish(vm.PowerOnVM_Task())
        options = Collector.WaitOptions(maxWaitSeconds=10)
        answers = [one.WaitForUpdatesEx(known, options) for one, known in zip(collectors, versions, strict=True)]
        assert [updates.filterSet[0].objectSet[0].changeSet[0].val for updates in answers] == ["poweredOn"] * 2


def test_a_version_that_is_not_the_collector_s_is_refused(vcenter: VCenter) -> None:
    """A version is good for the collector that gave it."""
    shared = vcenter.content.propertyCollector
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        shared.CreatePropertyCollector().WaitForUpdatesEx(shared.WaitForUpdatesEx("").version)


@pytest.mark.parametrize("late", [pytest.param(False, id="during the boot"), pytest.param(True, id="afterwards")])
def test_a_gateway_is_reported_before_the_address_that_reaches_it(vcenter: VCenter, late: bool) -> None:
    """The provider's default wait for the guest's network reads the gateways first, then the addresses."""
    vm = vcenter.clone(on=False, custom=linux("192.168.10.10"))
    if late:
        finish(vm.PowerOnVM_Task())
        until(lambda: vm.guest.ipAddress == "192.168.10.10")
    collector = vcenter.content.propertyCollector.CreatePropertyCollector()
    properties = Collector.PropertySpec(type=vim.VirtualMachine, pathSet=["guest.net", "guest.ipStack"])
    spec = Collector.FilterSpec(propSet=[properties], objectSet=[Collector.ObjectSpec(obj=vm)])
    collector.CreateFilter(spec, partialUpdates=False)
    if not late:
        vm.PowerOnVM_Task()
    version, gateways, reached = "", [], []
    while "192.168.10.10" not in reached:
        updates = collector.WaitForUpdatesEx(version)
        version = updates.version
        for change in updates.filterSet[0].objectSet[0].changeSet:
            if change.name == "guest.ipStack":
                gateways = [route.gateway.ipAddress for one in change.val for route in one.ipRouteConfig.ipRoute]
            elif gateways:
                reached = [address for adapter in change.val for address in adapter.ipAddress]
    assert gateways == ["192.168.10.1"]
