"""The protocol of a source, and the classes that keep it."""

from __future__ import annotations

import inspect

import pytest

from pulumi_customization_gate.cloud_director.source import CloudDirectorSource
from pulumi_customization_gate.core.source import Readiness, Source
from pulumi_customization_gate.vsphere.readiness import GuestReadiness
from pulumi_customization_gate.vsphere.source import VsphereSource


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        pytest.param(VsphereSource, Source, id="vSphere"),
        pytest.param(CloudDirectorSource, Source, id="Cloud Director"),
        pytest.param(GuestReadiness, Readiness, id="readiness"),
    ],
)
def test_each_method_takes_what_the_protocol_says(kind: type, protocol: type) -> None:
    """The wait calls a source by the protocol alone: names and order of arguments are its."""
    methods = [name for name, member in vars(protocol).items() if inspect.isfunction(member) and name[0] != "_"]

    assert methods
    for name in methods:
        expected = list(inspect.signature(getattr(protocol, name)).parameters)
        assert expected == list(inspect.signature(getattr(kind, name)).parameters), name
