"""The folder of the lab's files: git-ignored, readable by its owner only.

This module uses the standard library only, because it runs before packages are installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

_LOCK_SECONDS = 7200.0
"""Longer than the slowest set-up, a build of an hour included, so that a second run waits for the first one."""
_SILENCE_SECONDS = 20.0
"""Seconds after which a step reports that it is still running."""


class LabError(Exception):
    """An error that a person can act on; the terminal shows its `str()` only."""


@dataclass(frozen=True)
class Home:
    """The folder of one lab. It exists, with mode 0700, once this object does."""

    path: Path = ROOT / ".lab"

    def __post_init__(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    @property
    def engine(self) -> Path:
        """The Pulumi CLI with what belongs beside it, in `bin`."""
        return self.path / "engine"

    @property
    def vcenter(self) -> Path:
        """The lab's vCenter, the program."""
        return self.path / "bin" / "lab-vcenter"

    @property
    def pulumi_home(self) -> Path:
        """The lab's own PULUMI_HOME, with its own plugins."""
        return self.path / "pulumi"

    @property
    def state(self) -> Path:
        """The file backend."""
        return self.path / "state"

    @property
    def work(self) -> Path:
        """The folder in which the Automation API keeps the settings of project and stack."""
        return self.path / "work"

    @property
    def vcenter_folder(self) -> Path:
        """The folder of the running vCenter: certificates, ready file, log."""
        return self.path / "vcenter"

    @property
    def passphrase(self) -> Path:
        """The file with the passphrase of the stack's secrets."""
        return self.path / "passphrase"


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def read_text(path: Path) -> str:
    """Returns the text of a file, or an empty text where there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def digest(*texts: str, files: Iterable[Path] = ()) -> str:
    """Returns a digest that changes with any of the texts, and with the name or content of any of the files."""
    sha = hashlib.sha256()
    for text in texts:
        sha.update(f"{len(text)}:{text}".encode())
    for file in sorted(files):
        content = file.read_bytes()
        sha.update(f"{file.name}:{len(content)}:".encode() + content)
    return sha.hexdigest()


@contextlib.contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Makes a second run wait while the first one is `doing` something; the kernel frees the lock of a killed process.

    Raises:
        LabError: The other run took longer than two hours.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        is_reported = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_reported:
                    print(f"Another run is {doing}. Waiting for it to end ...", flush=True)
                    is_reported = True
                if time.monotonic() > deadline:
                    raise LabError(f"another run has been {doing} for two hours; end it and try again") from None
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def going_on(step: str, every: float = _SILENCE_SECONDS) -> Iterator[None]:
    """Reports every 20 seconds that a step is still running: pip and compilers print nothing for minutes."""
    began, ended = time.monotonic(), threading.Event()

    def report() -> None:
        while not ended.wait(every):
            print(f"  ... {step} is still running after {time.monotonic() - began:.0f} s", flush=True)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()


def exit_status(action: Callable[[], object], stopped: str = "run it again to start from the beginning") -> int:
    """Runs the action of a command, prints its error, and returns the exit status.

    Args:
        action: What the command does.
        stopped: What is printed about its state after Ctrl-C.
    """
    try:
        action()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; {stopped}", file=sys.stderr)
        return 130
    return 0
