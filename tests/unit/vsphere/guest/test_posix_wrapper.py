"""The wrapper that runs a script in a POSIX guest, run by this computer's own sh."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome
from pulumi_customization_gate.vsphere.guest.program import CANNOT_CLAIM, RUN, SETTLE, STOP, Script, program_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
SECONDS = 20.0


class Directory:
    """The directory of one attempt on this computer."""

    def __init__(self, path: Path, script: Script) -> None:
        self.path = path
        self._program, self._limit = program_for(script, windows=False), script.output_limit
        for name, content in self._program.files.items():
            (path / name).write_bytes(content)

    def command(self, word: str) -> list[str]:
        return ["/bin/sh", "-c", f"{self._program.path} {self._program.command(str(self.path), word)}"]

    def call(self, word: str) -> int:
        """Calls the wrapper, and returns its exit code."""
        return subprocess.run(self.command(word), check=False, timeout=SECONDS, stderr=subprocess.DEVNULL).returncode

    def outcome(self) -> Outcome:
        return Outcome.parse((self.path / "outcome").read_bytes(), self._limit)

    def run(self) -> Outcome:
        assert self.call(RUN) == 0
        return self.outcome()

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Runs the script in the background; what is left of it ends with the block."""
        with subprocess.Popen(self.command(RUN), start_new_session=True) as wrapper:
            until((self.path / "process").exists)
            pid = int((self.path / "process").read_text().split()[0])
            try:
                yield wrapper
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, 9)
                wrapper.kill()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@given(argument=TEXTS, value=TEXTS)
def test_arguments_and_variables_arrive_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, argument: str, value: str
) -> None:
    """No character of an argument or a variable means anything to the shells on the way."""
    script = Script('printf "%s\\001%s" "$1" "$session"', arguments=[argument], environment={"session": value})
    outcome = Directory(tmp_path_factory.mktemp("it's a guest"), script).run()
    assert outcome.stdout.encode() == f"{argument}\1{value}".encode()


def test_a_run_is_claimed_once(tmp_path: Path) -> None:
    """The second delivery of the same request finds the run claimed, before the end of the script and after it."""
    directory = Directory(tmp_path, Script(f"echo run >>{tmp_path}/log; sleep 0.3"))
    with subprocess.Popen(directory.command(RUN)) as first, subprocess.Popen(directory.command(RUN)) as second:
        assert {first.wait(SECONDS), second.wait(SECONDS)} == {0}
    assert directory.outcome().exit_code == 0
    directory.call(RUN)
    assert (tmp_path / "log").read_text() == "run\n"


def test_a_directory_that_cannot_be_written_is_distinguished_from_a_run_that_is_claimed(tmp_path: Path) -> None:
    """A full disk or a read-only file system gives an exit code of its own, and nothing runs."""
    directory = Directory(tmp_path, Script(f"echo run >>{tmp_path}/log"))
    program = (tmp_path / "program.sh").read_text()
    # Root writes anywhere, so the failure is that of `ln`, as a disk without room for a directory entry has it.
    (tmp_path / "program.sh").write_text(f"ln() {{ return 1; }}\n{program}")
    assert directory.call(RUN) == CANNOT_CLAIM
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "outcome").exists()


def test_the_scripts_own_path_takes_nothing_from_the_wrapper(tmp_path: Path) -> None:
    """`PATH` in the environment is the script's own: interpreter and setsid are found by the wrapper's."""
    outcome = Directory(tmp_path, Script('echo "$PATH"', environment={"PATH": "/nowhere"})).run()
    assert (outcome.exit_code, outcome.stdout) == (0, "/nowhere\n")


def test_an_empty_variable_stays_set(tmp_path: Path) -> None:
    """An empty value is a value."""
    outcome = Directory(tmp_path, Script('echo "${EMPTY-unset}"', environment={"EMPTY": ""})).run()
    assert outcome.stdout == "\n"


def test_standard_input_is_given(tmp_path: Path) -> None:
    """A script reads what it is given, and nothing of it is left."""
    outcome = Directory(tmp_path, Script("cat; echo end", stdin="line 1\nline 2")).run()
    assert outcome.stdout == "line 1\nline 2end\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claim", "outcome"]


def test_a_script_whose_process_cannot_be_recorded_is_not_called_failed(tmp_path: Path) -> None:
    """It runs on, and its exit code is its own."""
    directory = Directory(tmp_path, Script("sleep 0.2; exit 3"))
    (tmp_path / "process.part").mkdir()
    assert directory.run().exit_code == 3


def test_stop_ends_the_script_and_its_children(tmp_path: Path) -> None:
    """Children that ignore the signal are killed."""
    text = f"trap '' TERM; sh -c 'sleep 120; : {tmp_path}' & echo working; sleep 120"
    directory = Directory(tmp_path, Script(text))
    program = (tmp_path / "program.sh").read_text()
    assert program.count("        sleep 1\n") == 2
    (tmp_path / "program.sh").write_text(program.replace("        sleep 1\n", "        sleep 0.1\n"))
    with directory.running() as wrapper:
        until(lambda: (tmp_path / "stdout").read_bytes() == b"working\n")
        assert directory.call(STOP) in {0, 1}
        wrapper.wait(SECONDS)
    assert directory.outcome().exit_code == 137
    assert [p for p in psutil.process_iter(["cmdline"]) if f": {tmp_path}" in " ".join(p.info["cmdline"] or ())] == []


def test_stop_before_the_start_keeps_the_script_from_starting(tmp_path: Path) -> None:
    """A request that arrives after `stop` runs nothing."""
    directory = Directory(tmp_path, Script(f"echo run >>{tmp_path}/log"))
    assert directory.call(STOP) == 0
    assert directory.outcome().ending is Ending.NEVER
    directory.call(RUN)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda pid, start, boot: (pid, str(int(start) + 1), boot), id="another start time"),
        pytest.param(lambda pid, start, _: (pid, start, "00000000-0000-0000-0000-000000000000"), id="another boot"),
        pytest.param(lambda pid, _start, boot: (pid, "", boot), id="no start time"),
    ],
)
def test_a_stranger_under_an_old_number_is_not_ended(
    tmp_path: Path, change: Callable[[str, str, str], tuple[str, str, str]]
) -> None:
    """`stop` ends only the process that was recorded: PID, start time and boot, of which one alone is not enough."""
    directory = Directory(tmp_path, Script("true"))
    with subprocess.Popen(["/bin/sleep", "120"], start_new_session=True) as stranger:
        started = _identity(stranger.pid)
        (tmp_path / "claim").write_text("\n".join(change(*started)) + "\n")
        (tmp_path / "process").write_text("\n".join(change(*started)) + "\n")
        directory.call(STOP)
        assert stranger.poll() is None
        stranger.kill()


def _identity(pid: int) -> tuple[str, str, str]:
    """Returns PID, start time and boot as the kernel has them."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return str(pid), stat.rpartition(")")[2].split()[19], boot.strip()


def test_a_recorded_process_is_ended(tmp_path: Path) -> None:
    """The identity that is recorded is the kernel's: PID, start time and boot."""
    directory = Directory(tmp_path, Script("sleep 120"))
    with directory.running():
        recorded = tuple((tmp_path / "process").read_text().splitlines())
        assert recorded == _identity(int(recorded[0]))


def test_a_run_that_was_killed_gets_an_outcome(tmp_path: Path) -> None:
    """For a run without processes and without an exit code, the follower gets that fact and the output so far."""
    directory = Directory(tmp_path, Script("echo working; sleep 120"))
    with directory.running() as wrapper:
        until(lambda: (tmp_path / "stdout").read_bytes() == b"working\n")
        directory.call(SETTLE)
        assert not (tmp_path / "outcome").exists()
        os.killpg(wrapper.pid, 9)
        wrapper.wait(SECONDS)
        directory.call(SETTLE)
        assert not (tmp_path / "outcome").exists(), "the script itself still runs"
        pid = int((tmp_path / "process").read_text().split()[0])
        os.killpg(pid, 9)
        until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    directory.call(SETTLE)
    assert (directory.outcome().ending, directory.outcome().stdout) == (Ending.NONE, "working\n")


def test_the_wrapper_is_posix_shell() -> None:
    """Every shell that is called sh reads it."""
    text = program_for(Script("true"), windows=False).files["program.sh"]
    for shell in filter(os.path.exists, ("/bin/sh", "/bin/dash", "/bin/bash")):
        subprocess.run([shell, "-n"], input=text, check=True)
