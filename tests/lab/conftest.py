"""Fixtures for the tests against the lab's servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.fault_harness import FaultHarness, open_harness
from tests.lab.vcenter_fixture import VCenter, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """One vCenter for all tests that clone their own VMs and leave no fault behind."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2") as vcenter:
        yield vcenter


@pytest.fixture(scope="module")
def faulty_vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VCenter]:
    """A vCenter with two hosts, for the tests of one module that inject faults into it."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2", "-hosts", "2") as vcenter:
        yield vcenter


@pytest.fixture
def harness(faulty_vcenter: VCenter, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultHarness]:
    """A harness for faults on that vCenter. What a test leaves open on the server fails the test."""
    with open_harness(faulty_vcenter, monkeypatch) as one:
        yield one
