"""What the tests against the lab's servers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.centre import Centre, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vcenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    """One lab for all tests that have machines of their own and leave no fault behind."""
    with running(tmp_path_factory.mktemp("vcenter"), "-vms", "2") as centre:
        yield centre
