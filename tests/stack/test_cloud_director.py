"""The gate over Cloud Director on the real engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.cloud_director import client, example
from lab.paths import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.cloud_director.client import CloudDirectorLab
    from tests.stack.engine import Engine, Stack


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudDirectorLab]:
    folder = tmp_path_factory.mktemp("cloud-director")
    yield client.start(Home(), folder, ["--vms", "3", "--powered-off"])
    client.stop(folder)


def stack(engine: Engine, lab: CloudDirectorLab, password: str = "") -> Stack:
    config = {**example.connection(lab), "tests:vms": json.dumps(dict(lab.vms))}
    return engine.stack(example.program, config=config, environment={"VCD_PASSWORD": password or lab.password})


def test_the_example_waits_on_cloud_director(engine: Engine, lab: CloudDirectorLab) -> None:
    """VMs that are there are waited for, the work behind the gate runs, and a second `up` changes nothing."""
    example.power_on(lab, start_delay=0.2, duration=1.0)
    made = stack(engine, lab)
    first = made.up()
    assert first.succeeded, first.output
    outputs = made.outputs
    assert (outputs["ready"], sorted(outputs["probes"])) == (True, ["web-0", "web-1", "web-2"])
    assert {result["status"] for result in outputs["vms"].values()} == {"CustomizationSucceeded"}
    assert {result["moid"] for result in outputs["vms"].values()} == {
        f"vm-{urn.rpartition(':')[2]}" for urn in lab.vms.values()
    }
    lab_calls = sum(lab.stats()["calls"].values())
    second = made.up()
    assert (second.succeeded, second.changes) == (True, {})
    assert sum(lab.stats()["calls"].values()) == lab_calls
    assert lab.stats()["sessions"] == 0


def test_a_failed_vm_keeps_the_gate_closed(engine: Engine, lab: CloudDirectorLab) -> None:
    """One failure holds back all work; the error names the VM, and the next `up` judges that one alone."""
    example.power_on(lab, fail="web-1", start_delay=0.0, duration=0.5)
    made = stack(engine, lab)
    first = made.up()
    assert not first.succeeded
    assert "customization failed on 1 of 3 VMs" in first.errors
    assert "GC_FAILED" in first.errors
    assert "Traceback" not in first.errors
    assert [resource for resource in made.resources if "OrderProbe" in resource["type"]] == []
    example.power_on(lab, start_delay=60.0)  # the two that were good would be waited for again, were they judged again
    lab.plan("web-1", start_delay=0.0, duration=0.2)
    second = made.up()
    assert second.succeeded, second.output
    assert second.steps["web"] == ["update"]


def test_a_wrong_password_is_reported_without_a_traceback(engine: Engine, lab: CloudDirectorLab) -> None:
    """A refused login is one short message, and the password is neither in it nor in the state."""
    failed = stack(engine, lab, password="wr0ng-secret").up()
    assert not failed.succeeded
    assert "refuses the login of deployer@acme" in failed.errors
    assert [word for word in ("Traceback", "wr0ng-secret") if word in failed.output] == []
