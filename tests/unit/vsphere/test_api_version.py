"""The API version that a session speaks."""

from __future__ import annotations

import pytest

from pulumi_customization_gate.vsphere import api_version as versions


@pytest.mark.parametrize(
    ("api_version", "spoken"),
    [
        ("6.5", "vim.version.version11"),
        ("6.7", "vim.version.version12"),
        ("7.0.0.0", "vim.version.v7_0"),
        ("7.0.2", "vim.version.v7_0_2_0"),
        ("7.0.2.0", "vim.version.v7_0_2_0"),
        ("7.0.3.2", "vim.version.v7_0_3_2"),
        ("8.0.3.0", "vim.version.v8_0_3_0"),
        ("7.0.3.99", "vim.version.v7_0_3_2"),
    ],
)
def test_best_version(api_version: str, spoken: str) -> None:
    """Server and client speak the newest version that both know."""
    assert spoken == versions.best(api_version)


def test_a_server_newer_than_pyvmomi_is_spoken_to_in_its_newest_version() -> None:
    """A version that is not known yet is no reason to fall back to an old one."""
    assert versions.best("999.0.0.0") == versions.best("998.0.0.0") != versions.OLDEST


@pytest.mark.parametrize("api_version", ["", "unknown", "1.0"])
def test_a_version_that_nobody_knows_is_answered_in_the_oldest(api_version: str) -> None:
    """A server that says nothing useful is asked in the version that all know."""
    assert versions.best(api_version) == versions.OLDEST


@pytest.mark.parametrize(("reported", "expected"), [("6.5", True), ("6.6.9", True), ("6.7", False), ("7.0.3.2", False)])
def test_a_server_older_than_6_7_is_too_old(reported: str, expected: bool) -> None:
    """VCenter 6.7 is the oldest that is supported."""
    assert versions.is_too_old(reported) is expected
