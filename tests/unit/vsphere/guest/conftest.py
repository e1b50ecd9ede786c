"""A guest in memory, and work in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.unit.vsphere.guest.fake_guest import FakeGuest, guest_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_customization_gate.vsphere.guest.operations import Guest


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGuest:
    return guest_of(monkeypatch)


@pytest.fixture
def guest(fake: FakeGuest) -> Iterator[Guest]:
    assert fake.runs == []
    with contextlib.ExitStack() as held:
        yield opened(held)
