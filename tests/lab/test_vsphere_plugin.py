"""The stand-in for the vSphere plugin against the lab's vCenter, without an engine."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pulumi.provider.experimental import provider as protocol

from lab import vcenter_client
from lab.bootstrap import build_vcenter
from lab.offline.vsphere_plugin.inventory import Inventory
from lab.offline.vsphere_plugin.provider import VIRTUAL_MACHINE, Provider
from lab.offline.vsphere_plugin.values import UNKNOWN_VALUE, plain, wrapped
from lab.paths import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.vcenter_client import Lab

URN = f"urn:pulumi:lab::example::{VIRTUAL_MACHINE}::web"
MISSING = "42000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    program, folder = build_vcenter(Home()), tmp_path_factory.mktemp("vcenter")
    yield vcenter_client.start(program, folder, ("-start-delay", "50ms", "-duration", "50ms"))
    vcenter_client.stop(program, folder)


@pytest.fixture
def inventory(lab: Lab) -> Iterator[Inventory]:
    config = {"vsphereServer": lab.server, "user": lab.user, "password": lab.password}
    inventory = Inventory(config, ca_file=lab.ca_file)
    yield inventory
    inventory.close()


@pytest.fixture
def provider(inventory: Inventory) -> Provider:
    provider = Provider()
    provider._inventory = inventory
    return provider


def _inputs(**changes: Any) -> dict[str, Any]:
    customize = {"timeout": 0, "linuxOptions": {"hostName": "web", "domain": "example.com"}, "networkInterfaces": [{}]}
    inputs = {
        "name": "web",
        "resourcePoolId": "resgroup-1",
        "datastoreId": "datastore-1",
        "disks": [{"label": "disk0", "size": 10}],
        "clone": {"templateUuid": MISSING, "customize": customize},
        "waitForGuestNetTimeout": 0,
    }
    return {key: value for key, value in {**inputs, **changes}.items() if value is not None}


def _real_inputs(inventory: Inventory, name: str, **changes: Any) -> dict[str, Any]:
    inputs = _inputs(name=name, resourcePoolId=inventory.look_up("getComputeCluster", {"name": ""})["resourcePoolId"])
    inputs["datastoreId"] = inventory.look_up("getDatastore", {"name": ""})["id"]
    inputs["clone"]["templateUuid"] = inventory.look_up("getVirtualMachine", {"name": "linux-template"})["uuid"]
    return {**inputs, **changes}


def _properties(values: dict[str, Any]) -> dict[str, Any]:
    return {key: wrapped(value) for key, value in values.items()}


def _check(inputs: dict[str, Any], urn: str = URN) -> protocol.CheckResponse:
    return asyncio.run(Provider().check(protocol.CheckRequest(urn, {}, _properties(inputs), b"seed")))


def _diff(old: dict[str, Any], new: dict[str, Any], ignored: list[str] | None = None) -> protocol.DiffResponse:
    request = protocol.DiffRequest(URN, MISSING, _properties(old), _properties(new), ignored or [])
    return asyncio.run(Provider().diff(request))


def test_config_keys_of_the_real_plugin_pass_and_others_are_refused() -> None:
    """A key that the real plugin does not know is refused by name."""
    keys = _properties({"vsphereServer": "a", "allowUnverifiedSsl": "true", "caFile": "b"})
    response = asyncio.run(Provider().check_config(protocol.CheckRequest("urn", {}, keys, b"")))
    assert [failure.property for failure in response.failures or []] == ["caFile"]


@pytest.mark.parametrize(
    ("changes", "properties"),
    [
        pytest.param({}, [], id="complete"),
        pytest.param({"resourcePoolId": None}, ["resourcePoolId"], id="no pool"),
        pytest.param({"datastoreId": None}, ["datastoreId"], id="no datastore"),
        pytest.param({"datastoreId": None, "datastoreClusterId": "group-p1"}, [], id="a cluster of datastores"),
        pytest.param({"disks": None}, ["disks"], id="no disks"),
        pytest.param({"waitForGuestNetTimeout": 5}, ["waitForGuestNetTimeout"], id="waits for an address"),
        pytest.param({"waitForGuestNetTimeout": None}, ["waitForGuestNetTimeout"], id="waits by default"),
        pytest.param(
            {"clone": {"templateUuid": MISSING, "customize": {"linuxOptions": {"hostName": "a", "domain": "b"}}}},
            ["clone.customize.timeout"],
            id="waits for the customization by default",
        ),
        pytest.param(
            {"clone": {"templateUuid": MISSING, "customize": {"timeout": 0, "windowsSysprepText": "<unattend/>"}}},
            ["clone.customize.linuxOptions"],
            id="customizes with a text for sysprep",
        ),
    ],
)
def test_what_the_stand_in_cannot_do_is_refused(changes: dict[str, Any], properties: list[str]) -> None:
    """Arguments that the stand-in does not support are rejected by name, before anything is created."""
    assert [failure.property for failure in _check(_inputs(**changes)).failures or []] == properties


def test_another_kind_of_resource_is_refused() -> None:
    """Only virtual machines can be made."""
    (failure,) = _check(_inputs(), URN.replace("irtualMachine", "irtualDisk")).failures or []
    assert "is not in the lab's stand-in" in failure.reason


def test_a_vm_without_a_name_gets_one_and_keeps_it() -> None:
    """The resource's name and a suffix make the VM's name; the next check keeps it."""
    first = _check(_inputs(name=None)).inputs or {}
    assert str(plain(first["name"])).startswith("web-")
    request = protocol.CheckRequest(URN, first, _properties(_inputs(name=None)), b"other")
    second = asyncio.run(Provider().check(request)).inputs or {}
    assert plain(second["name"]) == plain(first["name"])


@pytest.mark.parametrize(
    ("changes", "replaces", "deleted_first"),
    [
        pytest.param({}, None, False, id="nothing"),
        pytest.param({"memory": 2048}, [], False, id="memory, in place"),
        pytest.param({"datastoreId": "datastore-2"}, ["datastoreId"], True, id="datastore, same name"),
        pytest.param({"name": "db"}, ["name"], False, id="name"),
    ],
)
def test_a_diff_compares_inputs_alone(changes: dict[str, Any], replaces: list[str] | None, deleted_first: bool) -> None:
    """Outputs are not a change; a VM that keeps its name is deleted before its replacement is created."""
    response = _diff({**_inputs(), "moid": "vm-1", "powerState": "on"}, _inputs(**changes))
    assert response.changes is (replaces is not None)
    assert response.replaces == (replaces or [])
    assert response.delete_before_replace is deleted_first


def test_ignored_changes_are_not_changes() -> None:
    """The resource option `ignore_changes` is respected."""
    assert _diff(_inputs(), _inputs(memory=1), ["memory"]).changes is False


def test_a_preview_makes_nothing(provider: Provider) -> None:
    """In a preview the outputs are unknown."""
    request = protocol.CreateRequest(URN, _properties(_inputs()), 0, preview=True)
    assert asyncio.run(provider.create(request)).properties["moid"] == UNKNOWN_VALUE


def test_a_vm_is_made_read_and_deleted_twice(provider: Provider, inventory: Inventory) -> None:
    """A VM is cloned, customized and powered on; one that does not exist is deleted without error and read as gone."""
    properties = _properties(_real_inputs(inventory, "made-and-deleted", extraConfig={"lab.startDelay": "60s"}))

    async def calls() -> tuple[dict[str, Any], dict[str, Any], str | None]:
        made = await provider.create(protocol.CreateRequest(URN, properties, 0, preview=False))
        identity = made.resource_id or ""
        read = await provider.read(protocol.ReadRequest(URN, identity, made.properties, properties))
        for _ in range(2):
            await provider.delete(protocol.DeleteRequest(URN, identity, made.properties, 0))
        gone = await provider.read(protocol.ReadRequest(URN, identity, made.properties, properties))
        return made.properties, read.properties, gone.resource_id

    made, read, gone = asyncio.run(calls())
    assert plain(made["powerState"]) == "on"
    assert plain(made) == plain(read)
    assert gone is None


def test_a_timeout_waits_for_the_customization_as_the_real_plugin_does(inventory: Inventory) -> None:
    """With a `timeout` that is not 0 the clone is returned at the end of its customization, or fails with it."""
    inputs = _real_inputs(inventory, "waited-for", extraConfig={"lab.startDelay": "0s", "lab.duration": "1s"})
    inputs["clone"]["customize"]["timeout"] = 10
    began = time.monotonic()
    inventory.clone(inputs)
    took = time.monotonic() - began
    failing = {**inputs, "name": "failed", "extraConfig": {"lab.outcome": "CustomizationFailed"}}
    with pytest.raises(RuntimeError, match="customization failed"):
        inventory.clone(failing)
    assert 1 <= took < 5


def test_a_name_that_is_taken_is_refused_in_the_servers_words(inventory: Inventory) -> None:
    """The fault of the task is what the user reads."""
    with pytest.raises(RuntimeError, match="answered DuplicateName"):
        inventory.clone(_real_inputs(inventory, "linux-template"))


def test_twenty_vms_are_made_at_once(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty clones are under way at the same time, however few processors there are."""
    together = threading.Barrier(20, timeout=20)

    def clone(wanted: dict[str, Any]) -> dict[str, Any]:
        together.wait()
        return {"uuid": wanted["name"]}

    monkeypatch.setattr(provider._inventory, "clone", clone)

    async def all_of_them() -> list[protocol.CreateResponse]:
        inputs = [_properties(_inputs(name=f"web-{number}")) for number in range(20)]
        return await asyncio.gather(
            *(provider.create(protocol.CreateRequest(URN, each, 0, preview=False)) for each in inputs)
        )

    assert [made.resource_id for made in asyncio.run(all_of_them())] == [f"web-{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("function", "name", "key"),
    [
        ("getDatacenter", "DC0", "id"),
        ("getComputeCluster", "DC0_C0", "resourcePoolId"),
        ("getResourcePool", "Resources", "id"),
        ("getDatastore", "LocalDS_0", "id"),
        ("getNetwork", "VM Network", "type"),
        ("getVirtualMachine", "linux-template", "moid"),
    ],
)
def test_the_example_s_look_ups_are_answered(inventory: Inventory, function: str, name: str, key: str) -> None:
    """Every data source that the example uses finds its object."""
    assert inventory.look_up(function, {"name": name})[key]


@pytest.mark.parametrize(
    ("function", "message"), [("getNetwork", "no Network is named 'nowhere'"), ("getHost", "getHost")]
)
def test_a_look_up_without_an_answer_fails_by_name(provider: Provider, function: str, message: str) -> None:
    """A look-up that finds nothing, or that the stand-in does not support, is an error that says so."""
    request = protocol.InvokeRequest(f"vsphere:index/{function}:{function}", _properties({"name": "nowhere"}))
    (failure,) = asyncio.run(provider.invoke(request)).failures
    assert message in failure.reason


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pyVmomi leaves the connection of a failed login open
def test_a_wrong_password_is_refused_once(lab: Lab) -> None:
    """One attempt is made with a wrong password, and the error does not repeat it."""
    lab.reset_stats()
    inventory = Inventory({"vsphereServer": lab.server, "user": lab.user, "password": "guess"}, ca_file=lab.ca_file)
    with pytest.raises(PermissionError) as raised:
        inventory.read(MISSING)
    assert "guess" not in str(raised.value)
    assert lab.stats()["logins"]["failed"] == 1
    del raised
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the same
def test_an_untrusted_certificate_is_refused(lab: Lab) -> None:
    """Without the lab's certificate authority there is no login."""
    lab.reset_stats()
    inventory = Inventory({"vsphereServer": lab.server, "user": lab.user, "password": lab.password})
    with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        inventory.read(MISSING)
    assert lab.stats()["logins"] == {"ok": 0, "failed": 0}
    gc.collect()
