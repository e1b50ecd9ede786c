"""Guest work to which everything happens at every call: it is done once, and the state has what the guest has.

Each test takes one call that a script, or a file, makes, by its number. The network is cut from there on, or
vCenter restarts: once before the call takes effect, once after it. Or the provider is killed after it: what it knew is
lost, so the moment before the next call is the same. Then `up` runs again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.lifecycle import guest_file
from pulumi_customization_gate.lifecycle.guest_sources import digest
from pulumi_customization_gate.vsphere import session as sessions
from pulumi_customization_gate.vsphere.guest import replacement, run
from pulumi_customization_gate.vsphere.session import acquire
from pulumi_customization_gate.vsphere.settings import VsphereSettings
from tests.lab.guest_resource import GuestResource, Kind
from tests.lab.vcenter_fixture import VCenter, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS: dict[Kind, int] = {"script": 34, "file": 14, "directory": 41}
"""The number of calls of one lifecycle in a process of its own, the login included."""
CALLS_IN_A_CLONE = CALLS["script"] + 3
"""The same for a script in a clone: what the original's run left is read and removed."""
LOGIN = {"guestUser": "deploy", "guestPassword": "only-for-this-guest"}
SECONDS = 30.0
CUT = 0.7
"""Seconds that the network is cut: the time-out of the operation."""

every_call = pytest.mark.parametrize(
    ("kind", "number"),
    [
        pytest.param(kind, number, id=f"{kind} call {number}")
        for kind, calls in CALLS.items()
        for number in range(1, calls + 1)
    ],
)
before_and_after = pytest.mark.parametrize("after", [pytest.param(False, id="before"), pytest.param(True, id="after")])


@dataclass
class Lab:
    """A vCenter with one VM, and a folder of this computer that scripts write to."""

    vcenter: VCenter
    moid: str
    folder: Path

    @property
    def config(self) -> dict[str, str]:
        """The stack's config."""
        lab = self.vcenter.lab
        return {
            "vsphere:vsphereServer": lab.server,
            "vsphere:user": lab.user,
            "vsphere:password": lab.password,
            "customization:caFile": lab.ca_file,
            **{f"customization:{key}": value for key, value in LOGIN.items()},
        }

    def resource(self, kind: Kind, name: str) -> GuestResource:
        """Returns a resource that does not exist yet, in a guest in which no script has run."""
        shutil.rmtree(self.home / ".customization-gate", ignore_errors=True)
        given: dict[str, Any] = {"vm": self.moid, "timeout": SECONDS}
        if kind == "script":
            given["script"] = f"echo run >>{self.folder}/{name}; wc -l <{self.folder}/{name}"
        elif kind == "file":
            given |= {"path": f"/home/deploy/{name}", "content": f"content of {name}"}
        else:
            source = self.folder / f"source-{name}"
            (source / "conf.d").mkdir(parents=True)
            for path in ("a", "b", "conf.d/c"):
                (source / path).write_text(f"{path} of {name}", encoding="utf-8")
            given |= {"path": f"/home/deploy/{name}", "source": str(source)}
            given |= guest_file.check(self.config.get, given)[1]
        urn = f"urn:pulumi:lab::tests::{kind}::{name}"
        return GuestResource(kind, urn, self.config, given)

    @property
    def home(self) -> Path:
        """The home of the guest's user, on this computer."""
        return self.folder.parent / "guests" / self.moid / "home" / "deploy"

    def fault(self, kind: str, **rule: Any) -> None:
        """Adds a fault."""
        self.vcenter.lab.add_fault(kind, method="*", **rule)

    def hits(self) -> int:
        """Returns how often all faults have struck."""
        return sum(self.vcenter.lab.hits())

    def assert_done_once(self, resource: GuestResource, name: str) -> None:
        """Asserts that the guest has what the state has, and that another `up` would do nothing."""
        if resource.kind == "script":
            assert (self.folder / name).read_text(encoding="utf-8") == "run\n"
            assert resource.outputs["stdout"].strip() == "1"
            assert (resource.outputs["status"], resource.outputs["exit_code"]) == ("exited", 0)
        elif resource.kind == "directory":
            found = self.home / name
            files = {str(path.relative_to(found)): path for path in found.rglob("*") if path.is_file()}
            assert (
                {path: digest(file) for path, file in files.items()}
                == resource.outputs["files"]
                == resource.inputs["files"]
            )
            assert resource.outputs["size"] == sum(file.stat().st_size for file in files.values())
            assert resource.outputs["directories"] == ["", "conf.d"]
            (journal,) = (self.home / ".customization-gate").iterdir()
            assert json.loads(journal.read_text(encoding="utf-8")) == {
                "complete": True,
                "files": sorted(files),
                "directories": ["", "conf.d"],
            }
        else:
            found = self.home / name
            assert found.read_text(encoding="utf-8") == resource.outputs["content"] == resource.inputs["content"]
            assert resource.outputs["size"] == found.stat().st_size
            assert [left.name for left in found.parent.glob(f".{name}*")] == []
        before = resource.state
        assert (resource.up(), resource.state) == ("", before)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("vcenter")
    with running(folder, "-guests-dir", str(folder / "guests")) as vcenter:
        vm = vcenter.clone(plan={"startDelay": "10ms", **LOGIN})
        made = Lab(vcenter, str(vm._moId), folder / "counters")
        made.folder.mkdir()
        yield made


@pytest.fixture(autouse=True)
def hurry(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shortens what is waited for when nothing answers, and leaves no fault behind."""
    monkeypatch.setattr(run, "STOP_TIMEOUT", 0.2)
    monkeypatch.setattr(replacement, "CLEANUP_TIMEOUT", 0.2)
    monkeypatch.setattr(sessions, "CALL_TIMEOUT", 1.0)
    yield
    lab.vcenter.lab.clear_faults()


@contextlib.contextmanager
def logged_in(lab: Lab) -> Iterator[None]:
    """Holds the session that the operations of this process use, so that they begin with their own calls."""
    server = lab.vcenter.lab
    with acquire(VsphereSettings(server.server, server.user, server.password, ca_file=server.ca_file)):
        yield


@every_call
def test_a_provider_that_is_killed(lab: Lab, kind: Kind, number: int) -> None:
    """The process is killed by SIGKILL once a call has had its effect; the next `up` continues from there."""
    name = f"killed-{kind}-{number}"
    resource = lab.resource(kind, name)
    lab.fault("hang", skip=number - 1, count=1, after=True)
    resource.up_until_killed(lambda: lab.hits() == 1)
    lab.vcenter.lab.clear_faults()

    assert resource.up() == ""
    lab.assert_done_once(resource, name)


@pytest.mark.parametrize("number", range(1, CALLS_IN_A_CLONE + 1))
def test_a_provider_that_is_killed_at_a_clone(lab: Lab, number: int) -> None:
    """The guest has the outcome that a run left in the VM from which it was cloned; the script runs in it once."""
    name = f"cloned-{number}"
    resource = lab.resource("script", name)
    assert resource.up() == ""
    resource.state = None
    (lab.folder / name).unlink()
    (attempt,) = (lab.home / ".customization-gate").glob("*/attempt")
    fingerprint, identity = attempt.read_text(encoding="utf-8").split("\n")
    vcenter, _, uuid = identity.split("/")
    attempt.write_text(f"{fingerprint}\n{vcenter}/vm-1/{uuid[::-1]}", encoding="utf-8")

    lab.fault("hang", skip=number - 1, count=1, after=True)
    resource.up_until_killed(lambda: lab.hits() == 1)
    lab.vcenter.lab.clear_faults()

    assert resource.up() == ""
    lab.assert_done_once(resource, name)


@before_and_after
@every_call
def test_a_network_that_is_cut(lab: Lab, kind: Kind, number: int, *, after: bool) -> None:
    """From one call on every connection breaks, until the operation fails; the next `up` finds what came of it."""
    name = f"cut-{kind}-{number}-{after}"
    resource = lab.resource(kind, name)
    with logged_in(lab):
        resource.inputs["timeout"] = CUT
        lab.fault("reset", skip=number - 1, count=1, after=after)
        lab.fault("reset", skip=number - 1)
        resource.up()
        lab.vcenter.lab.clear_faults()

        resource.inputs["timeout"] = SECONDS
        assert resource.up() == ""
    lab.assert_done_once(resource, name)


@before_and_after
@every_call
def test_a_vcenter_that_restarts(lab: Lab, kind: Kind, number: int, *, after: bool) -> None:
    """VCenter goes down during one call and comes back without sessions: the operation survives that by itself."""
    name = f"restarted-{kind}-{number}-{after}"
    resource = lab.resource(kind, name)
    with logged_in(lab):
        lab.fault("delay", seconds=60, skip=number - 1, count=1, after=after)
        ended = threading.Event()

        def restart() -> None:
            while not ended.wait(0.01):
                if lab.hits() == 1:
                    lab.vcenter.lab.restart(0.05)
                    return

        thread = threading.Thread(target=restart)
        thread.start()
        try:
            assert resource.up() == ""
        finally:
            ended.set()
            thread.join()
        lab.vcenter.lab.clear_faults()
        lab.assert_done_once(resource, name)


def test_the_numbers_reach_to_the_end(lab: Lab) -> None:
    """A lifecycle makes no more calls than there are tests for, apart from the polls of a running script."""
    for kind, most in CALLS.items():
        lab.vcenter.lab.reset_stats()
        lab.resource(kind, f"counted-{kind}").up_until_killed(lambda: False)
        calls = lab.vcenter.lab.stats()["calls"]
        assert most - 3 < sum(calls.values()) - calls.pop("ListProcessesInGuest", 1) + 1 <= most, calls
