"""The commands of `customization-gate` and their help.

A command imports what only its work needs, so that the help is fast.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence  # noqa: TC003 -- typer reads annotations at run time
from pathlib import Path  # noqa: TC003 -- the same
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_customization_gate import timeline as pictures
from pulumi_customization_gate.command_line import options
from pulumi_customization_gate.command_line.connection import Access
from pulumi_customization_gate.command_line.exit_codes import Interrupt, errors_reported, exit_code
from pulumi_customization_gate.command_line.input_files import read_json, read_text
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import sanitize
from pulumi_customization_gate.platforms import PLATFORMS, VSPHERE
from pulumi_customization_gate.version import __version__

if TYPE_CHECKING:
    from pulumi_customization_gate.core.model import GateReport

_STATUSES = """\
Exit status: 0 all VMs are customized; 1 some failed, were removed or have no customization; 2 usage error;
3 the time-out passed, or (status) some customizations have not ended; 4 the server cannot be used;
130 after Ctrl-C, with a report."""

application = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"customization-gate {__version__}")
        raise typer.Exit


@application.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Wait for the guest customization of virtual machines, without Pulumi.

    The verdicts and the settings in the environment are those of the Pulumi resource CustomizationGate.
    """


def _seconds(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"expected a positive number of seconds, for example 600, got {value:g}")
    return value


_Timeout = Annotated[float, typer.Option(metavar="SECONDS", callback=_seconds, help="Seconds for the whole wait.")]
_StartTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        callback=_seconds,
        help="Seconds in which a customization must have started, from the later of the start of the wait and the "
        "VM's last power-on. Default: the smaller of 600 and --timeout; on Cloud Director --timeout.",
        show_default=False,
    ),
]


@application.command(epilog=_STATUSES)
def wait(
    vms: options.Words,
    *,
    timeout: _Timeout = 600,
    start_timeout: _StartTimeout = None,
    expect: options.ExpectOption = options.Expect.required,
    output: options.OutputFormat = options.Output.text,
    platform: options.PlatformOption = options.Platform.vsphere,
    server: options.Server = None,
    org: options.Org = None,
    user: options.User = None,
    password_file: options.PasswordFile = None,
    ca_file: options.CaFile = None,
    thumbprint: options.Thumbprint = None,
    allow_unverified_ssl: options.AllowUnverifiedSsl = None,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Wait until the customization of all VMs has ended.

    One session watches all VMs. A customization that ended before the wait counts if no other was requested since.
    Progress goes to standard error: a live table in a terminal, otherwise a line for each change. The report goes to
    standard output.

    For example:

    - `customization-gate wait web-1 web-2 --timeout 1800`
    - `customization-gate wait '/DC/vm/web/*' --output json > report.json`
    - `govc find vm -name 'web-*' | customization-gate wait -`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring
    from pulumi_customization_gate.core.outcomes import WaitRules  # noqa: PLC0415 -- the same
    from pulumi_customization_gate.core.wait import wait as wait_for_all  # noqa: PLC0415 -- the same

    kind = PLATFORMS[platform.value]
    start = min(kind.start_timeout, timeout) if start_timeout is None else start_timeout
    if start > timeout:
        raise typer.BadParameter(
            f"expected at most --timeout, {timeout:g}, got {start:g}", param_hint="--start-timeout"
        )
    access = Access(kind, server, org, user, password_file, ca_file, thumbprint, allow_unverified_ssl)
    rules = WaitRules(timeout=timeout, start_timeout=start, requires_customization=expect is options.Expect.required)
    interrupt = Interrupt()
    with errors_reported(interrupt), interrupt.caught():
        words = _words(vms)
        with access.source(words) as source, views.progress() as listener:
            report = wait_for_all(source, rules, listener=listener, cancelled=interrupt)
    views.show(report, output.value)
    raise typer.Exit(interrupt.exit_status if report.cancelled else exit_code(report))


@application.command(epilog=_STATUSES)
def status(
    vms: options.Words,
    *,
    expect: options.ExpectOption = options.Expect.required,
    output: options.OutputFormat = options.Output.text,
    platform: options.PlatformOption = options.Platform.vsphere,
    server: options.Server = None,
    org: options.Org = None,
    user: options.User = None,
    password_file: options.PasswordFile = None,
    ca_file: options.CaFile = None,
    thumbprint: options.Thumbprint = None,
    allow_unverified_ssl: options.AllowUnverifiedSsl = None,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Print the current status of VMs, without waiting.

    For example:

    - `customization-gate status 'web-*'`
    - `customization-gate status vm-87 --output json`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring

    access = Access(
        PLATFORMS[platform.value], server, org, user, password_file, ca_file, thumbprint, allow_unverified_ssl
    )
    with errors_reported():
        report = _judge_now(access, _words(vms), expect)
    views.show(report, output.value, is_wait=False)
    raise typer.Exit(exit_code(report))


@application.command()
def events(
    vms: options.Words,
    *,
    output: options.OutputFormat = options.Output.text,
    server: options.Server = None,
    user: options.User = None,
    password_file: options.PasswordFile = None,
    ca_file: options.CaFile = None,
    thumbprint: options.Thumbprint = None,
    allow_unverified_ssl: options.AllowUnverifiedSsl = None,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Print the events of VMs in vCenter: power, migration and customization, oldest first.

    The verdicts come from these events. Cloud Director has no such events.

    For example:

    - `customization-gate events web-1`
    - `customization-gate events 'web-*' --output json`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring
    from pulumi_customization_gate.command_line.json_output import event_document  # noqa: PLC0415 -- the same
    from pulumi_customization_gate.command_line.vm_events import histories  # noqa: PLC0415 -- the same

    access = Access(VSPHERE, server, None, user, password_file, ca_file, thumbprint, allow_unverified_ssl)
    with errors_reported(), access.session() as session:
        found, names = histories(session, _words(vms))
    if output is options.Output.json:
        typer.echo(json.dumps([event_document(event, names[event.vm]) for event in found], indent=2))
    else:
        views.show_events(found, names)


@application.command()
def timeline(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="JSON with a gate's results: `pulumi stack output --json`, `pulumi stack export`, or the report of "
            "`wait --output json`. Without a file, or with -, standard input. With --live: references to VMs.",
        ),
    ] = None,
    *,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an SVG picture there; - is standard output.")
    ] = None,
    theme: Annotated[pictures.Theme, typer.Option(help="The picture's background.")] = pictures.Theme.light,
    align: Annotated[
        pictures.Align,
        typer.Option(
            help="clock: all bars share one clock. power-on: each bar starts at the power-on of its VM. auto: "
            "clock, unless the VMs were created at times far apart."
        ),
    ] = pictures.Align.auto,
    title: Annotated[str, typer.Option(help="The picture's title.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Judge VMs now, and draw the result.")] = False,
    platform: options.PlatformOption = options.Platform.vsphere,
    server: options.Server = None,
    org: options.Org = None,
    user: options.User = None,
    password_file: options.PasswordFile = None,
    ca_file: options.CaFile = None,
    thumbprint: options.Thumbprint = None,
    allow_unverified_ssl: options.AllowUnverifiedSsl = None,
) -> None:
    """Draw a bar for each VM, in the terminal or as an SVG picture.

    A bar shows the power-on, the start and the end of the customization, and the times when the VM was ready and the
    gate opened. The name of a failure is beside its bar.

    For example:

    - `pulumi stack output --json | customization-gate timeline`
    - `customization-gate timeline export.json --svg timeline.svg`
    - `customization-gate wait 'web-*' --output json | customization-gate timeline --svg timeline.svg`
    - `customization-gate timeline --live 'web-*'`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring
    from pulumi_customization_gate.command_line.json_output import report_document  # noqa: PLC0415 -- the same

    access = Access(
        PLATFORMS[platform.value], server, org, user, password_file, ca_file, thumbprint, allow_unverified_ssl
    )
    with errors_reported():
        if live:
            document: Any = report_document(_judge_now(access, _words(source or []), options.Expect.optional))
        else:
            document = _document(source or ["-"])
        chart, title = pictures.chart(pictures.waits(document), align), sanitize(title)
        if svg is None:
            pictures.show(chart, views.console(stderr=False), title)
        else:
            _write(pictures.svg(chart, theme, title), svg)


def _judge_now(access: Access, words: Sequence[str], expect: options.Expect) -> GateReport:
    """Returns the first judgement of VMs."""
    from pulumi_customization_gate.core.judge_now import judge_now  # noqa: PLC0415 -- see the module's docstring

    with access.source(words) as source:
        return judge_now(source, requires_customization=expect is options.Expect.required)


def _words(arguments: Sequence[str]) -> list[str]:
    """Returns the references to VMs; `-` means the lines of standard input, without comments and blank lines."""
    words: list[str] = []
    for argument in arguments:
        lines = read_text("-").splitlines() if argument == "-" else [argument]
        words += (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not words:
        raise ConfigurationError("expected at least one VM, for example web-1 or /DC/vm/web/*, got none")
    return list(dict.fromkeys(words))


def _document(files: Sequence[str]) -> Any:
    if len(files) > 1:
        raise ConfigurationError("expected one file; several VMs need --live")
    name = files[0]
    if name == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise ConfigurationError("expected a file, JSON on standard input, or --live and VMs, got nothing")
    return read_json(name)


def _write(picture: bytes, file: Path) -> None:
    if str(file) == "-":
        typer.echo(picture, nl=False)
        return
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise ConfigurationError(f"{str(file)!r} cannot be written: {error.strerror}") from None
