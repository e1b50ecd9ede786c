"""The schema of the native provider's package follows the description of arguments and outputs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lab.paths import ROOT
from pulumi_customization_gate.lifecycle.spelling import camel
from pulumi_customization_gate.plugin import schema
from pulumi_customization_gate.plugin.resources import RESOURCES


def test_the_stored_schema_is_the_one_that_is_made() -> None:
    """What the provider returns is up to date: `python -m pulumi_customization_gate.plugin.schema` renews it."""
    assert schema.FILE.read_text(encoding="utf-8") == schema.text()


def test_the_python_package_does_not_take_the_name_of_the_library() -> None:
    """A generated SDK named as the library would be installed over it."""
    assert schema.package_schema()["language"]["python"]["packageName"] != "pulumi_customization_gate"


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=lambda resource: resource.name)
def test_a_resource_has_every_argument_and_output(resource: Any) -> None:
    """All but the namespace, which a provider of its own takes the place of; what is required and what is a secret."""
    made = schema.package_schema()["resources"][resource.type]
    arguments = {argument.name: argument for argument in resource.arguments}
    extra = {camel(one.name) for one in resource.inputs}
    assert set(made["inputProperties"]) == {camel(name) for name in arguments} | extra
    assert "configNamespace" not in made["inputProperties"]
    assert made["requiredInputs"] == [camel(name) for name, argument in arguments.items() if argument.is_required]
    assert {camel(output.name) for output in resource.outputs} <= set(made["properties"])
    hidden = {name for name, spec in made["inputProperties"].items() if spec.get("secret")}
    assert hidden == {camel(name) for name in resource.secrets}


def test_descriptions_are_plain_text_and_references_lead_somewhere() -> None:
    """Every property has a sentence without markup, and every reference names a type of the schema."""
    made = schema.package_schema()
    found: list[dict[str, Any]] = []

    def walk(value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            if name in {"properties", "inputProperties", "variables"}:
                found.extend(value.values())
            for key, item in value.items():
                walk(item, key)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(made)
    assert [spec for spec in found if not spec["description"].endswith(".") or "`" in spec["description"]] == []
    references = {text for text in json.dumps(made).split('"') if text.startswith("#/types/")}
    assert {reference.removeprefix("#/types/") for reference in references} == set(made["types"])


def test_the_plugin_folder_installs_what_the_provider_needs() -> None:
    """The requirements are those of the library, without the SDK of vSphere, for which the CLI would get a plugin."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    library = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert library is not None
    needed = re.findall(r'^    "(.*?)"', library[1], re.MULTILINE)
    lines = (ROOT / "provider" / "requirements.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert listed == [one for one in needed if not one.startswith("pulumi-vsphere")]


def test_choices_are_enumerations() -> None:
    """A word that is one of a few is an enumeration, also in outputs."""
    types = schema.package_schema()["types"]
    values = {
        token.rpartition(":")[2]: [one["value"] for one in spec["enum"]]
        for token, spec in types.items()
        if "enum" in spec
    }
    assert values["ReadyWhen"] == ["customized", "guest_operations"]
    assert values["CustomizationStatus"][:2] == ["VmNotStarted", "CustomizationNotStarted"]
    assert {"Platform", "Expect", "OnFailure", "Log", "Color", "FailureKind", "Evidence"} <= set(values)
