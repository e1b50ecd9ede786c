"""The documentation's commands, run as they are written: each does what the page says it does."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from lab.paths import ROOT
from tests.lab.shell import PROGRAM, WAIT, Shell, connected_to
from tests.lab.vcenter_fixture import VCenter, linux, running, status, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVER = "vcenter.example.com"
"""What the pages call the server."""


class Command(NamedTuple):
    """One command of a page."""

    line: str
    code: int
    """The exit status that is shown, or 0."""
    shown: list[str]
    """The lines of its output that are shown."""


def commands() -> list[Any]:
    """Returns the commands of the program in all pages."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            for part in re.split(r"^\$ (?!echo \$\?$)", block, flags=re.MULTILINE)[1:]:
                command, output = part.split("\n", 1)
                if not re.match(r"([A-Z_]+=\S* )*customization-gate ", command):
                    continue
                code = re.search(r"^\$ echo \$\?\n(\d+)$", output, re.MULTILINE)
                shown = [line for line in output.split("$ echo $?")[0].splitlines() if line]
                expected = Command(command, int(code[1]) if code else 0, shown)
                found.append(pytest.param(expected, id=f"{page.name}: {command}"))
    return found


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """The VMs of the pages, each in the final state that the page shows."""
    with running(tmp_path_factory.mktemp("vcenter")) as vcenter:
        ends = {"web-0": "SUCCEEDED", "web-1": "SUCCEEDED", "web-2": "FAILED", "db-0": "RUNNING", "app-0": "SUCCEEDED"}
        plans = {
            "web-2": {
                "outcome": "CustomizationLinuxIdentityFailed",
                "message": "An error occurred while setting up Linux identity.",
            },
            "db-0": {"outcome": "never-ends"},
        }
        for name in ends:
            vcenter.clone(name, custom=linux(host_name=name), plan=plans.get(name))
        vcenter.clone("tools-0")
        for name, end in ends.items():
            until(functools.partial(_stands, vcenter.find(name), end))
        vcenter.lab.power("app-0", "ha_restart")
        for name in ("app-0", "tools-0"):
            until(functools.partial(_has_tools, vcenter.find(name)))
        yield vcenter


def _stands(vm: Any, wanted: str) -> bool:
    return status(vm) == wanted


def _has_tools(vm: Any) -> bool:
    return bool(vm.guest.toolsRunningStatus == "guestToolsRunning")


@pytest.fixture
def shell(vcenter: VCenter) -> Shell:
    return connected_to(vcenter.lab)


@pytest.mark.parametrize("command", commands())
def test_every_command_does_what_its_page_says(shell: Shell, tmp_path: Path, command: Command) -> None:
    """Commands run as written, end with the exit status that is shown, and write what is shown; JSON is shown whole."""
    link = tmp_path / "customization-gate"
    link.write_text(f'#!/bin/sh\nexec "{PROGRAM[0]}" {" ".join(PROGRAM[1:])} "$@"\n', encoding="utf-8")
    link.chmod(0o755)
    (tmp_path / "vms.txt").write_text("# the web shop\nweb-0\nweb-1\n", encoding="utf-8")
    environment = {**shell.environment, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    result = subprocess.run(
        ["/bin/sh", "-c", command.line.replace(SERVER, environment["VSPHERE_SERVER"])],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )

    assert result.returncode == command.code, result.stderr
    output = (result.stdout + result.stderr).replace(environment["VSPHERE_SERVER"], SERVER)
    output = output.replace(environment["VSPHERE_CA_FILE"], "ca.pem")
    written, shown = ([as_shape(line) for line in lines] for lines in (output.splitlines(), command.shown))
    assert [line for line in shown if line not in written] == [], output
    if shown[:1] == ["{"]:
        assert shown == [as_shape(line) for line in result.stdout.splitlines()], output


def as_shape(line: str) -> str:
    """Returns a line without what differs from run to run: numbers, times, bars, fingerprints, UUIDs."""
    line = re.sub(r"([0-9A-F]{2}:){31}[0-9A-F]{2}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "0", line)
    line = re.sub(r"[0-9][0-9.:TZ-]*( (s|min|h)\b)?( \d+ (s|min)\b)?", "0", line)
    return re.sub(r"[░█▒─●\u00d7▶│ ]+", " ", line).strip()
