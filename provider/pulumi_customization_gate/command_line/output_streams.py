"""Standard output and standard error whose write errors end the program with a sentence instead of a traceback."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

_WRITE_FAILED = 2
_READER_LEFT = 141
"""As if the signal SIGPIPE had ended the program: 128 and the signal's number."""


class _StandardFile(io.FileIO):
    """The file under a standard stream: text, bytes and what is still in a buffer at the end all pass through it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream.fileno(), "wb", closefd=False)
        self._is_output = stream is sys.stdout

    def write(self, data: Buffer, /) -> int:
        """Writes, or ends the program."""
        try:
            return super().write(data)
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> NoReturn:
        # What is still in the buffer is written once more when the interpreter exits.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        if error.errno == errno.EPIPE:
            raise SystemExit(_READER_LEFT) from None
        if self._is_output and sys.stderr is not None:
            sys.stderr.write(f"customization-gate: cannot write to standard output: {error.strerror}\n")
        raise SystemExit(_WRITE_FAILED) from None


@contextlib.contextmanager
def write_errors_reported() -> Iterator[None]:
    """Guards both streams for the length of the program; what an encoding lacks is written as an escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # None where the program was started with a closed stream
            guarded = io.TextIOWrapper(
                io.BufferedWriter(_StandardFile(stream)),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, guarded)
    try:
        yield
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()
