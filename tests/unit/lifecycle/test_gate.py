"""What changes a gate, which VMs an update judges, and what is stored: the lifecycle with a source in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate import platforms
from pulumi_customization_gate.core.errors import ConfigurationError, GateError, ServerError
from pulumi_customization_gate.core.identity import Identity
from pulumi_customization_gate.core.model import HistoryRead, Observation, PreviouslyCustomized, Snapshot, Target, VmRef
from pulumi_customization_gate.core.wait import wait
from pulumi_customization_gate.lifecycle import arguments, gate, gate_wait
from pulumi_customization_gate.lifecycle.engine import UNKNOWN, PartialFailureError
from tests.unit.core.timeline import failed, gone, read, starting, succeeded, unreadable
from tests.unit.lifecycle.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pulumi_customization_gate.lifecycle.engine import Difference

SUCCEEDED, FAILED = "CustomizationSucceeded", "CustomizationFailed"
CONFIG = {"vsphere:vsphereServer": "vc.example.com", "vsphere:user": "ann", "vsphere:password": "s3cret"}


@dataclass
class FakeServer:
    """A server of a handful of VMs, and the waits that were made on it."""

    stories: dict[str, str] = field(default_factory=dict)
    """What happens to each VM: "good", "bad", "slow", "pending", "plain" (nothing was asked), or "gone"."""
    names: dict[str, str] = field(default_factory=dict)
    waits: list[tuple[list[str], list[str], list[str]]] = field(default_factory=list)
    """The requested references, the already ready ones and the previously customized ones of each wait."""
    breaks: ServerError | None = None
    refuses: GateError | None = None
    """Why a wait cannot start."""
    uuid: str = "server-a"
    uuids: dict[str, str] = field(default_factory=dict)
    """The instance UUIDs of VMs, where they have one."""
    behind: dict[str, str] = field(default_factory=dict)
    """The VM at each path."""
    questions: list[list[str]] = field(default_factory=list)
    """The VMs that were judged, each time that a diff asked what its references name."""
    uuids_given: list[str] = field(default_factory=list)
    """What the last wait knew of the UUIDs of its VMs."""
    now: float = field(default_factory=time.monotonic)
    """The monotonic clock of the waits, which advances while they poll."""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes each gate wait for this server's VMs, on either platform and by its clock."""
        platforms_here = {
            name: replace(platform, source=self.source, named_now=self.named_now)
            for name, platform in platforms.PLATFORMS.items()
        }
        monkeypatch.setattr(arguments, "PLATFORMS", platforms_here)
        monkeypatch.setattr(gate_wait, "wait", partial(wait, clock=lambda: self.now))

    def source(
        self,
        _settings: object,
        targets: Sequence[Target[Any]],
        *,
        already_ready: Collection[str],
        previously_customized: Collection[str],
        judged_as: Mapping[str, Identity],
    ) -> FakeSource:
        references = [self.vm_of(target.reference) for target in targets]
        self.waits.append((sorted(references), sorted(already_ready), sorted(previously_customized)))
        others = {vm for vm, judged in judged_as.items() if judged.differs(Identity(self.uuid, self.uuids.get(vm, "")))}
        self.uuids_given = [target.uuid for target in targets]
        return FakeSource(self, targets, set(already_ready) - others, set(previously_customized) - others)

    def vm_of(self, reference: Any) -> str:
        """Returns the VM that a reference names now."""
        return str(reference.vm_id or self.behind.get(reference.text) or reference.given)

    def named_now(
        self, _settings: object, references: Sequence[Any], judged: Collection[str]
    ) -> Sequence[Mapping[str, str]]:
        self.questions.append(sorted(judged))
        if self.breaks is not None:
            raise self.breaks
        named = map(self.vm_of, references)
        return [{vm: self.uuids.get(vm, "")} for vm in named]


class FakeSource:
    def __init__(
        self,
        server: FakeServer,
        targets: Sequence[Target[Any]],
        kept: Collection[str],
        previously_customized: Collection[str],
    ) -> None:
        self._server, self._kept, self._previously_customized = server, kept, previously_customized
        self._vms = [(target.key, server.vm_of(target.reference)) for target in targets]
        self.server_id = server.uuid
        self.instance_uuids = {vm: server.uuids.get(vm, "") for vm in kept}
        self.already_ready: list[tuple[str | None, str]] = []
        self._has_reported = False

    def start(self) -> Sequence[VmRef]:
        if self._server.refuses is not None:
            raise self._server.refuses
        self.already_ready = [(key, vm) for key, vm in self._vms if vm in self._kept]
        return [VmRef(key or self._name(vm), vm, self._name(vm)) for key, vm in self._vms if vm not in self._kept]

    def _name(self, vm: str) -> str:
        return self._server.names.get(vm, f"name-of-{vm}")

    def poll(self, timeout: float) -> Sequence[Observation]:
        if self._has_reported:
            self._server.now += timeout
            if self._server.breaks is not None:
                raise self._server.breaks
            return []
        self._has_reported = True
        return [message for _, vm in self._vms if vm not in self._kept for message in self._story(vm)]

    def _story(self, vm: str) -> list[Observation]:
        story: dict[str, list[Observation]] = {
            "good": [starting(0, vm), succeeded(5, vm), read(6, "SUCCEEDED", vm=vm, name=self._name(vm))],
            "bad": [starting(0, vm), failed(5, vm, message="why"), read(6, "FAILED", vm=vm, name=self._name(vm))],
            "bad again": [starting(7, vm), failed(8, vm, message="why"), read(9, "FAILED", vm=vm, name=self._name(vm))],
            "bad and off": [starting(0, vm), failed(5, vm), read(6, "FAILED", vm=vm, on=False, name=self._name(vm))],
            "bad by state": [read(6, "FAILED", vm=vm, name=self._name(vm))],
            "slow": [starting(0, vm), read(6, "RUNNING", vm=vm, name=self._name(vm))],
            "pending": [starting(0, vm), read(6, "PENDING", vm=vm, name=self._name(vm)), HistoryRead(vm)],
            "plain": [starting(0, vm), read(6, "IDLE", vm=vm, name=self._name(vm)), HistoryRead(vm)],
            "gone": [gone(4, vm), gone(6, vm)],
            "forbidden": [unreadable(4, vm), unreadable(6, vm)],
        }
        known = [PreviouslyCustomized(vm)] if vm in self._previously_customized else []
        reported = story[self._server.stories.get(vm, "good")] + known
        uuid = self._server.uuids.get(vm, "")
        return [replace(text, instance_uuid=uuid) if isinstance(text, Snapshot) else text for text in reported]

    def refresh(self, timeout: float) -> bool:
        del timeout
        return True

    def diagnose(self, vm: VmRef, timeout: float) -> Sequence[str]:
        del vm, timeout
        return []

    def notes(self) -> Sequence[str]:
        return []

    def close(self) -> None:
        pass


@dataclass
class Gate:
    """The lifecycle with one config and one engine."""

    config: Mapping[str, str] = field(default_factory=lambda: CONFIG)
    engine: FakeEngine = field(default_factory=FakeEngine)

    def check(self, news: dict[str, Any]) -> list[str]:
        return gate.check(self.config.get, news)

    def diff(self, olds: dict[str, Any], news: dict[str, Any]) -> Difference:
        return gate.diff(self.engine, self.config.get, olds, news)

    def create(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return dict(gate.create(self.engine, self.config.get, inputs).outputs)

    def update(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        return gate.update(self.engine, self.config.get, "id", olds, news)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    made = FakeServer()
    made.install(monkeypatch)
    return made


@pytest.fixture
def the_gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return Gate()


def stored(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns outputs as the engine hands them over later: without what is None."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items() if item is not None}
        return value

    return dict(stripped(dict(outputs)))


def created(the_gate: Gate, **inputs: Any) -> dict[str, Any]:
    """Returns the outputs of a new gate, also of one that stays closed."""
    try:
        return the_gate.create(inputs)
    except PartialFailureError as error:
        return dict(error.outputs)


def updated(the_gate: Gate, olds: Mapping[str, Any], **inputs: Any) -> dict[str, Any]:
    try:
        return the_gate.update(stored(olds), inputs)
    except PartialFailureError as error:
        return dict(error.outputs)


# ---- diff


@pytest.mark.parametrize(
    ("olds", "news"),
    [
        pytest.param({"vms": ["vm-1", "vm-2"]}, {"vms": ["vm-2", "vm-1"]}, id="order of a list"),
        pytest.param({"vms": {"a": "vm-1", "b": "vm-2"}}, {"vms": {"b": "vm-2", "a": "vm-1"}}, id="order of a map"),
        pytest.param({}, {"settle": 30, "expect": "required", "on_failure": "fail"}, id="defaults written out"),
        pytest.param({"timeout": 60}, {"timeout": 60.0}, id="a number's type"),
        pytest.param({}, {"platform": "vsphere", "config_namespace": "vsphere"}, id="the default server written out"),
        pytest.param({"settle": None, "triggers": None}, {}, id="nothing in another way"),
        pytest.param({"timeout": "1h30m", "start_timeout": 90}, {"timeout": 5400, "start_timeout": "90s"}, id="units"),
    ],
)
def test_is_not_a_change(the_gate: Gate, olds: dict[str, Any], news: dict[str, Any]) -> None:
    """The order of the VMs, and a default that is written out, change nothing."""
    base = {"vms": ["vm-1", "vm-2"]}
    result = the_gate.diff({**base, **olds, "ready": True}, {**base, **news})
    assert (result.changes, list(result.replaces)) == (False, [])


@pytest.mark.parametrize(
    "news",
    [
        pytest.param({"vms": ["vm-1", "vm-3"]}, id="another VM"),
        pytest.param({"vms": ["vm-1", UNKNOWN]}, id="a VM that is being replaced"),
        pytest.param({"vms": {"a": "vm-1", "b": "vm-2"}}, id="keys"),
        pytest.param({"timeout": 60}, id="timeout"),
        pytest.param({"start_timeout": 60}, id="start_timeout"),
        pytest.param({"settle": 60}, id="settle"),
        pytest.param({"expect": "optional"}, id="expect"),
        pytest.param({"on_failure": "report"}, id="on_failure"),
        pytest.param({"triggers": {"image": 2}}, id="triggers"),
    ],
)
def test_is_an_update(the_gate: Gate, news: dict[str, Any]) -> None:
    """Every other change of an argument is an update of the same gate."""
    base = {"vms": ["vm-1", "vm-2"]}
    result = the_gate.diff({**base, "ready": True}, {**base, **news})
    assert (result.changes, list(result.replaces)) == (True, [])


@pytest.mark.parametrize(
    ("news", "replaces"),
    [
        pytest.param({"config_namespace": "east"}, ["config_namespace"], id="another server"),
        pytest.param({"platform": "cloud_director"}, ["platform", "config_namespace"], id="another platform"),
    ],
)
def test_is_a_replacement(the_gate: Gate, news: dict[str, Any], replaces: list[str]) -> None:
    """Only another platform or another namespace of settings is another gate."""
    result = the_gate.diff({"vms": ["vm-1"], "ready": True}, {"vms": ["vm-1"], **news})
    assert (result.changes, list(result.replaces)) == (True, replaces)


@pytest.mark.parametrize(
    ("outputs", "changes"),
    [
        pytest.param({"ready": True, "opened_at": ""}, False, id="open"),
        pytest.param({"ready": False, "opened_at": ""}, True, id="closed"),
        pytest.param({}, True, id="nothing known"),
        pytest.param(
            {"ready": False, "on_failure": "report", "opened_at": "2025-03-01T12:00:00Z"}, False, id="reported"
        ),
        pytest.param({"ready": False, "on_failure": "report", "opened_at": ""}, True, id="cut short"),
    ],
)
def test_a_closed_gate_is_judged_again(the_gate: Gate, outputs: dict[str, Any], changes: bool) -> None:
    """A gate that stayed closed is an update of its own accord; one that opened, also to report, is none."""
    inputs = {"vms": ["vm-1"], **({"on_failure": "report"} if "on_failure" in outputs else {})}
    assert the_gate.diff({**inputs, **outputs}, inputs).changes == changes


# ---- create


def test_a_new_gate_judges_all(the_gate: Gate, server: FakeServer) -> None:
    """A new gate asks for every VM, and its outputs say everything by the VMs' names."""
    server.names, server.uuids = {"vm-1": "web", "vm-2": "db"}, {"vm-1": "uuid-1"}
    outputs = created(the_gate, vms=["vm-1", "vm-2"], __provider="pickled")
    assert server.waits == [(["vm-1", "vm-2"], [], [])]
    assert outputs["__provider"] == "pickled"
    assert outputs["vms"] == ["vm-1", "vm-2"]
    assert (outputs["ready"], outputs["opened_at"]) == (True, "2025-03-01T12:00:06.000Z")
    assert outputs["statuses"] == {"web": SUCCEEDED, "db": SUCCEEDED}
    assert outputs["server"] == {"address": "vc.example.com:443", "id": "server-a"}
    assert outputs["results"]["web"] == {
        "name": "web",
        "moid": "vm-1",
        "instance_uuid": "uuid-1",
        "status": SUCCEEDED,
        "evidence": "event",
        "powered_on_at": "2025-03-01T12:00:00.000Z",
        "started_at": None,
        "completed_at": "2025-03-01T12:00:05.000Z",
        "ready_at": "2025-03-01T12:00:05.000Z",
        "customization_seconds": 5.0,
        "failure": None,
        "accepted": None,
        "host_name": "",
        "ip_addresses": [],
    }


@pytest.mark.parametrize(
    ("vms", "keys"),
    [
        pytest.param(["vm-1", "vm-2", "vm-3"], ["db", "vm-1", "vm-2"], id="a list: IDs where a name is taken twice"),
        pytest.param({"a": "vm-1", "b": "vm-2", "c": "vm-3"}, ["a", "b", "c"], id="a map: the user's keys"),
    ],
)
def test_outputs_have_one_key_per_vm(the_gate: Gate, server: FakeServer, vms: Any, keys: list[str]) -> None:
    """Two VMs of one name do not hide each other."""
    server.names = {"vm-1": "web", "vm-2": "web", "vm-3": "db"}
    assert sorted(created(the_gate, vms=vms)["statuses"]) == keys


def test_a_closed_gate_keeps_its_report(the_gate: Gate, server: FakeServer) -> None:
    """The error of a failed wait holds all outputs, so that the next run is an update that knows the good ones."""
    server.stories = {"vm-2": "bad"}
    with pytest.raises(PartialFailureError, match="customization failed on 1 of 2 VMs") as error:
        the_gate.create({"vms": {"a": "vm-1", "b": "vm-2"}, "__provider": "pickled"})
    outputs = error.value.outputs
    assert outputs["__provider"] == "pickled"
    assert (outputs["ready"], outputs["opened_at"]) == (False, "")
    assert outputs["statuses"] == {"a": SUCCEEDED, "b": FAILED}
    assert outputs["results"]["b"]["failure"] == {
        "kind": "CustomizationFailed",
        "event": "CustomizationSysprepFailed",
        "reason": "",
        "message": "why",
        "log_location": "",
        "log": [],
    }


@pytest.mark.parametrize(
    ("story", "line"),
    [
        pytest.param("good", "a (name-of-vm-1, vm-1)  CustomizationSucceeded in 5 s", id="customized"),
        pytest.param("bad", "a (name-of-vm-1, vm-1)  CustomizationFailed in 5 s", id="failed"),
        pytest.param("gone", "a (name-of-vm-1, vm-1)  not found", id="not there"),
        pytest.param("forbidden", "a (name-of-vm-1, vm-1)  no permission", id="may not be read"),
    ],
)
def test_each_end_has_a_line_that_lasts(the_gate: Gate, server: FakeServer, story: str, line: str) -> None:
    """The engine shows for each VM of which nothing more will be known what became of it."""
    server.stories = {"vm-1": story}
    created(the_gate, vms={"a": "vm-1"})
    assert the_gate.engine.lines == [line]


def test_a_reporting_gate_opens_whatever_happened(the_gate: Gate, server: FakeServer) -> None:
    """With on_failure="report" a failure is an output, and a VM that is not there does not end the wait."""
    server.stories = {"vm-1": "bad", "vm-2": "gone"}
    made = the_gate.create({"vms": {"a": "vm-1", "b": "vm-2", "c": "vm-3"}, "on_failure": "report"})
    assert made["statuses"] == {"a": FAILED, "b": "VmRemoved", "c": SUCCEEDED}
    assert (made["ready"], made["opened_at"]) == (False, "2025-03-01T12:00:06.000Z")


def test_a_wait_that_was_cut_short_opens_no_gate(the_gate: Gate, server: FakeServer) -> None:
    """A server that is lost for good closes even a reporting gate, and the next run judges all that it had judged."""
    server.stories, server.breaks = {"vm-2": "slow"}, ServerError("vc.example.com is gone.")
    cut = created(the_gate, vms=["vm-1", "vm-2"], on_failure="report")
    assert (cut["ready"], cut["opened_at"]) == (False, "")
    server.stories, server.breaks = {}, None
    again = updated(the_gate, cut, vms=["vm-1", "vm-2"], on_failure="report")
    assert server.waits[1] == (["vm-1", "vm-2"], [], [])
    assert (again["ready"], again["wait_seconds"]) == (True, 0)


def test_a_vm_of_an_earlier_wait_stays_ready_where_a_wait_is_cut_short(the_gate: Gate, server: FakeServer) -> None:
    """Only what the wait judged is judged again."""
    first = created(the_gate, vms={"a": "vm-1"})
    server.stories, server.breaks = {"vm-3": "slow"}, ServerError("vc.example.com is gone.")
    vms = {"a": "vm-1", "b": "vm-2", "c": "vm-3"}
    with pytest.raises(PartialFailureError) as cut:
        the_gate.update(first, {"vms": vms})
    server.stories, server.breaks = {"vm-2": "bad again"}, None
    with pytest.raises(PartialFailureError) as again:
        the_gate.update(dict(cut.value.outputs), {"vms": vms})

    assert [waited[1] for waited in server.waits[1:]] == [["vm-1"], ["vm-1"]]
    assert again.value.outputs["statuses"] == {"a": SUCCEEDED, "b": FAILED, "c": SUCCEEDED}


def test_what_only_an_earlier_wait_knows_outlasts_a_wait_that_is_cut_short(the_gate: Gate, server: FakeServer) -> None:
    """A VM of which the server has no record any more was found customized once, and that is still known."""
    vms = {"a": "vm-1", "b": "vm-2"}
    first = created(the_gate, vms=vms)
    server.stories, server.breaks = {"vm-1": "plain", "vm-2": "slow"}, ServerError("vc.example.com is gone.")
    with pytest.raises(PartialFailureError) as cut:
        the_gate.update(first, {"vms": vms, "triggers": [1]})
    server.stories, server.breaks = {"vm-1": "plain"}, None
    again = the_gate.update(dict(cut.value.outputs), {"vms": vms, "triggers": [1]})

    assert server.waits[2] == (["vm-1", "vm-2"], [], ["vm-1"])
    assert (again["ready"], again["results"]["a"]["evidence"]) == (True, "stored")


# ---- update


def test_only_what_is_new_is_judged(the_gate: Gate, server: FakeServer) -> None:
    """An added VM is judged, the others keep what is stored of them, whatever happened to them since."""
    first = created(the_gate, vms=["vm-1", "vm-2"])
    server.stories = {"vm-1": "bad", "vm-2": "gone"}
    second = updated(the_gate, first, vms=["vm-1", "vm-2", "vm-3"])
    assert server.waits[1] == (["vm-1", "vm-2", "vm-3"], ["vm-1", "vm-2"], [])
    assert second["results"] == {**first["results"], "name-of-vm-3": second["results"]["name-of-vm-3"]}
    assert second["ready"] is True


def test_a_key_stays_the_user_s_from_one_wait_to_the_next(the_gate: Gate, server: FakeServer) -> None:
    """A key that is the reference itself is the key of the outputs in every wait, never the VM's name."""
    server.stories = {"vm-88": "bad"}
    vms = {"vm-87": "vm-87", "vm-88": "vm-88"}
    with pytest.raises(PartialFailureError) as first:
        the_gate.create({"vms": vms})
    with pytest.raises(PartialFailureError) as second:
        the_gate.update(dict(first.value.outputs), {"vms": vms})

    for outputs in (first.value.outputs, second.value.outputs):
        assert sorted(outputs["statuses"]) == ["vm-87", "vm-88"]


def test_only_what_is_not_ready_is_judged_again(the_gate: Gate, server: FakeServer) -> None:
    """After a failure the next run judges only the failed VM, and says that the others keep their verdict."""
    server.stories = {"vm-2": "bad"}
    first = created(the_gate, vms={"a": "vm-1", "b": "vm-2"})
    with pytest.raises(PartialFailureError) as error:
        the_gate.update(stored(first), {"vms": {"a": "vm-1", "b": "vm-2"}})
    assert server.waits[1] == (["vm-1", "vm-2"], ["vm-1"], [])
    headline = str(error.value).splitlines()[0]
    assert headline == "customization failed on 1 of 2 VMs after 0 s; 1 was already ready"
    assert (error.value.resource_id, error.value.outputs["results"]["a"]) == ("id", first["results"]["a"])


def test_a_removed_vm_is_dropped_without_a_wait(the_gate: Gate, server: FakeServer) -> None:
    """When all remaining VMs are ready no call is made; without its failed VM a gate opens."""
    server.stories = {"vm-2": "bad"}
    first = created(the_gate, vms=["vm-1", "vm-2"])
    second = updated(the_gate, first, vms=["vm-1"])
    assert len(server.waits) == 1
    assert (second["ready"], second["wait_seconds"], second["opened_at"]) == (True, 0.0, "2025-03-01T12:00:05.000Z")
    assert second["results"] == {"name-of-vm-1": first["results"]["name-of-vm-1"]}


def test_a_key_moves_without_a_wait(the_gate: Gate, server: FakeServer) -> None:
    """Another key for the same VM is only another key."""
    first = created(the_gate, vms={"a": "vm-1"})
    second = updated(the_gate, first, vms={"b": "vm-1"})
    assert len(server.waits) == 1
    assert second["results"] == {"b": first["results"]["a"]}
    assert second["opened_at"] == first["opened_at"]


def test_changed_times_wait_for_nothing(the_gate: Gate, server: FakeServer) -> None:
    """Times of an open gate change in state alone; a closed gate uses them to judge again."""
    first = created(the_gate, vms=["vm-1"])
    second = updated(the_gate, first, vms=["vm-1"], timeout=60)
    assert len(server.waits) == 1
    assert second == {**first, "timeout": 60}

    server.stories = {"vm-2": "slow"}
    closed = created(the_gate, vms=["vm-2"], timeout=1)
    server.stories = {}
    opened = updated(the_gate, closed, vms=["vm-2"], timeout=60)
    assert len(server.waits) == 3
    assert opened["ready"] is True


def test_triggers_judge_all_and_keep_the_ready_ones(the_gate: Gate, server: FakeServer) -> None:
    """Changed triggers judge every VM; the old verdict of the good ones is evidence where history is gone."""
    server.stories = {"vm-2": "bad"}
    first = created(the_gate, vms=["vm-1", "vm-2"])
    server.stories = {}
    second = updated(the_gate, first, vms=["vm-1", "vm-2"], triggers={"image": 2})
    assert server.waits[1] == (["vm-1", "vm-2"], [], ["vm-1"])
    assert second["ready"] is True


def test_a_vm_without_customization_is_not_remembered_as_customized(the_gate: Gate, server: FakeServer) -> None:
    """What passed as NotCustomized is judged as such again: only a success is evidence of one."""
    server.stories = {"vm-2": "plain"}
    first = created(the_gate, vms=["vm-1", "vm-2"], expect="optional")
    second = updated(the_gate, first, vms=["vm-1", "vm-2"], expect="optional", triggers={"image": 2})
    assert server.waits[1] == (["vm-1", "vm-2"], [], ["vm-1"])
    assert second["statuses"] == first["statuses"]


def test_cloud_director_remembers_as_well(the_gate: Gate, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old verdict reaches the source of either platform."""
    monkeypatch.setattr(the_gate, "config", {"vcd:url": "https://vcd", "vcd:org": "acme", "vcd:apiToken": "t0ken"})
    vms = ["urn:vcloud:vm:f10538f6-b54c-5f88-93eb-895058492ab5"]
    first = created(the_gate, platform="cloud_director", vms=vms)
    (moid,) = (result["moid"] for result in first["results"].values())
    updated(the_gate, first, platform="cloud_director", vms=vms, triggers={"image": 2})
    assert [previous for _, _, previous in server.waits] == [[], [moid]]


def test_a_stricter_expectation_judges_the_untraced_again(the_gate: Gate, server: FakeServer) -> None:
    """What passed as NotCustomized is good as long as the gate expects no more than that."""
    server.stories = {"vm-2": "plain"}
    first = created(the_gate, vms=["vm-1", "vm-2"], expect="optional")
    assert (first["ready"], first["statuses"]["name-of-vm-2"]) == (True, "NotCustomized")
    grown = updated(the_gate, first, vms=["vm-1", "vm-2", "vm-3"], expect="optional")
    assert server.waits[1][1] == ["vm-1", "vm-2"]
    strict = updated(the_gate, grown, vms=["vm-1", "vm-2", "vm-3"], expect="required")
    assert server.waits[2][1] == ["vm-1", "vm-3"]
    assert strict["ready"] is False


# ---- custom_timeouts


def test_custom_timeouts_count_where_no_timeout_is_given(the_gate: Gate, server: FakeServer) -> None:
    """A wait without `timeout` ends after `custom_timeouts`; with it, that alone decides."""
    server.stories = {"vm-1": "slow"}
    the_gate.engine.custom_timeout = 90
    assert created(the_gate, vms=["vm-1"])["wait_seconds"] == 90
    the_gate.engine.custom_timeout = 3600
    assert created(the_gate, vms=["vm-1"], timeout=30)["wait_seconds"] == 30


# ---- the rest


def test_refresh_returns_what_is_stored(the_gate: Gate, server: FakeServer) -> None:
    """A refresh makes no call and changes nothing: an opened gate stays open."""
    outputs = created(the_gate, vms=["vm-1"])
    server.stories = {"vm-1": "bad"}
    assert gate.read(stored(outputs)) == {**stored(outputs), "results": outputs["results"]}
    assert len(server.waits) == 1


def test_check_reports_missing_settings_and_invalid_inputs_in_one_go(the_gate: Gate) -> None:
    """A look at the inputs names what is missing of the connection and what is wrong with the arguments."""
    reasons = Gate({}).check({"vms": [], "timeout": 0})
    assert reasons[0].startswith("missing `vsphere:vsphereServer` or VSPHERE_SERVER, ")
    assert [reason.partition(":")[0] for reason in reasons[1:]] == ["vms", "timeout"]
    assert the_gate.check({"vms": ["vm-1"]}) == []


@pytest.mark.parametrize("name", ["platform", "config_namespace"])
def test_check_looks_for_no_settings_of_an_impossible_server(name: str) -> None:
    """A wrong platform or namespace is one mistake, not one more for each setting that it has not got."""
    assert [reason.partition(":")[0] for reason in Gate({}).check({"vms": ["vm-1"], name: "a:b"})] == [name]


@pytest.mark.parametrize("name", ["platform", "config_namespace"])
def test_check_waits_for_what_preview_does_not_know(name: str) -> None:
    """An unknown namespace or platform is not reported as missing settings."""
    assert Gate({}).check({"vms": ["vm-1"], name: UNKNOWN}) == []


def test_inputs_that_turn_out_invalid_stop_before_any_wait(the_gate: Gate, server: FakeServer) -> None:
    """What preview did not know is judged before a server is asked."""
    with pytest.raises(ConfigurationError, match=r"^vms\[0\]: expected a managed object ID .*, got 'web'$"):
        the_gate.create({"vms": ["web"]})
    assert server.waits == []


@pytest.mark.parametrize("check", [{"kind": "command", "script": "true"}, {"kind": "cloud_init"}])
def test_a_check_in_the_guest_needs_guest_credentials(check: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Preview says which config is missing; without such a check, nothing is."""
    for variable in ("GUEST_USER", "GUEST_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    news = {"vms": {"web": "vm-1"}, "checks": [check]}
    guest = {"customization:guestUser": "root", "customization:guestPassword": "s3cret"}

    user, password = "`customization:guestUser` or GUEST_USER", "`customization:guestPassword` or GUEST_PASSWORD"

    assert gate.check(CONFIG.get, news) == [
        f"no guest credentials configured: set config {user}; and config {password}"
    ]
    assert gate.check({**CONFIG, **guest}.get, news) == []
    assert gate.check(CONFIG.get, {**news, "checks": [{"kind": "address"}, UNKNOWN]}) == []
    assert gate.check(CONFIG.get, {**news, "checks": UNKNOWN}) == []
