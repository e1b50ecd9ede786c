"""What the tests against the lab's servers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.centre import Centre, running
from tests.lab.scene import Scene, scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One lab for all tests that have machines of their own and leave no fault behind."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2") as centre:
        yield centre


@pytest.fixture(scope="module")
def ill_fated_vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """A lab of two hosts, for the tests of one module that let faults happen to it."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2", "-hosts", "2") as centre:
        yield centre


@pytest.fixture
def stage(ill_fated_vcenter: Centre, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A scene before that lab; what a test leaves of it on the server fails the test."""
    with scene(ill_fated_vcenter, monkeypatch) as one:
        yield one
