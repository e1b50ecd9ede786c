"""What a run of a script left behind, as the wrapper writes it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Ending(enum.Enum):
    """How a run ended, as the wrapper has it."""

    EXITED = "exited"
    NONE = "none"
    """It was killed, or the guest went down."""
    NEVER = "never"
    """It was stopped before it started."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    ending: Ending
    exit_code: int | None
    """None unless it ended by itself."""
    stdout: str
    stderr: str
    stdout_truncated: bool
    stderr_truncated: bool
    began: int
    """Seconds since 1970 by the guest's clock; 0 where it never started."""
    ended: int
    stdout_total: int = field(default=0, compare=False)
    """Bytes of output that there were."""

    @classmethod
    def parse(cls, content: bytes, limit: int) -> Outcome:
        """Reads what the wrapper wrote: a line of seven words, then the ends of both outputs.

        Args:
            content: The file.
            limit: Bytes of each output that are kept, as UTF-8.

        Raises:
            ValueError: If this is not such a file.
        """
        header, _, body = content.partition(b"\n")
        code, *numbers = header.decode("ascii").split()
        out_total, out_kept, err_total, err_kept, began, ended = map(int, numbers)
        if len(body) != out_kept + err_kept:
            raise ValueError(f"expected {out_kept + err_kept} bytes of output, got {len(body)}")
        stdout, stdout_truncated = text_end(body[:out_kept], limit, is_end=out_kept < out_total)
        stderr, stderr_truncated = text_end(body[out_kept:], limit, is_end=err_kept < err_total)
        is_word = code in {Ending.NONE.value, Ending.NEVER.value}
        return cls(
            ending=Ending(code) if is_word else Ending.EXITED,
            exit_code=None if is_word else int(code),
            stdout=stdout,
            stderr=stderr,
            stdout_truncated=stdout_truncated,
            stderr_truncated=stderr_truncated,
            began=began,
            ended=ended,
            stdout_total=out_total,
        )


def text_end(output: bytes, limit: int, *, is_end: bool) -> tuple[str, bool]:
    """Returns the end of an output as text that has at most `limit` bytes in UTF-8, and whether there was more.

    Bytes that are not UTF-8 become U+FFFD, which has three. A character that the cut has split is left out.
    """
    text = _whole_characters(output, is_end=is_end).decode("utf-8", errors="replace")
    encoded = text.encode()
    if len(encoded) <= limit:
        return text, is_end
    return encoded[len(encoded) - limit :].decode("utf-8", errors="ignore"), True


def _whole_characters(output: bytes, *, is_end: bool) -> bytes:
    if not is_end:
        return output
    return output[next((i for i, byte in enumerate(output[:4]) if byte & 0xC0 != 0x80), 0) :]  # noqa: PLR2004 -- UTF-8
