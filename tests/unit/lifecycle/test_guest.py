"""Whether two identities are those of one guest."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.vsphere.identity import is_same_guest


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        pytest.param("server-a/vm-1/uuid-1", True, id="the same"),
        pytest.param("server-a/vm-1/", True, id="a UUID that could not be read"),
        pytest.param("server-a/vm-1/uuid-2", False, id="a later VM with the same identifier"),
        pytest.param("server-a/vm-2/", False, id="another identifier"),
        pytest.param("server-b/vm-1/", False, id="another server"),
    ],
)
def test_a_guest_is_another_one_only_where_a_known_part_differs(other: str, *, is_same: bool) -> None:
    """What vCenter does not report for a while does not make a guest another one, which would run its script again."""
    assert is_same_guest("server-a/vm-1/uuid-1", other) is is_same
    assert is_same_guest(other, "server-a/vm-1/uuid-1") is is_same
