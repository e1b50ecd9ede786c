"""What is left on the screen when the engine has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pulumi.automation import CommandResult
from pulumi.automation.errors import CommandError, ConcurrentUpdateError, create_command_error

from lab.console import EngineError, error_text, show
from lab.paths import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE = ["Updating (lab):", "", " +  pulumi:pulumi:Stack lab creating (0s)"]
WRONG = ["\x1b[38;5;13m\x1b[1mDiagnostics:\x1b[0m", "  gate (web):", "    error: customization failed", ""]
OUTPUTS = ["Outputs:", '    ready: "of an earlier run"', ""]
REST = ["Resources:", "    4 unchanged", "", "\x1b[1mDuration:\x1b[0m 5s"]


def engine(*lines: str, stderr: str = "", fails: bool = False) -> Callable[..., None]:
    """Returns an operation that says these lines."""

    def operation(*, on_output: Callable[[str], None], on_error: Callable[[str], None], **_: Any) -> None:
        for line in lines:
            on_output(line)
        if stderr:
            on_error(stderr)
        if fails:
            raise create_command_error(CommandResult(stdout="", stderr=stderr, code=255))

    return operation


def test_a_good_end_is_shown_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of the engine is there, in its order, but for the advice about a backend that stays."""
    lines = [*LIVE, *WRONG, *OUTPUTS, *REST]
    show(engine(*lines, "The resources in the stack have been deleted, but"), {})
    assert capsys.readouterr().out.splitlines() == lines


def test_a_failure_leaves_the_error_for_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong is handed over to be shown last, and the outputs of earlier runs are not shown at all."""
    with pytest.raises(EngineError) as error:
        show(engine(*LIVE, *WRONG, *OUTPUTS, *REST, stderr="error: update failed", fails=True), {})
    assert capsys.readouterr().out.splitlines() == [*LIVE, *REST]
    assert error_text(error.value).splitlines() == [*WRONG, "error: update failed"]


def test_a_failure_without_a_word_is_still_one() -> None:
    """An engine that ends without any output is reported with its exit status."""
    with pytest.raises(EngineError, match="code: 255"):
        show(engine(fails=True), {})


def test_a_locked_stack_is_another_matter() -> None:
    """A run that meets a concurrent run is not a failure of the engine: it may be retried."""
    with pytest.raises(ConcurrentUpdateError):
        show(engine(stderr="[409] Conflict: Another update is currently in progress.", fails=True), {})


@pytest.mark.parametrize("error", [LabError("no such VM"), CommandError(CommandResult("", "", 1))])
def test_other_errors_are_introduced(error: Exception) -> None:
    """An error that did not come from an operation of the engine says that it is one."""
    assert error_text(error).startswith("error: ")
