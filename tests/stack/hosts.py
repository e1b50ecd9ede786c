"""The two hosts of the resources, for tests that hold on both of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stack.background import words_of

if TYPE_CHECKING:
    import psutil

PROCESSES = {"dynamic": "pulumi.dynamic", "plugin": "pulumi-resource-customization-gate"}
"""What is in the command line of a host's process."""
NATIVE, DYNAMIC = "customization-gate:index:", "pulumi-python:dynamic/customization:"
"""The beginnings of the types of a host's resources."""

on_both_hosts = pytest.mark.parametrize("host", ["dynamic", "plugin"])


def processes(host: Any, children: list[psutil.Process]) -> list[psutil.Process]:
    """Returns those of the processes that are the host's."""
    return [child for child in children if any(PROCESSES[host] in word for word in words_of(child))]
