"""What the dynamic provider and the native provider do for the same inputs is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import (
    AuthenticationError,
    CertificateError,
    ConfigurationError,
    GateError,
    ServerError,
)
from pulumi_customization_gate.lifecycle.phrases import DOCTOR
from tests.unit.lifecycle.guest_resource import CONFIG as GUEST_CONFIG
from tests.unit.lifecycle.test_gate import CONFIG, FakeServer
from tests.unit.plugin.hosts import Done, Dynamic, Native
from tests.unit.vsphere.guest.fake_guest import VM, FakeProgram, guest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Host = Dynamic | Native


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VSPHERE_SERVER", "VSPHERE_USER", "VSPHERE_PASSWORD", "GUEST_USER", "GUEST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def reported(kind: type[Host], story: Callable[[Any, Any], Iterator[Done]], resource: str) -> list[Done]:
    """Returns what a host does in a story, in a world of its own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if resource == "CustomizationGate":
            world: Any = FakeServer()
            world.install(monkeypatch)
        else:
            world = guest_of(monkeypatch)
        config = {**GUEST_CONFIG, **CONFIG} if resource == "CustomizationGate" else dict(GUEST_CONFIG)
        return list(story(kind(resource, config, monkeypatch), world))


def gate_opens(host: Host, server: FakeServer) -> Iterator[Done]:
    inputs = {"vms": {"web_one": "vm-1", "b": "vm-2"}, "start_timeout": 60.0, "triggers": {"wait_seconds": "1"}}
    yield host.check(inputs)
    created = host.create(inputs)
    yield created
    yield host.diff(created.outputs, inputs)
    yield host.diff(created.outputs, {**inputs, "settle": "1m"})
    yield host.update(created.outputs, {**inputs, "settle": "1m"})
    server.names["vm-3"] = "third"
    grown = {**inputs, "vms": {**inputs["vms"], "c": "vm-3"}}  # type: ignore[dict-item]
    yield host.diff(created.outputs, grown)
    yield host.update(created.outputs, grown)
    yield host.read(created.outputs)
    yield host.delete(created.outputs)


def gate_fails(host: Host, server: FakeServer) -> Iterator[Done]:
    server.stories = {"vm-1": "bad", "vm-2": "good"}
    inputs = {"vms": {"a": "vm-1", "b": "vm-2"}, "on_failure": "fail", "guest_logs": False}
    failed = host.create(inputs)
    yield failed
    yield host.diff(failed.outputs, inputs)
    yield host.update(failed.outputs, {**inputs, "accept": {"a": "host name set by hand"}})


def gate_gives_advice(host: Host, server: FakeServer) -> Iterator[Done]:
    server.stories = {"vm-1": "pending", "vm-2": "plain"}
    yield host.create({"vms": {"a": "vm-1", "b": "vm-2"}, "start_timeout": 0.01, "guest_logs": False})


def gate_is_refused(host: Host, _: FakeServer) -> Iterator[Done]:
    yield host.check({"vms": [], "timeout": "soon", "ready_when": "soon", "checks": [{"kind": "command"}]})
    yield host.check({"vms": {"a": "vm-1"}, "checks": [{"kind": "command", "script": "true", "exit_code": "no"}]})
    yield host.check({"vms": {"a": "vm-1"}, "checks": [{"kind": "command", "script": "true", "exit_cod": 1.0}]})


def script_runs(host: Host, guest: Any) -> Iterator[Done]:
    inputs = {"vm": VM, "script": "echo hello", "environment": {"output_limit": "1"}, "expected_exit_codes": [0.0]}
    guest.program = FakeProgram("out\n", "err\n", seconds=2)
    yield host.check(inputs)
    created = host.create(inputs)
    yield created
    yield host.diff(created.outputs, {**inputs, "output_limit": 10.0})
    yield host.update(created.outputs, {**inputs, "output_limit": 10.0})
    guest.program = FakeProgram("", "the reason\n", 3)
    yield host.update(created.outputs, {**inputs, "script": "false"})
    guest.program = FakeProgram()
    yield host.delete({**created.outputs, "on_delete": "echo bye"})
    guest.program = FakeProgram("", "the reason\n", 3)
    yield host.update(created.outputs, {**inputs, "on_update": "echo new", "stdin": "again"})
    yield host.delete({**created.outputs, "on_delete": "echo bye"})
    guest.password = "another"
    yield host.delete({**created.outputs, "on_delete": "echo bye"})


def script_is_refused(host: Host, _: Any) -> Iterator[Done]:
    yield host.check({"vm": VM, "script": "", "password": "", "arguments": [1.0], "working_directory": ""})


def file_is_written(host: Host, _: Any) -> Iterator[Done]:
    inputs = {"vm": VM, "path": "/srv/motd", "content": "welcome\n"}
    yield host.check(inputs)
    created = host.create(inputs)
    yield created
    yield host.diff(created.outputs, {**inputs, "content": "other\n"})
    yield host.update(created.outputs, {**inputs, "content": "other\n"})
    yield host.delete(created.outputs)


STORIES = [
    pytest.param(gate_opens, "CustomizationGate", id="a gate opens"),
    pytest.param(gate_fails, "CustomizationGate", id="a gate fails"),
    pytest.param(gate_gives_advice, "CustomizationGate", id="a gate gives advice"),
    pytest.param(gate_is_refused, "CustomizationGate", id="a gate is refused"),
    pytest.param(script_runs, "GuestScript", id="a script runs"),
    pytest.param(script_is_refused, "GuestScript", id="a script is refused"),
    pytest.param(file_is_written, "GuestFile", id="a file is written"),
]


@pytest.mark.parametrize(("story", "resource"), STORIES)
def test_both_hosts_do_the_same(story: Callable[[Any, Any], Iterator[Done]], resource: str) -> None:
    """Failures, differences, outputs, errors with their partial outputs, and the lines on the resource's row."""
    dynamic, native = reported(Dynamic, story, resource), reported(Native, story, resource)
    assert dynamic == native
    assert any(done.outputs or done.failures for done in native)


HOSTS = [pytest.param(Dynamic, id="dynamic"), pytest.param(Native, id="native")]
REFUSED = "vc.example.com refused ann"


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        pytest.param(AuthenticationError(REFUSED), f"\n{DOCTOR}", id="login"),
        pytest.param(CertificateError(REFUSED), f"\n{DOCTOR}", id="certificate"),
        pytest.param(ServerError(REFUSED), f"\n{DOCTOR}", id="no response"),
        pytest.param(ConfigurationError(REFUSED), "", id="refused input"),
    ],
)
def test_an_error_of_the_connection_names_doctor(kind: type[Host], error: GateError, hint: str) -> None:
    """A server that cannot be used is what `doctor` looks at; an input that is refused is not."""

    def story(host: Host, server: FakeServer) -> Iterator[Done]:
        server.refuses = error
        yield host.create({"vms": {"a": "vm-1"}})

    (done,) = reported(kind, story, "CustomizationGate")
    assert done.error == REFUSED + hint


@pytest.mark.parametrize("kind", HOSTS)
def test_an_error_after_a_cancellation_does_not_name_doctor(kind: type[Host]) -> None:
    """Nothing is wrong with the connection of a wait that the user cancelled before it started."""

    def story(host: Host, server: FakeServer) -> Iterator[Done]:
        server.refuses = ServerError("the wait was cancelled before the server responded")
        host.cancel()
        yield host.create({"vms": {"a": "vm-1"}})

    (done,) = reported(kind, story, "CustomizationGate")
    assert "cancelled before" in done.error
    assert "doctor" not in done.error


def test_a_directory_is_the_same_on_both_hosts(tmp_path: Path) -> None:
    """The files of a local directory have the same hashes, and reach the same guest."""
    (tmp_path / "conf_d").mkdir()
    (tmp_path / "conf_d" / "site.conf").write_text("listen\n")

    def story(host: Host, _: Any) -> Iterator[Done]:
        inputs = {"vm": VM, "path": "/srv/site", "source": str(tmp_path), "texts": {"read_me": "read"}}
        checked = host.check(inputs)
        yield checked
        created = host.create(checked.outputs)
        yield created
        yield host.delete(created.outputs)

    dynamic, native = reported(Dynamic, story, "GuestFile"), reported(Native, story, "GuestFile")
    assert dynamic == native
    assert native[0].outputs["files"].keys() == {"conf_d/site.conf"}
    assert native[1].error == ""
