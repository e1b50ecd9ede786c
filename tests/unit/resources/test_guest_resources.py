"""GuestFile and GuestScript as a program writes them: what they register with the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime import mocks
from pulumi.runtime import test as run_as_program

from pulumi_customization_gate import GuestFile, GuestScript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Engine(mocks.Mocks):
    """Keeps the inputs of each resource."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.name] = {name: value for name, value in args.inputs.items() if value is not None}
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise NotImplementedError(args.token)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    mocks.set_mocks(engine, project="p", stack="s")
    yield engine
    pulumi.runtime.settings.reset_options()


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


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="neither"),
        pytest.param({"content": "a", "source": "b"}, id="both"),
        pytest.param({"source": pulumi.RemoteAsset("https://example.com/")}, id="remote asset"),
    ],
)
def test_a_file_has_one_content(arguments: dict[str, Any]) -> None:
    """The mistake is a TypeError where it is written."""
    with pytest.raises(TypeError, match=r"content and source|expected a local path"):
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
