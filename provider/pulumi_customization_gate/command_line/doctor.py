"""The command `doctor`: whether a wait can work, found out before anything is cloned."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_customization_gate.command_line import options
from pulumi_customization_gate.command_line.conditions import guest_credentials
from pulumi_customization_gate.command_line.connection import Access  # noqa: TC001 -- typer reads annotations at run time
from pulumi_customization_gate.command_line.exit_codes import ExitCode, errors_reported
from pulumi_customization_gate.command_line.input_files import words_of
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.findings import Check, Finding, State
from pulumi_customization_gate.platforms import VSPHERE

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES = """\
Exit status: 0 no check failed; 1 at least one failed; 2 usage error; 4 the server cannot be reached, is not trusted,
or refuses the login."""

_LABELS = {
    Check.NAME_RESOLUTION: "name resolution",
    Check.CONNECTION: "TCP connection",
    Check.CERTIFICATE: "TLS certificate",
    Check.LOGIN: "login",
    Check.VERSION: "version",
    Check.CLOCK: "clock",
    Check.EVENT_ACCESS: "event access",
    Check.EVENT_COLLECTOR: "event collector",
    Check.VM: "VM",
    Check.FOLDER: "folder",
    Check.PRIVILEGES: "privileges",
    Check.GUEST_PRIVILEGES: "guest work",
    Check.ESXI_HOST: "ESXi host",
    Check.TEMPLATE: "template",
    Check.VMWARE_TOOLS: "VMware Tools",
    Check.DEPLOYPKG: "tools.conf",
}
_COLORS = {State.OK: "green", State.WARNING: "yellow", State.UNKNOWN: "yellow", State.FAILED: "red"}
_STATE_WIDTH = max(len(state.value) for state in State)
_LABEL_WIDTH = max(map(len, _LABELS.values()))


@options.connected
def doctor(
    vms: options.OptionalWords = None,
    *,
    access: Access,
    folder: Annotated[
        str, typer.Option(metavar="PATH", help="The inventory path of the folder into which VMs will be cloned.")
    ] = "",
    template: Annotated[
        str, typer.Option(metavar="VM", help="The template, or the VM that will be cloned: its name, path or ID.")
    ] = "",
    output: options.OutputFormat = options.Output.text,
    verbose: options.Verbose = False,  # noqa: ARG001 -- its callback acts
) -> None:
    """Check whether a wait can work: the connection, the login, the rights, the hosts and the template.

    Nothing is changed on the server. The checks after the first that fails on the connection are left out.

    For example:

    - `customization-gate doctor`
    - `customization-gate doctor --folder /DC/vm/web --template linux-template`
    - `customization-gate doctor 'web-*' --output json`
    """
    kind = access.platform
    if kind is not VSPHERE and (folder or template):
        raise typer.BadParameter("expected neither on Cloud Director", param_hint="--folder, --template")
    with errors_reported():
        words = words_of(vms) if vms else []
        more: dict[str, Any] = {}
        if kind is VSPHERE:
            more = {"folder": folder, "template": template, "guest_credentials": _guest_credentials()}
        findings = []
        for finding in kind.preflight(access.settings, words, **more):
            findings.append(finding)
            if output is options.Output.text:
                _show(finding)
    if output is options.Output.json:
        typer.echo(json.dumps(_document(findings), indent=2))
    else:
        typer.echo(_summary(findings))
    raise typer.Exit(_exit_code(findings))


def _guest_credentials() -> Any:
    """Returns the guest credentials of the environment, None where it has none."""
    with contextlib.suppress(ConfigurationError):
        return guest_credentials()
    return None


def _show(finding: Finding) -> None:
    state = typer.style(f"{finding.state.value:<{_STATE_WIDTH}}", fg=_COLORS[finding.state])
    typer.echo(f"{state}  {_LABELS[finding.check]:<{_LABEL_WIDTH}}  {finding.subject}: {finding.message}")
    if finding.remedy:
        typer.echo(f"{'':{_STATE_WIDTH}}  {'':{_LABEL_WIDTH}}  {finding.remedy}")


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.state for finding in findings)
    counted = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    return f"{len(findings)} {'check' if len(findings) == 1 else 'checks'}: {counted}"


def _document(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "ready": not any(finding.state is State.FAILED for finding in findings),
        "findings": [
            {
                "check": finding.check.value,
                "state": finding.state.value,
                "subject": finding.subject,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
    }


def _exit_code(findings: Sequence[Finding]) -> ExitCode:
    failed = [finding for finding in findings if finding.state is State.FAILED]
    if any(finding.check.is_of_connection for finding in failed):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if failed else ExitCode.SUCCEEDED
