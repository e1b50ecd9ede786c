"""Where the lab keeps what it builds, fetches and remembers: one git-ignored folder that only its owner can read.

Nothing here needs an installed package, because it runs before there is one.
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

_LOCK_SECONDS = 1800.0
"""Longer than the slowest set-up, so that a second run waits for the first instead of giving up on it."""
_SILENCE_SECONDS = 20.0
"""How long a step may last before a person wonders whether anything still happens."""


class LabError(Exception):
    """Something a person can act on; `str()` is all that the terminal shows of it."""


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
        """The lab's own PULUMI_HOME: its plugins lie here, away from anyone else's."""
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
    def data_centre(self) -> Path:
        """What the running vCenter leaves: certificates, ready file, log."""
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
    """Returns the text of a file, or nothing where there is no such file."""
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
    """Keeps a second run out while the first one is `doing` something; the kernel frees the lock of a dead process.

    Raises:
        LabError: The other run took longer than half an hour.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    print(f"Another run is {doing}: waiting for it.", flush=True)
                    told = True
                if time.monotonic() > deadline:
                    raise LabError(f"Another run has been {doing} for half an hour; end it and try again.") from None
                time.sleep(0.1)
        yield


@contextlib.contextmanager
def going_on(step: str, every: float = _SILENCE_SECONDS) -> Iterator[None]:
    """Says now and then, for the length of a block, that its step goes on: pip and compilers are silent for minutes."""
    began, ended = time.monotonic(), threading.Event()

    def tell() -> None:
        while not ended.wait(every):
            print(f"  ... {step} goes on, {time.monotonic() - began:.0f} s so far", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def exit_status(action: Callable[[], object], stopped: str = "the next run starts cleanly") -> int:
    """Runs what a command is there for, and returns its exit status once whatever went wrong has been told.

    Args:
        action: What the command does.
        stopped: What is told of its state to whoever has stopped it.
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
