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

from lab import data_centre
from lab.bootstrap import prepare
from lab.home import ROOT, Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 120
GATE_CALLS = {"CreateCollectorForEvents", "QueryEvents", "WaitForUpdatesEx", "CreatePropertyCollector"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A lab that shares the programs of the checkout's own, and nothing else."""
    built = Home()
    prepare(built)
    home = Home(tmp_path / "lab")
    for name in ("engine", "bin"):
        if (built.path / name).exists():
            (home.path / name).symlink_to(built.path / name)
    yield home
    _stack(home, "down")


def _stack(home: Home, *arguments: str) -> tuple[int, str]:
    """Runs the command line and returns its exit status and all that it printed."""
    command = [sys.executable, "-m", "lab.stack", "--home", str(home.path), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    return done.returncode, done.stdout


def _row(output: str, machine: str) -> list[str]:
    """Returns the machine's times and status out of the table at the end."""
    (row,) = re.findall(rf"^ {machine} +(.*\S)", output, flags=re.MULTILINE)
    return str(row).split()


def test_the_example_blocks_opens_fails_and_recovers(home: Home) -> None:
    """The whole story: up, up again, one machine fails, it is replaced, and the lab goes down without a trace."""
    status, first = _stack(home, "up")
    assert status == 0, first
    assert "The gate did its job" in first
    for machine in ("web-0", "web-1", "web-2"):
        *times, judged = _row(first, machine)[:6]
        assert times == sorted(times), first
        assert judged == "CustomizationSucceeded"
        assert f"{machine} is ready for work" in first

    lab = data_centre.find(home.vcenter, home.data_centre)
    assert lab is not None
    lab.reset_stats()
    status, second = _stack(home, "up")
    assert status == 0, second
    assert "9 unchanged" in second
    assert lab.stats()["calls"].keys() & GATE_CALLS == set()
    assert lab.stats()["logins"]["ok"] == 1, "the plugin's own, for its look-ups; none of the gate's"

    status, failed = _stack(home, "up", "--fail", "web-1")
    assert status == 1, failed
    assert re.search(r"web-1 \(vm-\d+\)  CustomizationLinuxIdentityFailed at .*the host name could not be set", failed)
    assert "The gate stayed shut because of web-1: nothing behind it ran." in failed
    assert _row(failed, "web-1")[-2:] == ["-", "CustomizationFailed"]

    status, replaced = _stack(home, "up", "--replace", "web-1")
    assert status == 0, replaced
    assert "The gate did its job" in replaced
    for untouched in ("web-0", "web-2"):
        assert _row(replaced, untouched)[:3] == _row(first, untouched)[:3], "it was not judged again"
        assert _row(replaced, untouched)[4] == _row(first, untouched)[4], "its script did not run again"

    status, refreshed = _stack(home, "refresh")
    assert status == 0, refreshed
    assert "9 unchanged" in refreshed

    secrets = (lab.password, lab.guest_password, lab.token, home.passphrase.read_text(encoding="utf-8"))
    assert [
        file for file in _files(home) if any(secret in file.read_text("utf-8", "replace") for secret in secrets)
    ] == [
        home.passphrase,
        home.data_centre / "ready.json",
    ]

    status, down = _stack(home, "down")
    assert status == 0, down
    assert _processes(home) == []


def test_a_dead_data_centre_is_noticed_and_the_stack_starts_over(home: Home) -> None:
    """Machines that are gone with their data centre are not looked for; a name that nothing has is refused."""
    assert _stack(home, "preview")[0] == 0
    lab = data_centre.find(home.vcenter, home.data_centre)
    assert lab is not None
    psutil.Process(lab.pid).kill()

    status, output = _stack(home, "preview")
    assert status == 0, output
    assert "The lab's vCenter is gone, and its machines with it: the stack starts over." in output

    status, output = _stack(home, "destroy")
    assert status == 0, output


def test_ctrl_c_ends_in_order_and_the_next_run_goes_on(home: Home) -> None:
    """The engine ends what it has begun: no lock, no process and no pending operation is left."""
    command = [sys.executable, "-m", "lab.stack", "--home", str(home.path), "up"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "CustomizationGate" in line:
                # What a terminal does: every process of the foreground group gets it.
                os.killpg(run.pid, signal.SIGINT)
                break
        output = run.stdout.read()
        assert run.wait(SECONDS) == 130, output
    assert [process.name() for process in _processes(home)] == ["lab-vcenter"]
    assert list(home.state.glob(".pulumi/locks/**/*.json")) == []

    status, output = _stack(home, "up")
    assert status == 0, output
    assert "pending operations" not in output
    assert "unlocking" not in output


def _files(home: Home) -> list[Path]:
    shared = [home.path / "engine", home.path / "bin"]
    return sorted(file for file in home.path.rglob("*") if file.is_file() and not set(shared) & set(file.parents))


def _processes(home: Home) -> list[psutil.Process]:
    """Returns the processes that run for this lab: its folder stands in their arguments or their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(home.path) in word for word in words):
            found.append(process)
    return found
