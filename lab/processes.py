"""Runs child processes with a time-out, and ends their process groups."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import psutil

from lab.paths import LabError, going_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL = 30


def run(
    step: str,
    command: Sequence[str | Path],
    *,
    seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    after_timeout: str = "",
) -> str:
    """Runs a command to its end and returns what it wrote to standard output.

    Args:
        step: What the command does, for the error.
        command: Program and arguments; secrets belong in `stdin` or a file, never here.
        seconds: The time-out. The command has a process group of its own, and all of it is ended.
        cwd: The folder to run in.
        env: Variables to set beside those of this process.
        stdin: What the command reads.
        after_timeout: What to do once the command took too long, for the error.

    Raises:
        LabError: The command is missing, failed, or took too long; with the end of its output.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise LabError(f"{step} failed: {error}") from error
    with process, going_on(step):
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            _end_group(process)
            text = f"{step} took longer than {seconds:.0f} seconds and was ended"
            raise LabError(f"{text}. {after_timeout}" if after_timeout else text) from None
        except BaseException:
            # Ctrl-C: the process group does not get the terminal's signal.
            _end_group(process)
            raise
    if process.returncode:
        tail = "\n".join((out + err).rstrip().splitlines()[-_TAIL:])
        raise LabError(f"{step} failed with exit status {process.returncode}:\n{tail}")
    return out


def end_leftovers(variable: str, value: str, words: Sequence[str]) -> int:
    """Ends the processes that a killed run left running, and returns their number.

    Args:
        variable: An environment variable that identifies the processes of a run.
        value: Its value.
        words: At least one of these is in the command line of such a process.
    """
    leftovers = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if any(word in line for word in words) and process.environ().get(variable) == value:
                process.terminate()
                leftovers.append(process)
    _, alive = psutil.wait_procs(leftovers, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return len(leftovers)


def _end_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
