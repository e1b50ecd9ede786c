"""What is shown of a script's output while it runs."""

from __future__ import annotations

from pulumi_customization_gate.lifecycle.live_output import LiveOutput
from pulumi_customization_gate.vsphere.guest.outcome import Ending, Outcome


class Engine:
    """Keeps the lines."""

    urn, custom_timeout = "", 0.0

    def __init__(self, *, has_terminal: bool = False) -> None:
        self.has_terminal = has_terminal
        self.lines: list[tuple[str, bool]] = []

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:  # noqa: ARG002 -- the protocol's
        self.lines.append((message, lasting))

    def cancelled(self) -> bool:
        return False


def _outcome(stdout: str, total: int) -> Outcome:
    return Outcome(Ending.EXITED, 0, stdout, "", False, False, 1, 2, total)  # noqa: FBT003 -- short


def test_every_line_is_logged_once() -> None:
    """A line is logged when it is whole; the last one when the script has ended."""
    engine = Engine()
    live = LiveOutput(engine, {}, logs_all=True)
    live.show(5, b"a\nb\nc")
    live.show(8, b"a\nb\ncd\ne")
    live.show(8, b"a\nb\ncd\ne")
    live.finish(_outcome("a\nb\ncd\nef", 9))
    assert engine.lines == [(line, True) for line in ("a", "b", "cd", "ef")]


def test_what_came_too_fast_is_counted() -> None:
    """The end of an output is all that is kept of it: how much is not shown is logged, with the line that is cut."""
    engine = Engine()
    LiveOutput(engine, {}, logs_all=True).show(100, b"x\nlast\n")
    assert engine.lines == [("(95 bytes of output are not shown)", True), ("last", True)]


def test_the_last_line_is_shown_on_a_terminal() -> None:
    """It does not last, and is sanitized."""
    engine = Engine(has_terminal=True)
    live = LiveOutput(engine, {}, logs_all=False)
    live.show(20, b"one\n\x1b[31mtwo\x1b[0m\n")
    live.finish(_outcome("one\ntwo\n", 8))
    assert engine.lines == [("two", False)]
    assert live.is_wanted
    assert not LiveOutput(Engine(), {}, logs_all=False).is_wanted


def test_no_line_shows_a_secret_input() -> None:
    """Neither one that is longer than a line may be, nor one of several lines, nor one of which the end is read."""
    token, key = "t" * 600, "first line\nsecond line\n"
    engine = Engine(has_terminal=True)
    inputs = {"environment": {"TOKEN": token}, "stdin": key}
    output = f"a\n{token}\n{key}b\n".encode()
    LiveOutput(engine, inputs, logs_all=True).show(len(output), output)
    LiveOutput(engine, inputs, logs_all=False).show(len(output), output[100:-2])
    LiveOutput(engine, inputs, logs_all=False).show(len(output), output[100:500])
    secret = "[secret]"
    assert [line for line, _ in engine.lines] == ["a", secret, secret, "b", secret]
