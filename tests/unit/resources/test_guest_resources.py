"""GuestFile and GuestScript as a program writes them: what they register with the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime import test as run_as_program

from pulumi_customization_gate import GuestFile, GuestScript

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Engine


def registered(engine: Engine, make: Callable[[], pulumi.CustomResource]) -> dict[str, Any]:
    """Returns what the engine is given of a resource, without the provider."""

    @run_as_program  # type: ignore[untyped-decorator]  # the SDK's own decorator
    def program() -> Any:
        return make().id

    program()
    (inputs,) = engine.inputs.values()
    return {name: value for name, value in inputs.items() if name != "__provider"}


def test_a_file_is_registered_with_its_text(engine: Engine) -> None:
    """What is not given is not there; the content is as written."""
    inputs = registered(engine, lambda: GuestFile("f", "vm-1", "/etc/motd", content="hello", permissions="0644"))

    assert inputs == {"vm": "vm-1", "path": "/etc/motd", "content": "hello", "permissions": "0644"}


@pytest.mark.parametrize(
    ("source", "key", "value"),
    [
        pytest.param("motd", "source", str(Path("motd").absolute()), id="path"),
        pytest.param(pulumi.FileAsset("motd"), "source", str(Path("motd").absolute()), id="FileAsset"),
        pytest.param(pulumi.StringAsset("hello"), "content", "hello", id="StringAsset"),
    ],
)
def test_a_source_is_a_path_or_an_asset(engine: Engine, source: Any, key: str, value: str) -> None:
    """A path becomes absolute, because the provider runs in another folder."""
    assert registered(engine, lambda: GuestFile("f", "vm-1", "/etc/motd", source=source))[key] == value


def test_an_archive_is_resolved_to_paths_and_secret_texts(engine: Engine) -> None:
    """Nested archives are one map: a place that ends with a slash takes a directory or an archive."""
    archive = pulumi.AssetArchive(
        {
            "page": pulumi.FileAsset("page.html"),
            "etc": pulumi.AssetArchive({"conf.d": pulumi.FileArchive("conf.zip"), "port": pulumi.StringAsset("8080")}),
        }
    )
    inputs = registered(engine, lambda: GuestFile("f", "vm-1", "/srv/site", source=archive))
    assert inputs["source"] == {
        "page": str(Path("page.html").absolute()),
        "./etc/conf.d/": str(Path("conf.zip").absolute()),
    }
    assert inputs["texts"]["value"] == {"etc/port": "8080"}
    assert inputs["secret_inputs"] == ["texts"]


def test_a_file_archive_is_unpacked_at_the_path(engine: Engine) -> None:
    """A plain path to the same file would be copied as one file."""
    inputs = registered(engine, lambda: GuestFile("g", "vm-1", "/srv/site", source=pulumi.FileArchive("site.zip")))
    assert inputs["source"] == {"./": str(Path("site.zip").absolute())}
    assert "texts" not in inputs


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="neither"),
        pytest.param({"content": "a", "source": "b"}, id="both"),
        pytest.param({"source": pulumi.RemoteAsset("https://example.com/")}, id="remote asset"),
        pytest.param({"source": pulumi.RemoteArchive("https://example.com/")}, id="remote archive"),
        pytest.param(
            {"source": pulumi.AssetArchive({"a": pulumi.RemoteAsset("https://example.com/")})}, id="remote, within"
        ),
    ],
)
def test_a_file_has_one_content(arguments: dict[str, Any]) -> None:
    """The mistake is a TypeError where it is written."""
    with pytest.raises(
        TypeError, match=r"content and source|expected a local (path|asset)|expected a pulumi.FileArchive"
    ):
        GuestFile("f", "vm-1", "/etc/motd", **arguments)


def test_a_script_is_registered_with_its_text_or_that_of_its_file(engine: Engine, tmp_path: Path) -> None:
    """The file is read where the program runs."""
    (tmp_path / "run.sh").write_text("echo hello")
    inputs = registered(engine, lambda: GuestScript("s", "vm-1", script_path=tmp_path / "run.sh", triggers=[1]))

    assert (inputs["script"], inputs["triggers"]) == ("echo hello", [1])


def test_a_script_has_one_text() -> None:
    """The mistake is a TypeError where it is written."""
    with pytest.raises(TypeError, match="script"):
        GuestScript("s", "vm-1")


def test_the_provider_learns_which_inputs_are_secret(engine: Engine) -> None:
    """The engine unwraps secrets on their way: their names go along, also of those inside a list."""
    secret = pulumi.Output.secret("canary")
    inputs = registered(
        engine,
        lambda: GuestScript("s", "vm-1", script="true", arguments=["a", secret], triggers={"public": "b"}),
    )

    assert "arguments" in inputs["secret_inputs"]
    assert "triggers" not in inputs["secret_inputs"]
