"""The command `doctor`, and the options that say what must hold after a customization, without a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from pulumi_customization_gate.command_line import conditions
from pulumi_customization_gate.command_line.application import application
from pulumi_customization_gate.command_line.connection import Access
from pulumi_customization_gate.command_line.doctor import _LABELS
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.platforms import CLOUD_DIRECTOR
from pulumi_customization_gate.vsphere.guest.calls import GuestCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOOD = Finding(Check.LOGIN, State.OK, "vc", "as ann, after 0.1 s")
SLOW = Finding(Check.CLOCK, State.WARNING, "vc", "1 h ahead of this computer's", "Set both clocks by NTP.")
UNKNOWN = Finding(Check.DEPLOYPKG, State.UNKNOWN, "golden", "tools.conf cannot be read")
NO_VM = Finding(Check.VM, State.FAILED, "web-1", "no such VM", "Correct the reference.")
NO_LOGIN = Finding(Check.LOGIN, State.FAILED, "vc", "refused")


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command on findings, and keeps what they were asked for."""
    for name, value in {"SERVER": "vc.example.com", "USER": "ann", "PASSWORD": "s3cret"}.items():
        monkeypatch.setenv(f"VSPHERE_{name}", value)
    monkeypatch.delenv("GUEST_USER", raising=False)

    def run(*arguments: str, found: tuple[Finding, ...] = (GOOD,), stdin: str = "") -> Any:
        asked: list[Any] = []

        def preflight(settings: Any, vms: Any, **more: Any) -> Iterator[Finding]:
            asked.append((settings.server, list(vms), more))
            return iter(found)

        monkeypatch.setattr("pulumi_customization_gate.vsphere.preflight.preflight", preflight)
        result: Any = CliRunner().invoke(application, ["doctor", *arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        result.asked = asked
        return result

    return run


@pytest.mark.parametrize(
    ("found", "code", "last"),
    [
        pytest.param((GOOD,), 0, "1 check: 1 ok", id="all good"),
        pytest.param((GOOD, SLOW, UNKNOWN), 0, "3 checks: 1 ok, 1 warning, 1 unknown", id="a gate works all the same"),
        pytest.param((GOOD, NO_VM), 1, "2 checks: 1 ok, 1 failed", id="something failed"),
        pytest.param((NO_LOGIN,), 4, "1 check: 1 failed", id="the server cannot be used"),
    ],
)
def test_the_exit_status_says_whether_a_wait_can_work(
    doctor: Callable[..., Any], found: tuple[Finding, ...], code: int, last: str
) -> None:
    """A script can tell a missing right from a server that cannot be used."""
    result = doctor(found=found)

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (code, last)


def test_each_finding_has_a_line_and_below_it_what_to_do(doctor: Callable[..., Any]) -> None:
    """The columns are as wide as their widest word."""
    assert doctor(found=(GOOD, SLOW)).stdout.splitlines()[:3] == [
        "ok       login            vc: as ann, after 0.1 s",
        "warning  clock            vc: 1 h ahead of this computer's",
        "                          Set both clocks by NTP.",
    ]


def test_json_is_one_document(doctor: Callable[..., Any]) -> None:
    """It has every finding, and whether a gate can work."""
    result = doctor("-o", "json", found=(GOOD, NO_VM))

    assert json.loads(result.stdout) == {
        "ready": False,
        "findings": [
            {"check": "login", "state": "ok", "subject": "vc", "message": "as ann, after 0.1 s", "remedy": ""},
            {
                "check": "vm",
                "state": "failed",
                "subject": "web-1",
                "message": "no such VM",
                "remedy": "Correct the reference.",
            },
        ],
    }


def test_references_folder_template_and_guest_credentials_are_passed_on(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """References may come from standard input; without any, the server alone is checked."""
    monkeypatch.setenv("GUEST_USER", "root")
    monkeypatch.setenv("GUEST_PASSWORD", "s3cret")
    full = doctor("-", "db", "--folder", "/DC/vm", "--template", "golden", stdin="# shop\nvm/web-0\n")
    monkeypatch.delenv("GUEST_PASSWORD")
    bare = doctor()

    assert full.asked == [
        (
            "vc.example.com",
            ["vm/web-0", "db"],
            {"folder": "/DC/vm", "template": "golden", "guest_credentials": GuestCredentials("root", "s3cret")},
        )
    ]
    assert bare.asked == [("vc.example.com", [], {"folder": "", "template": "", "guest_credentials": None})]


def test_a_missing_setting_and_what_a_platform_does_not_have_are_usage_errors(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is checked then."""
    refused = doctor("--platform", "cloud_director", "--folder", "/DC/vm")
    monkeypatch.delenv("VSPHERE_SERVER")
    missing = doctor()

    assert (refused.exit_code, refused.asked, missing.exit_code, missing.asked) == (2, [], 2, [])
    assert "missing --server" in missing.stderr


def test_every_check_has_a_label() -> None:
    """A new kind of check is shown in words."""
    assert _LABELS.keys() == set(Check)


# ---- what must hold after a customization


@pytest.mark.parametrize(
    ("text", "check"),
    [
        pytest.param("tcp_port:22", {"kind": "tcp_port", "port": 22}, id="a number"),
        pytest.param("address", {"kind": "address"}, id="no option"),
        pytest.param("address:6", {"kind": "address", "family": 6}, id="an option that is not required"),
        pytest.param("host_name:web.example.com", {"kind": "host_name", "value": "web.example.com"}, id="a text"),
        pytest.param("command:exit 0", {"kind": "command", "script": "exit 0"}, id="a script"),
        pytest.param("ip_in_network:fd00::/8", {"kind": "ip_in_network", "network": "fd00::/8"}, id="colons in it"),
        pytest.param(
            '{"kind": "guest_info", "key": "guestinfo.ready", "value": "yes"}',
            {"kind": "guest_info", "key": "guestinfo.ready", "value": "yes"},
            id="JSON",
        ),
    ],
)
def test_a_check_is_written_short_or_as_in_a_program(text: str, check: dict[str, Any]) -> None:
    """After the kind, a colon and the value of its first option; JSON has all options."""
    assert conditions.checks_of([text]) == [check]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("tcp_port:ssh", "port: expected a whole number from 1 to 65535", id="not a port"),
        pytest.param("tcp_port", "port: expected a whole number", id="an option that is missing"),
        pytest.param("tcp_prt:22", "did you mean 'tcp_port'?", id="a kind that is misspelled"),
        pytest.param('{"kind": "tcp_port"', "not readable JSON", id="JSON that is cut short"),
        pytest.param('{"kind": "address", "vms": ["web-1"]}', "one condition for all VMs", id="for one VM"),
        pytest.param('{"kind": "host_name", "value": {"a": "b"}}', "one condition for all VMs", id="a value per VM"),
        pytest.param("cloud_init:done", "expected 'cloud_init' without a value", id="a kind without options"),
    ],
)
def test_what_is_not_a_check_is_a_usage_error(text: str, message: str) -> None:
    """The message names what is expected, in the words of a program."""
    with pytest.raises(typer.BadParameter, match=message):
        conditions.checks_of(["address", text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("1.5", 1.5), ("30m", 1800.0), ("1h30m", 5400.0), (1800.0, 1800.0), (None, None)],
)
def test_a_time_is_a_number_or_a_duration(text: Any, expected: float | None) -> None:
    """As in a program."""
    assert conditions.seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "", "0", "-1", "nan", "inf", "0m", "5 m"])
def test_what_is_not_a_time_is_a_usage_error(text: str) -> None:
    """The message shows both forms."""
    with pytest.raises(typer.BadParameter, match='positive number of seconds or a duration such as "30m"'):
        conditions.seconds(text)


def test_conditions_need_a_platform_that_reports_guests_and_a_guest_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a condition nothing is asked for, no setting either."""
    monkeypatch.delenv("GUEST_USER", raising=False)
    nothing: dict[str, Any] = {"guest_operations": False, "settle": 30.0}

    assert conditions.readiness(Access(), **nothing, checks=()) is None
    with pytest.raises(typer.BadParameter, match="Cloud Director does not report guests"):
        conditions.readiness(Access(CLOUD_DIRECTOR), **nothing, checks=[{"kind": "address"}])
    with pytest.raises(ConfigurationError, match="set GUEST_USER and GUEST_PASSWORD"):
        conditions.readiness(Access(), **nothing, checks=[{"kind": "cloud_init"}])
