"""Every rule about the inputs of guest scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.lifecycle.engine import UNKNOWN
from pulumi_customization_gate.lifecycle.guest_arguments import (
    GuestFileArguments,
    GuestScriptArguments,
    credentials,
    file_problems,
    script_problems,
)
from pulumi_customization_gate.lifecycle.inputs import BadInput, reasons, without_secrets
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials
from pulumi_customization_gate.vsphere.guest.program import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

GOOD = {"vm": "vm-87", "script": "true"}


def _problems(**inputs: Any) -> dict[str, str]:
    return _texts(script_problems({**GOOD, **inputs}))


def _texts(problems: Iterable[BadInput]) -> dict[str, str]:
    found = list(problems)
    names = list(dict.fromkeys(problem.argument for problem in found))
    return dict(zip(names, reasons(found, {}), strict=True))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("vm", "web", "or a resource with a moid, got 'web'", id="a bare name"),
        pytest.param(
            "vm", None, "expected a VM's reference, for example gate.after(web.moid), got nothing", id="no VM"
        ),
        pytest.param("script", "", "a string that is not empty", id="no script"),
        pytest.param("script", 3, "a string that is not empty", id="a number for a script"),
        pytest.param("interpreter", " ", "a string that is not empty", id="a blank interpreter"),
        pytest.param("arguments", "--x", "expected a list of strings", id="arguments in one string"),
        pytest.param(
            "arguments", [8080], "arguments[0]: expected a list of strings", id="a number among the arguments"
        ),
        pytest.param("environment", ["A=1"], "expected a map of strings by name", id="a list of variables"),
        pytest.param(
            "environment", {"A-B": "1"}, "environment['A-B']: expected a name of letters", id="a variable's bad name"
        ),
        pytest.param(
            "environment",
            {"PORT": 8080},
            "environment['PORT']: expected a string without NUL",
            id="a variable's bad value",
        ),
        pytest.param("working_directory", "", "a string that is not empty", id="an empty directory"),
        pytest.param("username", "", "read from config, got ''", id="an empty user"),
        pytest.param("password", 5, "read from config, got a number (not shown", id="a number for a password"),
        pytest.param("timeout", 0.5, "1 or more seconds or a duration", id="no time"),
        pytest.param("timeout", float("nan"), "1 or more seconds or a duration", id="a time that is no number"),
        pytest.param("triggers", "a", "expected a map or a list", id="a string of triggers"),
        pytest.param("timeout", "soon", "or a duration", id="a time without a unit"),
        pytest.param("timeout", "9" * 400 + "s", "or a duration", id="a time without an end"),
        pytest.param("stdin", 5, "expected the text that the script reads", id="a number for the input"),
        pytest.param("add_previous_output", "yes", "expected true or false", id="a text for a switch"),
        pytest.param("on_delete", "a\0b", "has no NUL", id="a NUL in a script"),
        pytest.param("expected_exit_codes", [], "a list of whole numbers", id="no exit code"),
        pytest.param("expected_exit_codes", [0.5], "a list of whole numbers", id="half an exit code"),
        pytest.param("expected_exit_codes", [True], "a list of whole numbers", id="a boolean for an exit code"),
        pytest.param("output_limit", -1, "expected a number of bytes, 0 to 1048576", id="less than nothing"),
        pytest.param("output_limit", 2**30, "bytes, 0 to 1048576", id="more than state should carry"),
        pytest.param("config_namespace", "a:b", "a namespace of stack config", id="a key for a namespace"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: object, message: str) -> None:
    """One problem, under the input's name, which says what is wanted."""
    problems = _problems(**{name: value})
    assert list(problems) == [name]
    assert message in problems[name]


@pytest.mark.parametrize(
    "name",
    ["vm", "script", "arguments", "environment", "timeout", "expected_exit_codes", "output_limit", "password"],
)
def test_what_preview_does_not_know_is_not_wrong(name: str) -> None:
    """An unknown input passes, as a whole and inside of a list or map."""
    assert _problems(**{name: UNKNOWN}) == {}
    assert _problems(arguments=[UNKNOWN], environment={"A": UNKNOWN}, expected_exit_codes=[UNKNOWN]) == {}


def test_no_message_shows_a_secret() -> None:
    """Neither a script nor a password nor a variable's value is quoted."""
    problems = _problems(script="s3cret\0", password="s3cret\0", environment={"A": "s3cret\0", "B": ["s3cret"]})
    assert set(problems) == {"script", "password", "environment"}
    assert "s3cret" not in str(problems)


def test_windows_exit_codes_have_two_forms() -> None:
    """0xC0000005 is given as Windows shows it, or with a sign."""
    given = {**GOOD, "expected_exit_codes": [-1073741819, 3221225477.0, 0]}
    assert GuestScriptArguments.of(given).expected_exit_codes == {0, 0xC0000005}


def test_inputs_become_arguments() -> None:
    """Numbers arrive as floats; what is left out has its default; on_delete shares all but the text."""
    arguments = GuestScriptArguments.of(
        {**GOOD, "arguments": ["a"], "expected_exit_codes": [0.0, 3010.0], "on_delete": "rm x", "output_limit": 0.0}
    )
    assert arguments.script == Script("true", arguments=("a",), output_limit=0)
    assert arguments.on_delete == Script("rm x", arguments=("a",), output_limit=0)
    assert arguments.expected_exit_codes == {0, 3010}
    assert (arguments.timeout, arguments.config_namespace) == (600.0, "vsphere")
    with pytest.raises(
        ConfigurationError, match='timeout: expected 1 or more seconds or a duration such as "10m", got -1'
    ):
        GuestScriptArguments.of({**GOOD, "timeout": -1})


@pytest.mark.parametrize(
    ("inputs", "config", "environment", "expected"),
    [
        pytest.param({"username": "a", "password": "b"}, {"customization:guestUser": "x"}, {}, ("a", "b"), id="inputs"),
        pytest.param(
            {},
            {"customization:guestUser": "a", "customization:guestPassword": "b"},
            {"GUEST_USER": "x"},
            ("a", "b"),
            id="config before environment",
        ),
        pytest.param({}, {}, {"GUEST_USER": "a", "GUEST_PASSWORD": "b"}, ("a", "b"), id="environment"),
        pytest.param(
            {"config_namespace": "east", "username": "a"}, {"east:guestPassword": "b"}, {}, ("a", "b"), id="a namespace"
        ),
    ],
)
def test_who_works_in_the_guest(
    inputs: dict[str, str], config: dict[str, str], environment: dict[str, str], expected: tuple[str, str]
) -> None:
    """Inputs win over config, config over the environment."""
    assert credentials(inputs, config.get, environment) == GuestCredentials(*expected)


def test_missing_credentials_are_named_all_at_once() -> None:
    """The message names input, config key and variable; another namespace has no variables."""
    with pytest.raises(ConfigurationError) as caught:
        credentials({}, lambda _: None, {})
    assert str(caught.value) == (
        "no guest credentials configured: set `username`, config `customization:guestUser` or GUEST_USER; and "
        "`password`, config `customization:guestPassword` or GUEST_PASSWORD"
    )
    with pytest.raises(ConfigurationError, match=r"config `east:guestPassword`$"):
        credentials({"config_namespace": "east", "username": "a"}, lambda _: None, {"GUEST_PASSWORD": "b"})


def test_secrets_are_struck_out_of_what_a_guest_said() -> None:
    """The longest go first; words too short to be secrets stay."""
    inputs = {"password": "hunter2", "environment": {"URL": "https://hunter2@x", "N": "1", "EMPTY": ""}}
    assert without_secrets("1: https://hunter2@x or hunter2", inputs) == "1: [secret] or [secret]"


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        pytest.param({"path": "motd"}, "path", "expected an absolute path in the guest", id="a relative path"),
        pytest.param({"path": "/etc/"}, "path", "expected an absolute path in the guest", id="a folder"),
        pytest.param({"path": None}, "path", "got nothing", id="no path"),
        pytest.param({"content": 5}, "content", "expected the file's text, got a number", id="a number for a content"),
        pytest.param({"content": None}, "content", "or a local file as source, got nothing", id="nothing"),
        pytest.param(
            {"content": None, "source": "/no/such"},
            "source",
            "expected the path of a local file or directory that exists, or a pulumi.Archive of such, got '/no/such'",
            id="no file",
        ),
        pytest.param({"permissions": "rw"}, "permissions", "three octal digits", id="a mode in letters"),
        pytest.param({"permissions": 420}, "permissions", "three octal digits", id="a mode in numbers"),
        pytest.param({"owner": "-R"}, "owner", "expected a user, or user and group", id="an option for an owner"),
        pytest.param({"owner": "a:b:c"}, "owner", "expected a user, or user and group", id="two groups"),
        pytest.param(
            {"owner": "web", "path": "C:\\motd.txt"},
            "owner",
            "expected no owner for a path on Windows",
            id="on Windows",
        ),
        pytest.param({"source": {"./": "/absent"}}, "source", "['./']: expected the path of a local file", id="absent"),
        pytest.param({"vm": "web"}, "vm", "or a resource with a moid, got 'web'", id="a bare name"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(changes: dict[str, Any], name: str, message: str) -> None:
    """One problem, under the input's name, which says what is wanted."""
    problems = _texts(file_problems({"vm": "vm-1", "path": "/etc/motd", "content": "x", **changes}))
    assert list(problems) == [name]
    assert message in problems[name]


@pytest.mark.parametrize("path", ["/a", "C:\\motd.txt", "c:/motd.txt", "\\\\server\\share\\motd.txt"])
def test_paths_from_the_root(path: str) -> None:
    """Both systems' paths are taken; an empty file is one, too."""
    arguments = GuestFileArguments.of({"vm": "vm-1", "path": path, "content": ""})
    assert arguments == GuestFileArguments(path, b"", 0o600, "", 600.0)
