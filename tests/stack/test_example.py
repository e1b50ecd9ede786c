"""The example as `make` runs it: the command line of lab/stack.py, in a lab of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from lab import vcenter_client
from lab.paths import ROOT
from tests.stack.command import SECONDS, files_with, lab_of_its_own, processes, row, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.paths import Home

GATE_CALLS = {"CreateCollectorForEvents", "QueryEvents", "WaitForUpdatesEx", "CreatePropertyCollector"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with lab_of_its_own(tmp_path / "lab") as home:
        yield home


def test_the_example_blocks_opens_fails_and_recovers(home: Home) -> None:
    """The whole story: up, up again, one VM fails, it is replaced, and the lab goes down without a trace."""
    status, first = run(home, "up")
    assert status == 0, first
    assert "The gate worked" in first
    for vm in ("web-0", "web-1", "web-2"):
        *times, judged = row(first, vm)[:6]
        assert times == sorted(times), first
        assert judged == "CustomizationSucceeded"
        assert f"{vm} is ready for work" in first

    lab = vcenter_client.find(home.vcenter, home.vcenter_folder)
    assert lab is not None
    lab.reset_stats()
    status, second = run(home, "up")
    assert status == 0, second
    assert "9 unchanged" in second
    assert lab.stats()["calls"].keys() & GATE_CALLS == set()
    assert lab.stats()["logins"]["ok"] == 1, "the plugin's own, for its look-ups; none of the gate's"

    status, failed = run(home, "up", "--fail", "web-1")
    assert status == 1, failed
    assert re.search(r"web-1 \(vm-\d+\)  CustomizationLinuxIdentityFailed at .*the host name could not be set", failed)
    assert row(failed, "web-1")[-2:] == ["-", "CustomizationFailed"]
    _, _, end = failed.partition("Diagnostics:")
    assert end.splitlines()[-1] == (
        "The gate stayed closed because of web-1, so no work behind it ran in this update. "
        "To replace web-1: make up REPLACE=web-1"
    )
    assert "customization failed on 1 of 3 VMs" in end
    assert not {"power-on", "Outputs:", "Resources:"} & set(end.split()), "the error is what the screen ends with"
    assert "Outputs:" in first
    assert "Outputs:" not in failed, "they would be those of the earlier run"

    status, replaced = run(home, "up", "--replace", "web-1")
    assert status == 0, replaced
    assert "The gate worked" in replaced
    for untouched in ("web-0", "web-2"):
        assert row(replaced, untouched)[:3] == row(first, untouched)[:3], "it was not judged again"
        assert row(replaced, untouched)[4] == row(first, untouched)[4], "its script did not run again"

    status, refreshed = run(home, "refresh")
    assert status == 0, refreshed
    assert "9 unchanged" in refreshed

    secrets = (lab.password, lab.guest_password, lab.token, home.passphrase.read_text(encoding="utf-8"))
    assert files_with(home, *secrets) == [home.passphrase, home.vcenter_folder / "ready.json"]

    status, down = run(home, "down")
    assert status == 0, down
    assert processes(home) == []


def test_a_stopped_vcenter_is_noticed_and_the_stack_starts_empty(home: Home) -> None:
    """VMs that were deleted with their data center are not searched for; an unknown name is refused."""
    assert run(home, "preview")[0] == 0
    lab = vcenter_client.find(home.vcenter, home.vcenter_folder)
    assert lab is not None
    psutil.Process(lab.pid).kill()

    status, output = run(home, "preview")
    assert status == 0, output
    assert "The lab's vCenter is not running any more, so its VMs are gone. Starting with an empty stack." in output

    status, output = run(home, "destroy")
    assert status == 0, output


def test_ctrl_c_ends_in_order_and_the_next_run_continues(home: Home) -> None:
    """The engine ends what it has begun: no lock, no process and no pending operation is left."""
    command = [sys.executable, "-m", "lab.stack", "--home", str(home.path), "up"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "CustomizationGate" in line:
                # What a terminal does: every process of the foreground group gets it.
                os.killpg(up.pid, signal.SIGINT)
                break
        output = up.stdout.read()
        assert up.wait(SECONDS) == 130, output
    assert [process.name() for process in processes(home)] == ["lab-vcenter"]
    assert list(home.state.glob(".pulumi/locks/**/*.json")) == []

    status, output = run(home, "up")
    assert status == 0, output
    assert "pending operations" not in output
    assert "unlocking" not in output
