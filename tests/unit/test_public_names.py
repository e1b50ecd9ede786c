"""The names that others hold on to: what the packages export, and what every stack with a gate has stored."""

from __future__ import annotations

import base64
import importlib
import inspect
from typing import TYPE_CHECKING

import dill
import pulumi
import pytest
from pulumi.dynamic.dynamic import serialize_provider

import pulumi_customization_gate
from pulumi_customization_gate.core import errors

if TYPE_CHECKING:
    from pulumi.dynamic import Resource

PACKAGES = ("pulumi_customization_gate",)

FROZEN = {
    "CustomizationGate": (
        "pulumi_customization_gate.resources.gate_provider",
        "CustomizationGateProvider",
        (
            "gASVVgAAAAAAAACMMXB1bHVtaV9jdXN0b21pemF0aW9uX2dhdGUucmVzb3VyY2VzLmdhdGVfcHJvdmlkZXKUjBlDdXN0b21pemF0aW9uR2F0ZV"
            "Byb3ZpZGVylJOUKVKULg=="
        ),
    ),
    "GuestFile": (
        "pulumi_customization_gate.resources.guest_file_provider",
        "GuestFileProvider",
        (
            "gASVVAAAAAAAAACMN3B1bHVtaV9jdXN0b21pemF0aW9uX2dhdGUucmVzb3VyY2VzLmd1ZXN0X2ZpbGVfcHJvdmlkZXKUjBFHdWVzdEZpbGVQcm92"
            "aWRlcpSTlClSlC4="
        ),
    ),
    "GuestScript": (
        "pulumi_customization_gate.resources.guest_script_provider",
        "GuestScriptProvider",
        (
            "gASVWAAAAAAAAACMOXB1bHVtaV9jdXN0b21pemF0aW9uX2dhdGUucmVzb3VyY2VzLmd1ZXN0X3NjcmlwdF9wcm92aWRlcpSME0d1ZXN0U2NyaX"
            "B0UHJvdmlkZXKUk5QpUpQu"
        ),
    ),
}
"""Of each dynamic resource: where its provider is, and the text that every stack stores of it. Neither ever changes:
a stack whose text names another place cannot even be destroyed, and another text is a change of every resource."""


@pytest.mark.parametrize("name", PACKAGES)
def test_exports_are_sorted_and_there(name: str) -> None:
    """A package exports a sorted list of names without duplicates, and has each of them."""
    package = importlib.import_module(name)
    assert package.__all__ == sorted(set(package.__all__))
    assert [export for export in package.__all__ if not hasattr(package, export)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_exports_are_complete(name: str) -> None:
    """A package exports the names that it knows where to import, and no others."""
    package = importlib.import_module(name)
    assert list(package._MODULES) == package.__all__
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing


def test_every_error_is_exported() -> None:
    """A user can catch each error of the library by name."""
    public = {name for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")}
    assert public - set(pulumi_customization_gate.__all__) == set()


def test_the_errors_have_one_base() -> None:
    """`except GateError` catches everything that the library raises on purpose."""
    public = [value for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")]
    assert [error for error in public if not issubclass(error, errors.GateError)] == []


def test_every_resource_is_pinned() -> None:
    """No dynamic resource of the package is without an entry among the frozen ones."""
    exported = (getattr(pulumi_customization_gate, name) for name in pulumi_customization_gate.__all__)
    resources = {value.__name__ for value in exported if inspect.isclass(value) and issubclass(value, pulumi.Resource)}
    assert resources == set(FROZEN)


@pytest.mark.parametrize(("path", "provider", "text"), FROZEN.values(), ids=FROZEN)
def test_a_stack_stores_a_reference_to_the_provider(path: str, provider: str, text: str) -> None:
    """The text that a stack stores is the same in all stacks: it is a path, and the code at that path reads it."""
    made = getattr(importlib.import_module(path), provider)()
    assert serialize_provider(made) == text
    assert type(dill.loads(base64.b64decode(text))) is type(made)  # noqa: S301 -- this module's own text
    assert len(text) < 200


@pytest.mark.parametrize("name", FROZEN)
def test_a_type_is_frozen(name: str) -> None:
    """The type is in every resource's URN, and matches the name of the resource."""
    resource: type[Resource] = getattr(pulumi_customization_gate, name)
    assert resource._resource_type_name == f"dynamic/customization:{name}"
