"""Runs a Python policy pack where the Pulumi CLI has no language hosts, or where there is no CLI at all.

The official bundle starts the folder of a pack through its Python language host. A CLI built from Go modules has none;
instead of a folder it takes a program that serves the pack, and the lab writes a small one.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
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

PACK = ROOT / "policy"

_LANGUAGE_HOST = "pulumi-language-python"
# The engine passes its own address.
_SCRIPT = """\
#!/bin/sh
exec {python} -u -m pulumi.policy "$1" {pack}
"""
_NO_ENGINE = "127.0.0.1:1"
"""A pack dials the engine only to write a log."""
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_CHANNEL_OPTIONS = [(f"grpc.max_{way}_message_length", 400 * 1024 * 1024) for way in ("send", "receive")]
"""Bytes; as many as the engine's own channel takes."""


def runnable(pulumi: Path, directory: Path, pack: Path = PACK) -> Path:
    """Returns what `--policy-pack` takes with this CLI: the pack's folder, or a program that serves it.

    Args:
        pulumi: The CLI.
        directory: An existing folder for the program, where the CLI has no Python language host.
        pack: The folder of the pack; the program runs it in the environment of this process.
    """
    host = (pulumi.resolve().parent / _LANGUAGE_HOST).exists() or shutil.which(_LANGUAGE_HOST)
    return pack if host else _write_program(directory, pack)


def _write_program(directory: Path, pack: Path) -> Path:
    program = directory / f"{pack.name}-pack"
    script = _SCRIPT.format(python=shlex.quote(sys.executable), pack=shlex.quote(str(pack)))
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    return program


@contextmanager
def running(pack: Path = PACK) -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """Starts a pack as the engine does and gives what the engine would ask it through.

    Raises:
        LabError: The pack ended, or produced no output for a minute.
    """
    with tempfile.TemporaryDirectory() as directory:
        command = [str(_write_program(Path(directory), pack)), _NO_ENGINE]
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
