"""The command line without a server: what words mean, what options say, what is written, and how a run ends."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pyVmomi import vim
from rich.console import Console
from typer.testing import CliRunner

from pulumi_customization_gate.command_line import json_output, views
from pulumi_customization_gate.command_line.application import application
from pulumi_customization_gate.command_line.connection import Access
from pulumi_customization_gate.command_line.exit_codes import ExitCode, Interrupt, exit_code
from pulumi_customization_gate.command_line.phrases import PHRASES
from pulumi_customization_gate.core import wait as wait_module
from pulumi_customization_gate.core.advice import Advice
from pulumi_customization_gate.core.errors import ApiError, AuthenticationError, ConfigurationError, ServerError
from pulumi_customization_gate.core.model import (
    Event,
    Failure,
    GateReport,
    HistoryRead,
    Observation,
    Snapshot,
    VmOutcome,
    VmRef,
)
from pulumi_customization_gate.core.progress import Update
from pulumi_customization_gate.core.report import failure_text
from pulumi_customization_gate.core.results import result_of
from pulumi_customization_gate.core.status import (
    CustomizationStatus,
    Evidence,
    FailureKind,
    PowerState,
    Progress,
    Signal,
)
from pulumi_customization_gate.lifecycle.phrases import DOCTOR
from pulumi_customization_gate.platforms import CLOUD_DIRECTOR
from pulumi_customization_gate.tls import untrusted
from pulumi_customization_gate.vsphere.search import InventoryVm, _vms, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

TEST_TIMEOUT = 30
"""Seconds after which a thread that should have been notified continues."""
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
STARTED, SUCCEEDED = CustomizationStatus.CUSTOMIZATION_STARTED, CustomizationStatus.CUSTOMIZATION_SUCCEEDED
FAILED, REMOVED = CustomizationStatus.CUSTOMIZATION_FAILED, CustomizationStatus.VM_REMOVED


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the person who runs the tests does not count."""
    for name in os.environ:
        if name.startswith(("VSPHERE_", "VCD_", "GOVC_")):
            monkeypatch.delenv(name)


# ---- what words mean


INVENTORY = [
    InventoryVm("vm-1", "web-1", "/DC/vm/web/web-1"),
    InventoryVm("vm-2", "web-2", "/DC/vm/web/web-2"),
    InventoryVm("vm-3", "db", "/DC/vm/data/db"),
    InventoryVm("vm-4", "db", "/East/vm/db"),
    InventoryVm("vm-5", "web-template", "/DC/vm/web/web-template", is_template=True),
    InventoryVm("vm-6", "web-[a]", "/DC/vm/web/web-[a]"),
    InventoryVm("vm-7", "vm-1", "/DC/vm/odd/vm-1"),
    InventoryVm("vm-8", "vm-99", "/DC/vm/odd/vm-99"),
    InventoryVm("vm-10", "disk/1", "/DC/vm/disk%2f1"),
]


@pytest.mark.parametrize(
    ("word", "moids"),
    [
        pytest.param("vm-2", ["vm-2"], id="an-id"),
        pytest.param("vm-1", ["vm-1"], id="an-id-before-a-name"),
        pytest.param("vm-99", ["vm-8"], id="a-name-that-looks-like-an-id"),
        pytest.param("vm-77", ["vm-77"], id="an-id-that-is-not-there"),
        pytest.param("web-1", ["vm-1"], id="a-name"),
        pytest.param("/East/vm/db", ["vm-4"], id="a-path"),
        pytest.param("East/vm/db/", ["vm-4"], id="a-path-without-its-slash"),
        pytest.param("/DC/vm/nowhere", ["/DC/vm/nowhere"], id="a-path-that-is-not-there"),
        pytest.param("web-?", ["vm-1", "vm-2"], id="a-pattern-of-names"),
        pytest.param("/DC/vm/web/*", ["vm-1", "vm-2", "vm-6"], id="a-pattern-of-paths-passes-over-templates"),
        pytest.param("/DC/*", [], id="a-star-stays-in-its-folder"),
        pytest.param("/*/vm/**/db", ["vm-3", "vm-4"], id="two-stars-cross-folders-or-none"),
        pytest.param("/**", ["vm-1", "vm-2", "vm-3", "vm-4", "vm-6", "vm-7", "vm-8", "vm-10"], id="everything"),
        pytest.param("web-[a]", ["vm-6"], id="a-name-with-brackets"),
        pytest.param("web-[12]", ["vm-1", "vm-2"], id="a-pattern-with-brackets"),
        pytest.param("web-template", ["vm-5"], id="a-template-by-its-name"),
        pytest.param("WEB-*", [], id="case-counts"),
        pytest.param("VirtualMachine:vm-2", ["vm-2"], id="an-id-as-govc-prints-it"),
        pytest.param("vm/web/web-1", ["vm-1"], id="a-path-without-its-datacenter"),
        pytest.param("./vm/web/web-1", ["vm-1"], id="the-same-after-a-dot"),
        pytest.param("data/db", ["vm-3"], id="the-end-of-a-path"),
        pytest.param("East/vm/db", ["vm-4"], id="a-path-without-its-first-slash"),
        pytest.param("vm/web/*", ["vm-1", "vm-2", "vm-6"], id="a-pattern-of-the-end-of-a-path"),
        pytest.param("disk/1", ["vm-10"], id="a-name-with-a-slash"),
        pytest.param("disk%2F1", ["vm-10"], id="the-same-as-vcenter-writes-it"),
        pytest.param("/DC/vm/disk/1", ["vm-10"], id="a-path-that-ends-in-such-a-name"),
        pytest.param("/DC/vm/disk%2f1", ["vm-10"], id="the-same-as-vcenter-writes-it-in-a-path"),
        pytest.param("disk*", ["vm-10"], id="a-pattern-of-such-a-name"),
    ],
)
def test_what_a_word_means(word: str, moids: list[str]) -> None:
    """Whatever names VMs on a command line is found in one reading of the inventory."""
    if moids:
        assert resolve(word, INVENTORY) == moids
    else:
        with pytest.raises(ConfigurationError, match="no virtual machine matches"):
            resolve(word, INVENTORY)


def test_a_name_that_two_vms_share_is_refused_with_both_paths() -> None:
    """The error says what to write instead."""
    with pytest.raises(ConfigurationError) as caught:
        resolve("db", INVENTORY)

    assert str(caught.value) == (
        "2 virtual machines are named 'db': /DC/vm/data/db (vm-3), /East/vm/db (vm-4); name one by its path or ID"
    )


def test_the_end_of_two_paths_is_refused_with_both() -> None:
    """A path without its datacenter may be that of two VMs."""
    with pytest.raises(ConfigurationError, match=r"2 virtual machines are named 'vm/db': /East/vm/db \(vm-4\), /West/"):
        resolve("vm/db", [*INVENTORY, InventoryVm("vm-9", "db", "/West/vm/db")])


def test_a_mistyped_name_gets_a_suggestion() -> None:
    """The nearest name is most often the right one."""
    with pytest.raises(ConfigurationError, match=r"no virtual machine is named 'wbe-1'; did you mean 'web-1'\?"):
        resolve("wbe-1", INVENTORY)


def test_a_path_is_made_of_what_the_user_may_see() -> None:
    """A VM in a vApp has the vApp for a parent; a folder without permission ends the path."""

    def to(moid: str) -> Any:
        return vim.ManagedEntity(moid)

    found = {
        "group-1": {"name": "DC", "parent": to("root"), "is_vm": False},
        "group-2": {"name": "vm", "parent": to("group-1"), "is_vm": False},
        "vapp-1": {"name": "shop", "parent": to("pool"), "parentFolder": to("group-2"), "is_vm": False},
        "vapp-2": {"name": "inner", "parentVApp": to("vapp-1"), "is_vm": False},
        "vm-1": {"name": "web", "parent": to("group-2"), "is_vm": True},
        "vm-2": {"name": "till", "parentVApp": to("vapp-2"), "is_vm": True},
        "vm-3": {"name": "lost", "parent": to("group-9"), "summary.config.template": True, "is_vm": True},
    }

    assert list(_vms(found)) == [
        InventoryVm("vm-1", "web", "/DC/vm/web"),
        InventoryVm("vm-2", "till", "/DC/vm/shop/inner/till"),
        InventoryVm("vm-3", "lost", "/lost", is_template=True),
    ]


# ---- what options say


ENVIRONMENT = {"VSPHERE_SERVER": "env.example.com", "VSPHERE_USER": "eve", "VSPHERE_PASSWORD": "from-env"}


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    """What is on the command line is nearer to the user than what a profile sets."""
    (tmp_path / "password").write_text("from-file\n", encoding="utf-8")
    access = Access(server="option.example.com", user="olga", password_file=tmp_path / "password")

    settings = access.vsphere_settings({**ENVIRONMENT, "VSPHERE_ALLOW_UNVERIFIED_SSL": "true"})

    assert (settings.server, settings.user, settings.password) == ("option.example.com", "olga", "from-file")
    assert settings.allow_unverified_ssl


GOVC = {"GOVC_URL": "govc.example.com", "GOVC_USERNAME": "bob", "GOVC_PASSWORD": "from-govc", "GOVC_INSECURE": "1"}
IN_URL = "https://a%40lab:p%3Aw@govc.example.com:8443/sdk"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param(GOVC, ("govc.example.com", "bob", "from-govc", True), id="variables"),
        pytest.param({"GOVC_URL": IN_URL}, ("govc.example.com:8443", "a@lab", "p:w", False), id="all in the URL"),
        pytest.param({**GOVC, "GOVC_URL": IN_URL}, ("govc.example.com:8443", "bob", "from-govc", True), id="both"),
        pytest.param({**GOVC, "GOVC_URL": "a:b@vc"}, ("vc", "bob", "from-govc", True), id="without a scheme"),
        pytest.param({**GOVC, **ENVIRONMENT}, ("env.example.com", "eve", "from-env", False), id="ours win together"),
        pytest.param(
            {**GOVC, "VSPHERE_ALLOW_UNVERIFIED_SSL": "false"},
            ("govc.example.com", "bob", "from-govc", False),
            id="trust",
        ),
    ],
)
def test_the_connection_of_govc_counts_together(
    environment: dict[str, str], expected: tuple[str, str, str, bool]
) -> None:
    """Its variables are taken as govc takes them, unless ours name a vCenter or a login."""
    found = Access().vsphere_settings(environment)
    assert (found.server, found.user, found.password, found.allow_unverified_ssl) == expected


def test_a_password_of_govc_never_goes_to_another_server() -> None:
    """Who names the server by an option, or by our variable, names the login there, too."""
    for access, environment in ((Access(server="other"), GOVC), (Access(), {**GOVC, "VSPHERE_SERVER": "other"})):
        with pytest.raises(ConfigurationError, match="missing --user, or VSPHERE_USER in the environment"):
            access.vsphere_settings(environment)


@pytest.mark.parametrize(
    "url", ["http://a:s3cret@vc/sdk", "https://a:s3cret@vc/ui", "https://a:s3cret@", "a:s3cret@[vc"]
)
def test_a_wrong_url_of_govc_is_said_without_its_password(url: str) -> None:
    """The variable, an example and what was given."""
    with pytest.raises(
        ConfigurationError, match=r"^GOVC_URL: expected .* https://vcenter\.example\.com/sdk, got '"
    ) as wrong:
        Access().vsphere_settings({**GOVC, "GOVC_URL": url})
    assert "s3cret" not in str(wrong.value)


def test_messages_name_the_variables_of_govc() -> None:
    """A login that came from there is corrected there."""
    assert "GOVC_PASSWORD" in Access().vsphere_settings(GOVC).called["password"]


def test_the_environment_alone_is_enough() -> None:
    """The settings are those of the gate."""
    settings = Access().vsphere_settings(ENVIRONMENT)

    assert (settings.server, settings.user, settings.password) == ("env.example.com", "eve", "from-env")


@pytest.mark.parametrize(
    ("content", "password"),
    [
        pytest.param(b"s3cret", "s3cret", id="no-line-end"),
        pytest.param(b"s3cret\n", "s3cret", id="unix"),
        pytest.param(b"s3cret\r\n", "s3cret", id="windows"),
        pytest.param(b" s p \nrest", " s p ", id="spaces-belong-to-it"),
        pytest.param("pässword\n".encode(), "pässword", id="utf-8"),
        pytest.param("\ufeffpässword\r\n".encode(), "pässword", id="utf-8-with-a-byte-order-mark"),
        pytest.param("pässword\r\n".encode("utf-16"), "pässword", id="utf-16-as-powershell-writes-it"),
    ],
)
def test_a_password_file_holds_the_password_in_its_first_line(tmp_path: Path, content: bytes, password: str) -> None:
    """Editors end a line; that end is not part of the password."""
    (tmp_path / "password").write_bytes(content)

    settings = Access(password_file=tmp_path / "password").vsphere_settings(ENVIRONMENT)

    assert settings.password == password


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"", "empty first line", id="empty"),
        pytest.param(b"\nlate\n", "empty first line", id="late"),
        pytest.param(b"\xff\xff", "is not UTF-8 text: invalid start byte at byte 0", id="binary"),
        pytest.param(b"x" * 2**20 + b"\n", "is too large: expected at most 1 MiB", id="not-a-password-file"),
    ],
)
def test_a_password_file_that_holds_none_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A failed login counts against the account: no login is sent with something that is not a password."""
    if content is not None:
        (tmp_path / "password").write_bytes(content)

    with pytest.raises(ConfigurationError, match=message):
        Access(password_file=tmp_path / "password").vsphere_settings(ENVIRONMENT)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_asked_for_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt says whose password is expected."""
    asked: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())

    def ask(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr(getpass, "getpass", ask)

    settings = Access(server="vc.example.com", user="ann").vsphere_settings({})

    assert settings.password == "typed"
    assert asked == ["Password of ann at vc.example.com: "]


def test_there_is_no_prompt_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job in the night would wait for ever."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))

    with pytest.raises(ConfigurationError, match="--password-file to its file, or set VSPHERE_PASSWORD"):
        Access(server="vc.example.com", user="ann").vsphere_settings({})


@pytest.mark.parametrize(
    ("access", "environment", "message"),
    [
        pytest.param(Access(), {}, "missing --server, or VSPHERE_SERVER or GOVC_URL in the environment", id="server"),
        pytest.param(Access(server="vc"), {}, "missing --user, or VSPHERE_USER in the environment", id="user"),
        pytest.param(Access(server=" "), {}, "missing --server", id="blank-server"),
        pytest.param(Access(server="https://vc/sdk"), ENVIRONMENT, "expected a host name", id="an-address"),
        pytest.param(
            Access(thumbprint="abc"), ENVIRONMENT, "--thumbprint or VSPHERE_THUMBPRINT: expected a SHA-256", id="pin"
        ),
        pytest.param(Access(ca_file="/nowhere"), ENVIRONMENT, "--ca-file or VSPHERE_CA_FILE", id="ca-file"),
    ],
)
def test_a_missing_or_wrong_setting_is_named_by_its_option(
    access: Access, environment: dict[str, str], message: str
) -> None:
    """The user of a command line has no stack and no config keys."""
    with pytest.raises(ConfigurationError) as caught:
        access.vsphere_settings(environment)

    assert message in str(caught.value)


def test_cloud_director_takes_a_token_from_the_environment() -> None:
    """A token needs no password, and there is no prompt for one."""
    environment = {"VCD_URL": "vcd.example.com", "VCD_ORG": "acme", "VCD_API_TOKEN": "t0ken"}

    settings = Access(CLOUD_DIRECTOR).cloud_director_settings(environment)

    assert (settings.url, settings.org, settings.api_token) == ("https://vcd.example.com", "acme", "t0ken")


def test_cloud_director_prefers_the_user_that_is_named() -> None:
    """An option wins over a token that happens to be in the environment."""
    environment = {"VCD_URL": "https://vcd", "VCD_ORG": "acme", "VCD_API_TOKEN": "t0ken", "VCD_PASSWORD": "s3cret"}

    settings = Access(CLOUD_DIRECTOR, user="ann").cloud_director_settings(environment)

    assert (settings.user, settings.password, settings.api_token) == ("ann", "s3cret", "")


# ---- how a run ends


def outcome(name: str, status: CustomizationStatus = SUCCEEDED, failure: Failure | None = None) -> VmOutcome:
    good = failure is None and status is SUCCEEDED
    return VmOutcome(name, f"id-{name}", name, status, good, Evidence.EVENT, NOON, NOON, NOON, failure=failure)


GOOD = outcome("good")
BAD = outcome("bad", FAILED, Failure(FailureKind.CUSTOMIZATION_FAILED, "CustomizationSysprepFailed", message="no luck"))
LATE = outcome("late", STARTED, Failure(FailureKind.TIMEOUT, message="it runs"))
UNFINISHED = outcome("late", STARTED, Failure(FailureKind.UNFINISHED, message="it runs"))
GONE = outcome("gone", REMOVED, Failure(FailureKind.NOT_FOUND))


@pytest.mark.parametrize(
    ("report", "code"),
    [
        pytest.param(GateReport((GOOD,), 1), ExitCode.SUCCEEDED, id="all-good"),
        pytest.param(GateReport((GOOD, BAD), 1), ExitCode.FAILED, id="one-failed"),
        pytest.param(GateReport((GONE,), 1), ExitCode.FAILED, id="one-is-not-there"),
        pytest.param(GateReport((GOOD, LATE), 1, timed_out=True), ExitCode.UNFINISHED, id="time-is-up"),
        pytest.param(GateReport((LATE, BAD), 1, timed_out=True), ExitCode.FAILED, id="failed-and-time-is-up"),
        pytest.param(GateReport((GOOD, UNFINISHED), 1, cancelled=True), ExitCode.UNFINISHED, id="judged-now"),
        pytest.param(
            GateReport((UNFINISHED,), 1, fatal_error=ServerError("x")), ExitCode.UNREACHABLE, id="server-lost"
        ),
    ],
)
def test_the_exit_status_shows_how_it_ended(report: GateReport, code: ExitCode) -> None:
    """The exit status distinguishes a failure from a timeout."""
    assert exit_code(report) == code


@pytest.mark.parametrize("advice", Advice)
def test_every_advice_has_a_phrase_in_the_terms_of_the_options(advice: Advice) -> None:
    """No sentence of the command is about a stack or a program."""
    phrase = PHRASES[advice]

    for word in ("pulumi", "vsphere:", "customization:", "vcd:", "`vms`", "expect=", "`timeout`", "`start_timeout`"):
        assert word not in phrase


def test_what_a_server_says_is_shown_as_it_said_it() -> None:
    """No part of a server's message is replaced, even where it looks like one of ours."""
    text = "cannot lock vms: the `timeout` of pool vsphere:user was hit; run `pulumi up` again"
    report = GateReport((outcome("web", FAILED, Failure(FailureKind.CUSTOMIZATION_FAILED, "X", message=text)),), 1)

    assert text in failure_text(report, PHRASES)


def test_a_refused_login_names_the_options() -> None:
    """The settings of an error are named as the command names them."""
    access = Access(server="vc.example.com", user="ann")
    settings = access.vsphere_settings({"VSPHERE_PASSWORD": "s3cret"})

    message = str(untrusted(settings.server, settings.called, ValueError("self-signed")))
    assert "--ca-file or VSPHERE_CA_FILE" in message
    assert "vsphere:" not in message


def test_the_first_signal_ends_the_wait_and_the_second_the_program() -> None:
    """One Ctrl-C brings the report, two do not wait for it."""
    with Interrupt().caught() as interrupt:
        assert not interrupt()
        signal.raise_signal(signal.SIGINT)
        assert interrupt()
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)

    assert caught.value.code == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_wait_ends_the_program(number: signal.Signals, code: int) -> None:
    """A server that does not answer cannot delay a cancelled command."""
    before = signal.getsignal(number)

    with pytest.raises(SystemExit) as caught, Interrupt().caught():
        signal.raise_signal(number)

    assert caught.value.code == code
    assert signal.getsignal(number) is before


def test_a_signal_while_the_server_does_not_answer_is_reported_as_a_signal(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was judged then, and the exit status is the signal's, not the server's."""
    asked_for = Interrupt.__call__

    def interrupted(self: Interrupt) -> bool:
        asked_for(self)
        signal.raise_signal(signal.SIGINT)
        return asked_for(self)

    monkeypatch.setattr(Interrupt, "__call__", interrupted)

    result = run("wait", "vm-1", hang=True)

    assert result.exit_code == 130
    assert result.stdout == ""
    assert "cancelled before the server responded" in result.stderr


# ---- what is written


def test_a_result_is_that_of_the_gate() -> None:
    """The report of the command line has the form of a gate's outputs."""
    one = replace(BAD, customization_seconds=12.5, host_name="h\x1b[31m", ip_addresses=("192.0.2.7",))

    (message,) = json_output.report_document(GateReport((one,), wait_seconds=1.0))["results"].values()

    assert message == result_of(one)
    assert (message["host_name"], message["ip_addresses"]) == ("h", ["192.0.2.7"])


def test_vms_of_one_name_are_distinguished_by_their_id() -> None:
    """No VM is lost from a document because another has its name."""
    report = GateReport((replace(GOOD, id="vm-1"), replace(GOOD, id="vm-2"), BAD), 1)

    document = json_output.report_document(report)

    assert document["statuses"] == {
        "vm-1": "CustomizationSucceeded",
        "vm-2": "CustomizationSucceeded",
        "bad": "CustomizationFailed",
    }


class ScriptedSource:
    """A source that reports what it was given, then nothing; its clock advances while it is polled."""

    def __init__(self, observations: Sequence[Observation], fatal_error: ServerError | None, *, hang: bool) -> None:
        self.observations = list(observations)
        self.now = time.monotonic()
        self.fatal_error = fatal_error
        self.hang = hang
        self.closed = threading.Event()

    def start(self) -> list[VmRef]:
        if self.hang:
            self.closed.wait(TEST_TIMEOUT)
        return [VmRef(vm, vm, f"name-of-{vm}") for vm in dict.fromkeys(o.vm for o in self.observations)]

    def poll(self, timeout: float) -> list[Observation]:
        observations, self.observations = self.observations, []
        if not observations and timeout and self.fatal_error:
            raise self.fatal_error
        if not observations:
            self.now += timeout
        return observations

    def refresh(self, timeout: float) -> bool:
        del timeout
        return True

    def diagnose(self, vm: VmRef, timeout: float) -> list[str]:
        return [f"diagnosis of {vm.id}", f'set expect="optional" ({timeout >= 0})']

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        self.closed.set()


def story(vm: str, *signals: Signal) -> list[Observation]:
    names = {Signal.CUSTOMIZATION_FAILED: "CustomizationSysprepFailed"}
    return [
        Event(vm, key, reported, NOON, names.get(reported, ""), message="told\x1b[2J by the guest")
        for key, reported in enumerate((Signal.VM_STARTING, *signals), 1)
    ]


SUCCESS = (Signal.CUSTOMIZATION_STARTED, Signal.CUSTOMIZATION_SUCCEEDED)
FAILURE = (Signal.CUSTOMIZATION_STARTED, Signal.CUSTOMIZATION_FAILED)
RUNNING = (Signal.CUSTOMIZATION_STARTED,)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the program on a source with the given observations; records the requested references."""

    def go(
        *arguments: str,
        reported: Sequence[Observation] = (),
        stdin: str = "",
        fatal_error: ServerError | None = None,
        hang: bool = False,
    ) -> Any:
        source = ScriptedSource(reported, fatal_error, hang=hang)
        asked: list[Sequence[str]] = []

        @contextlib.contextmanager
        def opened(_access: Access, words: Sequence[str]) -> Iterator[ScriptedSource]:
            asked.append(words)
            yield source

        monkeypatch.setattr(Access, "source", opened)
        monkeypatch.setattr(wait_module, "wait", partial(wait_module.wait, clock=lambda: source.now))
        result: Any = CliRunner().invoke(application, list(arguments), input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        result.source, result.words = source, asked
        return result

    return go


@pytest.mark.parametrize("command", ["wait", "status"])
@pytest.mark.parametrize("output", ["text", "json"])
def test_success_is_reported_and_ends_with_0(run: Callable[..., Any], command: str, output: str) -> None:
    """Both commands and both formats show the status of each VM."""
    reported = [*story("vm-1", *SUCCESS), *story("vm-2", *SUCCESS)]

    result = run(command, "vm-1", "vm-2", "--output", output, reported=reported)

    assert result.exit_code == 0
    assert result.source.closed.is_set()
    if output == "json":
        statuses = json.loads(result.stdout)["statuses"]
        assert statuses == {"name-of-vm-1": SUCCEEDED.value, "name-of-vm-2": SUCCEEDED.value}
    else:
        assert "vm-1 (name-of-vm-1)  CustomizationSucceeded in 0 s\n" in result.stdout


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose_writes_the_log_to_standard_error(run: Callable[..., Any], *, verbose: bool) -> None:
    """The log says why a verdict was reached; standard output stays the report alone."""
    logger = logging.getLogger("pulumi_customization_gate")
    options = ["--verbose"] if verbose else []
    try:
        result = run("wait", "vm-1", "--output", "json", *options, reported=story("vm-1", *SUCCESS))
    finally:
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)

    assert verbose == ("pulumi_customization_gate.core.tracking: vm-1: CustomizationSucceeded" in result.stderr)
    assert list(json.loads(result.stdout)["statuses"].values()) == [SUCCEEDED.value]


def test_failure_is_reported_with_its_reason_and_ends_with_1(run: Callable[..., Any]) -> None:
    """The report names the event, what the guest said without its escape sequences, and what to do."""
    result = run("wait", "vm-1", reported=story("vm-1", *FAILURE))

    assert result.exit_code == 1
    assert "CustomizationSysprepFailed at 12:00:00Z: told by the guest" in result.stdout
    assert "customization failed on 1 of 1 VM" in result.stdout
    assert "run the command again" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


def test_time_that_is_up_ends_with_3_and_a_diagnosis(run: Callable[..., Any]) -> None:
    """What was known when the wait gave up is part of the report, in the words of the options."""
    result = run("wait", "vm-1", "--timeout", "30", reported=story("vm-1", *RUNNING))

    assert result.exit_code == 3
    assert '  diagnosis of vm-1\n  set expect="optional" (True)\n' in result.stdout


def test_a_server_that_is_lost_ends_with_4_and_the_report(run: Callable[..., Any]) -> None:
    """What was seen before is not thrown away."""
    reported = [*story("vm-1", *SUCCESS), *story("vm-2", *RUNNING)]

    result = run(
        "wait", "vm-1", "vm-2", "-o", "json", reported=reported, fatal_error=ApiError("vc answered NotSupported.")
    )

    assert result.exit_code == 4
    assert json.loads(result.stdout)["statuses"]["name-of-vm-1"] == SUCCEEDED.value
    assert "vc answered NotSupported. 2 of 2 VMs were not ready, 1 of them customized, after" in result.stderr


def test_a_server_that_cannot_be_used_ends_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on standard output then, not even half a document; `doctor` is what looks closer."""

    def refuse(_access: Access, _words: Sequence[str]) -> Any:
        raise AuthenticationError("vc refused ann")

    monkeypatch.setattr(Access, "source", refuse)

    result = CliRunner().invoke(application, ["wait", "vm-1", "--output", "json"])

    assert result.exit_code == 4
    assert result.stdout == ""
    first, hint = result.stderr.splitlines()
    assert first == "customization-gate: vc refused ann"
    assert hint == DOCTOR


def test_json_is_alone_on_standard_output(run: Callable[..., Any]) -> None:
    """Progress and the closing sentence go to standard error, so that a pipe gets one document."""
    result = run("wait", "vm-1", "vm-2", "-o", "json", reported=[*story("vm-1", *FAILURE), *story("vm-2", *SUCCESS)])

    assert set(json.loads(result.stdout)) == {"ready", "statuses", "results", "wait_seconds", "opened_at", "ended_at"}
    assert "vm-2 (name-of-vm-2)  CustomizationSucceeded" in result.stderr
    assert "customization failed on 1 of 2 VMs" in result.stderr


def test_status_does_not_wait(run: Callable[..., Any]) -> None:
    """A VM whose customization has not ended is reported with its status, and has an exit status of its own."""
    result = run("status", "vm-1", "vm-2", reported=[*story("vm-1", *RUNNING), *story("vm-2", *SUCCESS)])

    assert result.exit_code == 3
    assert result.stdout.splitlines()[0].startswith("vm-1 (name-of-vm-1)  CustomizationStarted: ")
    assert result.stderr == ""


def test_status_reports_a_failure_beside_vms_on_their_way(run: Callable[..., Any]) -> None:
    """The worse news decides the exit status."""
    result = run("status", "vm-1", "vm-2", reported=[*story("vm-1", *RUNNING), *story("vm-2", *FAILURE)])

    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("expect", "code"), [pytest.param("required", 1, id="required"), pytest.param("optional", 0, id="optional")]
)
def test_a_vm_without_customization_is_judged_by_expect(run: Callable[..., Any], expect: str, code: int) -> None:
    """NotCustomized is a failure or good, as the option says."""
    idle = Snapshot("vm-1", NOON, power=PowerState.ON, booted_at=NOON, progress=Progress.IDLE, tools_running=True)

    result = run("wait", "vm-1", "--expect", expect, reported=[idle, HistoryRead("vm-1")])

    assert result.exit_code == code
    assert re.search("NoCustomization|NotCustomized", result.stdout)


def test_vms_come_from_standard_input(run: Callable[..., Any]) -> None:
    """One a line, without blank lines and comments, each once."""
    result = run("status", "vm-1", "-", stdin="vm-2\n\n# old\n  vm-3 \nvm-1\n", reported=story("vm-1", *SUCCESS))

    assert result.words == [
        [
            "vm-1",
            "vm-2",
            "vm-3",
        ]
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["wait"], "Missing argument", id="no-vm"),
        pytest.param(["wait", "-"], "expected at least one VM", id="an-empty-list"),
        pytest.param(["wait", "vm-1", "--timeout", "0"], "expected a positive number of seconds", id="no-time"),
        pytest.param(["wait", "vm-1", "--timeout", "-5"], "expected a positive number of seconds", id="negative"),
        pytest.param(["wait", "vm-1", "--timeout", "nan"], "expected a positive number of seconds", id="not-a-number"),
        pytest.param(["wait", "vm-1", "--timeout", "inf"], "expected a positive number of seconds", id="for-ever"),
        pytest.param(["wait", "vm-1", "--timeout", "soon"], "Invalid value for '--timeout'", id="a-word"),
        pytest.param(
            ["wait", "vm-1", "--timeout", "5", "--start-timeout", "6"], "expected at most --timeout", id="start-late"
        ),
        pytest.param(["wait", "vm-1", "--platform", "hyper-v"], "hyper-v", id="platform"),
        pytest.param(["wait", "vm-1", "--expect", "maybe"], "maybe", id="expect"),
        pytest.param(["wait", "vm-1", "--password", "x"], "No such option", id="a-password-on-the-command-line"),
        pytest.param(
            ["events", "vm-1", "--platform", "cloud_director"], "No such option", id="events-of-cloud-director"
        ),
        pytest.param(["timeline", "a.json", "b.json"], "expected one file", id="two-files"),
        pytest.param(["timeline", "/nowhere.json"], "cannot be read: No such file", id="no-file"),
        pytest.param(["timeline", "-"], "standard input is not readable JSON", id="no-json"),
        pytest.param(["timeline", "--live"], "expected at least one VM", id="nothing-live"),
    ],
)
def test_wrong_usage_ends_with_2(run: Callable[..., Any], arguments: list[str], message: str) -> None:
    """Nothing is waited for, and the message says what is wrong."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert result.words == []


def test_a_start_timeout_is_no_longer_than_the_time_out(run: Callable[..., Any]) -> None:
    """Its default is limited by --timeout, as the gate's is."""
    off = Snapshot("vm-1", NOON, power=PowerState.OFF)

    result = run("wait", "vm-1", "--timeout", "30", reported=[off])

    assert result.exit_code == 3
    assert "customization did not start within 30 s of power-on or the start of the wait" in result.stdout


# ---- the live table


def rendered(table: views.LiveTable, width: int, height: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, height=height).print(table.render())
    return stream.getvalue()


def live(outcomes: tuple[VmOutcome, ...], height: int = 24) -> tuple[views.LiveTable, list[float]]:
    now = [100.0]
    table = views.LiveTable(Console(file=io.StringIO(), width=100, height=height), clock=lambda: now[0])
    table(Update(outcomes, outcomes, 60.0, {outcome.id: 30.0 for outcome in outcomes}))
    return table, now


def test_the_live_table_advances_between_two_updates() -> None:
    """The progress shows that the wait is still running."""
    table, now = live((GOOD, UNFINISHED))
    now[0] += 5

    lines = rendered(table, 100, 24).splitlines()

    assert lines[0].split() == ["VM", "ID", "status", "for", "host", "name", "addresses"]
    assert lines[2].split() == ["late", "id-late", "CustomizationStarted", "35", "s"]
    assert lines[3] == "1 of 2 customized after 1 min 5 s"


def test_the_live_table_begins_with_the_first_vms() -> None:
    """A note about a slow start leaves it at looking up the VMs."""
    screen = Console(file=io.StringIO(), width=100, height=24)
    table = views.LiveTable(screen)
    table(Update((), (), 5.0, {}, ("the login takes long",)))

    assert "looking up the VMs" in rendered(table, 100, 24)
    assert "the login takes long" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_the_live_table_fits_the_screen() -> None:
    """With more VMs than lines, those on their way are shown and the others counted."""
    done = tuple(replace(GOOD, key=f"done-{n}", id=f"done-{n}") for n in range(300))
    open_ = tuple(replace(UNFINISHED, key=f"open-{n}", id=f"open-{n}") for n in range(3))
    table, _ = live((*done[:150], *open_, *done[150:]), height=12)

    text = rendered(table, 100, 12)

    assert len(text.splitlines()) < 12
    assert all(f"open-{n} " in text for n in range(3))
    assert "295 more not shown, in all 300 CustomizationSucceeded, 3 CustomizationStarted" in " ".join(text.split())


def test_names_in_a_table_are_not_markup() -> None:
    """A VM's name can hold brackets and escape sequences."""
    table, _ = live((replace(GOOD, key="[red]web[/red]\x1b[2J", host_name=":smile:"),))

    text = rendered(table, 100, 24)

    assert "[red]web[/red] " in text
    assert ":smile:" in text
    assert "\x1b" not in text


# ---- timeline and the program itself


def test_timeline_draws_what_wait_wrote(run: Callable[..., Any], tmp_path: Path) -> None:
    """A report can be piped on, to the terminal or into a picture."""
    report = run("wait", "vm-1", "-o", "json", reported=story("vm-1", *FAILURE)).stdout

    shown = run("timeline", stdin=report)
    drawn = run("timeline", "--svg", str(tmp_path / "picture.svg"), "--theme", "dark", "--title", "night", stdin=report)

    assert (shown.exit_code, drawn.exit_code, drawn.stdout) == (0, 0, "")
    assert "name-of-vm-1" in shown.stdout
    assert "CustomizationSysprepFailed" in shown.stdout
    picture = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert "night" in picture
    assert "CustomizationSysprepFailed" in picture


def test_timeline_writes_a_picture_to_standard_output(run: Callable[..., Any], tmp_path: Path) -> None:
    """A picture can be written to a pipe, and a write error is reported."""
    report = run("wait", "vm-1", "-o", "json", reported=story("vm-1", *SUCCESS)).stdout

    assert run("timeline", "--svg", "-", stdin=report).stdout.startswith("<?xml")
    refused = run("timeline", "--svg", str(tmp_path / "nowhere" / "x.svg"), stdin=report)
    assert refused.exit_code == 2
    assert "cannot be written: No such file or directory" in refused.stderr


def test_timeline_judges_running_vms_now(run: Callable[..., Any]) -> None:
    """Without a file, the VMs themselves are asked."""
    result = run("timeline", "--live", "vm-1", reported=story("vm-1", *RUNNING))

    assert result.exit_code == 0
    assert result.words == [["vm-1"]]
    assert "CustomizationStarted" in result.stdout


@pytest.mark.parametrize("command", ["wait", "status", "events", "timeline"])
def test_the_help_of_a_command_has_examples_and_all_options(command: str) -> None:
    """The manual is on board."""
    result = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(application, [command, "--help"])

    assert result.exit_code == 0
    assert f"customization-gate {command}" in result.stdout
    assert "For example:" in result.stdout
    assert "--password-file" in result.stdout
    assert "--password " not in result.stdout


@pytest.mark.parametrize("command", ["wait", "status", "events", "doctor", "timeline"])
def test_the_help_names_each_variable_of_the_connection(command: str) -> None:
    """Also those of govc, each below the option that wins over it."""
    shown = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(application, [command, "--help"]).stdout

    variables = ["VSPHERE_SERVER", "GOVC_URL", "GOVC_USERNAME", "GOVC_PASSWORD", "GOVC_INSECURE", "VSPHERE_CA_FILE"]
    assert [name for name in variables if name not in shown] == []


def program(code: str = "pass", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program in a process of its own, after a line of code."""
    start = f"import sys; {code}; from pulumi_customization_gate.command_line import main; main()"
    return subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


MODULES_OF_HELP = 50
"""Modules that the help may import beside those of typer: about 38 are ours."""


def test_the_help_imports_little() -> None:
    """Its time is that of its imports. They are counted, because a measured time would depend on the computer."""
    count = "import atexit; atexit.register(lambda: print(len(sys.modules), file=sys.stderr))"
    result = program(f"{count}; sys.argv[1:] = ['--help']")
    typer_alone = program(f"{count}; import typer.rich_utils; sys.exit()")
    assert "Wait for the guest customization" in result.stdout
    assert int(result.stderr) - int(typer_alone.stderr) <= MODULES_OF_HELP


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_named(missing: str) -> None:
    """Without the extra `cli` the message says what to install, without a traceback."""
    result = program(f"sys.modules[{missing!r}] = None")

    assert result.returncode == 2
    assert result.stderr == (
        f"customization-gate: the library {missing} is not installed; it comes with the extra `cli`: "
        "in a clone of the project, run pip install '.[cli]'\n"
    )


def test_a_missing_matplotlib_is_named(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a picture needs it."""
    report = run("wait", "vm-1", "-o", "json", reported=story("vm-1", *SUCCESS)).stdout
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert run("timeline", stdin=report).exit_code == 0
    refused = run("timeline", "--svg", "-", stdin=report)

    assert refused.exit_code == 2
    assert "it comes with the extra `plot`: in a clone of the project, run pip install '.[cli,plot]'" in refused.stderr


def test_the_program_completes_its_commands_in_a_shell() -> None:
    """`--install-completion` puts a script into the shell's set-up that asks the program itself."""
    words = {"COMP_WORDS": "customization-gate sta", "COMP_CWORD": "1"}

    result = program(_CUSTOMIZATION_GATE_COMPLETE="complete_bash", **words)

    assert result.stdout.split() == ["status"]
