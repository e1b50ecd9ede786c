"""The library's log: no output until it is enabled, then on standard error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate import log

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("pulumi_customization_gate.vsphere.session")


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    logger = logging.getLogger("pulumi_customization_gate")
    before, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("debug", True, id="debug"),
        pytest.param(" DEBUG ", True, id="in capitals"),
        pytest.param("", False, id="empty"),
        pytest.param("0", False, id="something else"),
    ],
)
def test_the_variable_shows_the_log(value: str, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The provider writes its log only where the variable says debug."""
    log.show_if_asked({log.VARIABLE: value})
    LOGGER.debug("connected")

    assert shown == ("pulumi_customization_gate.vsphere.session: connected" in capsys.readouterr().err)


def test_a_line_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The provider is configured more than once in a process; each line is still written once."""
    log.show()
    log.show()
    LOGGER.debug("connected")

    assert capsys.readouterr().err.count("connected") == 1
