"""The example on Cloud Director as `make` runs it: the command line of lab/stack.py, in a lab of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil
import pytest

from lab import servers, stack
from lab.cloud_director import client
from lab.engine_run import Run
from lab.platforms import CloudDirector
from tests.stack.command import files_with, lab_of_its_own, processes, row, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.paths import Home

ON_CLOUD_DIRECTOR = ("--platform", "cloud_director")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with lab_of_its_own(tmp_path / "lab") as home:
        yield home


def test_the_example_blocks_opens_fails_and_recovers(home: Home) -> None:
    """The whole story: up, up again, one VM fails, it is replaced, and the lab goes down without a trace."""
    status, first = run(home, "up", *ON_CLOUD_DIRECTOR)
    assert status == 0, first
    assert "The gate worked" in first
    assert "0 of 3 customized" in first, "it was seen waiting"
    for vm in ("web-0", "web-1", "web-2"):
        powered_on, completed, _opened, work, judged = row(first, vm)
        assert [powered_on, completed, work] == sorted([powered_on, completed, work])
        assert judged == "CustomizationSucceeded"

    platform = CloudDirector(home)
    lab = platform.find()
    assert lab is not None
    there, calls = lab.current_vms(), lab.stats()["calls"]
    status, second = run(home, "up", *ON_CLOUD_DIRECTOR)
    assert status == 0, second
    assert "5 unchanged" in second
    assert lab.current_vms().keys() == there.keys()
    assert [vm.urn for vm in lab.current_vms().values()] == [vm.urn for vm in there.values()]
    assert row(second, "web-1")[1] == row(first, "web-1")[1], "no VM was restarted"
    assert lab.stats()["calls"] == {**calls, "GET /api/versions": lab.stats()["calls"]["GET /api/versions"]}

    status, refused = run(home, "up", "--fail", "web-9", *ON_CLOUD_DIRECTOR)
    assert status == 1
    assert "error: no VM is named 'web-9'; the VMs are web-0, web-1, web-2" in refused

    status, failed = run(home, "up", "--fail", "web-1", *ON_CLOUD_DIRECTOR)
    assert status == 1, failed
    assert re.search(r"web-1 \(vm-[\da-f-]{36}\)  CustomizationFailed \(GC_FAILED\)", failed)
    assert "customization failed on 1 of 3 VMs" in failed
    assert failed.splitlines()[-1] == (
        "The gate stayed closed because of web-1, so no work behind it ran in this update. "
        "To replace web-1: make up PLATFORM=cloud_director REPLACE=web-1"
    )
    assert row(failed, "web-1")[1:] == ["-", "-", "-", "CustomizationFailed"]

    status, replaced = run(home, "up", "--replace", "web-1", *ON_CLOUD_DIRECTOR)
    assert status == 0, replaced
    assert "The gate worked" in replaced
    assert row(replaced, "web-1")[3] > row(first, "web-1")[3]
    for untouched in ("web-0", "web-2"):
        assert row(replaced, untouched)[3] == row(first, untouched)[3], "its work did not run again"
    changed = {name for name, vm in lab.current_vms().items() if vm.urn != there[name].urn}
    assert changed == {"web-1"}

    secrets = (lab.password, lab.token, lab.api_token, platform.home.passphrase.read_text(encoding="utf-8"))
    assert files_with(home, *secrets) == [platform.home.passphrase, platform.folder / "ready.json"]

    status, down = run(home, "down")
    assert status == 0, down
    assert processes(home) == []


def test_a_stopped_cloud_director_is_reported_and_the_next_run_starts_over(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that is killed during a run is one short error; the next run starts another."""

    def kill(run: Run, *_: object, **__: object) -> None:
        process = psutil.Process(run.lab.pid)
        process.kill()
        process.wait(10)
        for child in servers._children:
            child.poll()

    with monkeypatch.context() as patched:
        patched.setattr(Run, "engine", kill)
        status = stack.main(["up", "--home", str(home.path), *ON_CLOUD_DIRECTOR])
    assert status == 1
    assert capfd.readouterr().err == (
        "error: the lab's Cloud Director does not answer any more; the next run starts another\n"
    )
    assert client.find(CloudDirector(home).folder) is None

    status, output = run(home, "destroy", *ON_CLOUD_DIRECTOR)
    assert status == 0, output
    restarted = "The lab's Cloud Director is not running any more, so its VMs are gone. Starting with an empty stack."
    assert restarted in output
