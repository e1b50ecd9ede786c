"""A session on the vCenter in memory that a module's own fixture `vcenter` has set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulumi_customization_gate.vsphere.session import Session, acquire
from tests.unit.vsphere.fake_vcenter import SETTINGS, FakeVcenter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def session(vcenter: FakeVcenter) -> Iterator[Session]:
    assert vcenter
    with acquire(SETTINGS) as session:
        yield session
