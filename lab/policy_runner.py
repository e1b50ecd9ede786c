"""Runs a Python policy pack where the Pulumi CLI has no language hosts, or where there is no CLI at all.

The official bundle starts policy packs through its Python language host. A CLI built from Go modules has none, and then
looks on PATH for `pulumi-analyzer-policy-python`; the lab puts a small one there.
"""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from pulumi.runtime.proto import analyzer_pb2_grpc

from lab.paths import ROOT, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "pulumi-analyzer-policy-python"
PACK = ROOT / "policy"

# The engine passes its own address, the path of the pack and the runtime's options. The options are left out: the pack
# runs in the lab's own environment, and the runner takes `-virtualenv` for an unfinished `-v`.
_SCRIPT = """\
#!/bin/sh
exec {python} -u -m pulumi.policy "$1" "$2"
"""
_NO_ENGINE = "127.0.0.1:1"
"""A pack dials the engine only to write a log."""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_CHANNEL_OPTIONS = [(f"grpc.max_{way}_message_length", 400 * 1024 * 1024) for way in ("send", "receive")]
"""Bytes; as many as the engine's own channel takes."""


def install(directory: Path, python: Path | str = sys.executable) -> Path:
    """Writes the launcher into a directory of PATH and returns its path.

    Args:
        directory: An existing directory that only the lab's processes have on PATH.
        python: The interpreter that has pulumi-policy and the library.
    """
    launcher = directory / NAME
    launcher.write_text(_SCRIPT.format(python=shlex.quote(str(python))), encoding="utf-8")
    launcher.chmod(0o755)
    return launcher


@contextmanager
def running(pack: Path = PACK) -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """Starts a pack as the engine does and gives what the engine would ask it through.

    Raises:
        LabError: The pack ended, or produced no output for a minute.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [str(install(Path(directory))), _NO_ENGINE, ".", "-virtualenv=none"]
        with subprocess.Popen(command, cwd=pack, stdout=subprocess.PIPE, env=os.environ.copy()) as process:
            try:
                address = f"127.0.0.1:{_port(process)}"
                with grpc.insecure_channel(address, _CHANNEL_OPTIONS) as channel:
                    yield analyzer_pb2_grpc.AnalyzerStub(channel)
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(_START_SECONDS) else b""
    if not line.strip().isdigit():
        raise LabError("the policy pack did not start; see its output above")
    return int(line)
