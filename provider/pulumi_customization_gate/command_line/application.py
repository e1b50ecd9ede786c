"""The commands of `customization-gate` and their help.

A command imports what only its work needs, so that the help is fast.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pulumi_customization_gate.command_line import conditions, options
from pulumi_customization_gate.command_line.connection import Access  # noqa: TC001 -- typer reads annotations at run time
from pulumi_customization_gate.command_line.doctor import STATUSES as DOCTOR_STATUSES
from pulumi_customization_gate.command_line.doctor import doctor
from pulumi_customization_gate.command_line.drawing import timeline
from pulumi_customization_gate.command_line.exit_codes import Interrupt, errors_reported, exit_code
from pulumi_customization_gate.command_line.input_files import words_of
from pulumi_customization_gate.command_line.judging import judge_now
from pulumi_customization_gate.platforms import DEFAULT_TIMEOUT
from pulumi_customization_gate.version import __version__

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


@application.command(epilog=_STATUSES)
@options.connected
def wait(
    vms: options.Words,
    *,
    access: Access,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    start_timeout: options.StartTimeout = None,
    expect: options.ExpectOption = options.Expect.required,
    ready_when: options.ReadyWhenOption = options.ReadyWhen.customized,
    settle: options.Settle = 30.0,
    check: options.Checks = None,
    output: options.OutputFormat = options.Output.text,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Wait until the customization of all VMs has ended.

    One session watches all VMs. A customization that ended before the wait counts if no other was requested since.
    Progress goes to standard error: a live table in a terminal, otherwise a line for each change. The report goes to
    standard output.

    For example:

    - `customization-gate wait web-1 web-2 --timeout 45m`
    - `customization-gate wait 'web-*' --ready-when guest_operations --check tcp_port:22`
    - `customization-gate wait '/DC/vm/web/*' --output json > report.json`
    - `govc find vm -name 'web-*' | customization-gate wait -`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring
    from pulumi_customization_gate.core.outcomes import WaitRules  # noqa: PLC0415 -- the same
    from pulumi_customization_gate.core.wait import wait as wait_for_all  # noqa: PLC0415 -- the same
    from pulumi_customization_gate.hosting.limits import prepare_interpreter  # noqa: PLC0415 -- the same

    start = min(access.platform.start_timeout, timeout) if start_timeout is None else start_timeout
    if start > timeout:
        raise typer.BadParameter(
            f"expected at most --timeout, {timeout:g}, got {start:g}", param_hint="--start-timeout"
        )
    checks, needs_operations = conditions.checks_of(check or ()), ready_when is options.ReadyWhen.guest_operations
    rules = WaitRules(timeout=timeout, start_timeout=start, requires_customization=expect is options.Expect.required)
    interrupt = Interrupt()
    with errors_reported(interrupt), interrupt.caught():
        words = words_of(vms)
        readiness = conditions.readiness(access, guest_operations=needs_operations, settle=settle, checks=checks)
        prepare_interpreter()
        with access.source(words) as source, views.progress() as listener:
            report = wait_for_all(source, rules, readiness=readiness, listener=listener, cancelled=interrupt)
    views.show(report, output.value)
    raise typer.Exit(interrupt.exit_status if report.cancelled else exit_code(report))


@application.command(epilog=_STATUSES)
@options.connected
def status(
    vms: options.Words,
    *,
    access: Access,
    expect: options.ExpectOption = options.Expect.required,
    output: options.OutputFormat = options.Output.text,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Print the current status of VMs, without waiting.

    For example:

    - `customization-gate status 'web-*'`
    - `customization-gate status vm-87 --output json`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- see the module's docstring

    with errors_reported():
        report = judge_now(access, words_of(vms), requires_customization=expect is options.Expect.required)
    views.show(report, output.value, is_wait=False)
    raise typer.Exit(exit_code(report))


@application.command()
@options.connected_to_vcenter
def events(
    vms: options.Words,
    *,
    access: Access,
    output: options.OutputFormat = options.Output.text,
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

    with errors_reported(), access.session() as session:
        found, names, incomplete = histories(session, words_of(vms))
    if output is options.Output.json:
        typer.echo(json.dumps([event_document(event, names[event.vm]) for event in found], indent=2))
    else:
        views.show_events(found, names)
    views.show_missing_events(found, incomplete, names)


application.command()(timeline)
application.command(epilog=DOCTOR_STATUSES)(doctor)
