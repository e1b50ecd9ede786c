"""The options that several commands share, with their help."""

from __future__ import annotations

import enum
import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulumi_customization_gate import log
from pulumi_customization_gate.command_line.conditions import seconds
from pulumi_customization_gate.command_line.connection import Access
from pulumi_customization_gate.platforms import CLOUD_DIRECTOR, PLATFORMS, VSPHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_CONNECTION = "Connection (an option wins over the environment variable below it)"


class Platform(str, enum.Enum):
    """The platform of the VMs."""

    vsphere = VSPHERE.name
    cloud_director = CLOUD_DIRECTOR.name


class Output(str, enum.Enum):
    """How a result is written."""

    text = "text"
    json = "json"


class Expect(str, enum.Enum):
    """Whether a VM must have had a customization requested."""

    required = "required"
    optional = "optional"


class ReadyWhen(str, enum.Enum):
    """When a customized VM is ready."""

    customized = "customized"
    guest_operations = "guest_operations"


Timeout = Annotated[
    float,
    typer.Option(
        metavar="TIME", parser=seconds, help='The time for the whole wait: seconds, or a duration such as "30m".'
    ),
]
StartTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        parser=seconds,
        help="The time in which a customization must have started, from the later of the start of the wait and the "
        "VM's last power-on. Default: the smaller of 600 and --timeout; on Cloud Director --timeout.",
        show_default=False,
    ),
]
ReadyWhenOption = Annotated[
    ReadyWhen,
    typer.Option(help="guest_operations: after success, guest operations must stay ready for --settle."),
]
Settle = Annotated[
    float,
    typer.Option(metavar="TIME", parser=seconds, help="The time for which guest operations must stay ready."),
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHECK",
        show_default=False,
        help="A condition that must hold after success; can be repeated. The kind with the value of its first "
        "option (`tcp_port:22`, `address`, `command:'systemctl is-active nginx'`), or JSON as in a program "
        """(`{"kind": "address", "family": 4}`). Checks in the guest need GUEST_USER and GUEST_PASSWORD.""",
    ),
]
_WORDS_HELP = (
    "A managed object ID (`vm-87`), a UUID, a name, an inventory path (`/DC/vm/web/web-1`), or a pattern of "
    "names or paths (`web-*`, `/DC/vm/**/web-?`); `-` reads them from standard input, one per line. "
    "On Cloud Director: URN, href or `vm-UUID` of a VM or a vApp."
)
Words = Annotated[list[str], typer.Argument(metavar="VM", show_default=False, help=_WORDS_HELP)]
OptionalWords = Annotated[list[str] | None, typer.Argument(metavar="VM", show_default=False, help=_WORDS_HELP)]
OutputFormat = Annotated[
    Output,
    typer.Option("--output", "-o", help="json writes one document, and nothing else, to standard output."),
]
ExpectOption = Annotated[
    Expect,
    typer.Option(
        help="required: a VM with no trace of a customization is a failure. optional: it passes as NotCustomized."
    ),
]
PlatformOption = Annotated[
    Platform, typer.Option(metavar="NAME", help="vsphere or cloud_director.", rich_help_panel=_CONNECTION)
]
Server = Annotated[
    str | None,
    typer.Option(
        metavar="HOST",
        help="Host name or address, with :PORT if necessary.  \nVSPHERE_SERVER, GOVC_URL, VCD_URL",
        rich_help_panel=_CONNECTION,
    ),
]
Org = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The organization in Cloud Director.  \nVCD_ORG", rich_help_panel=_CONNECTION),
]
User = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The user who logs in.  \nVSPHERE_USER, GOVC_USERNAME, VCD_USER",
        rich_help_panel=_CONNECTION,
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file whose first line is the password. Without it and the variable, the program asks in a terminal.  \n"
        "VSPHERE_PASSWORD, GOVC_PASSWORD, VCD_PASSWORD; VCD_API_TOKEN holds a token",
        rich_help_panel=_CONNECTION,
    ),
]
CaFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A PEM file of the authorities to trust.  \nVSPHERE_CA_FILE, VCD_CA_FILE",
        rich_help_panel=_CONNECTION,
    ),
]
Thumbprint = Annotated[
    str | None,
    typer.Option(
        metavar="SHA256",
        help="The fingerprint of the only certificate to trust.  \nVSPHERE_THUMBPRINT, VCD_THUMBPRINT",
        rich_help_panel=_CONNECTION,
    ),
]
AllowUnverifiedSsl = Annotated[
    bool | None,
    typer.Option(
        "--allow-unverified-ssl",
        show_default=False,
        help="Trust any certificate, which lets others read the password.  \n"
        "VSPHERE_ALLOW_UNVERIFIED_SSL, GOVC_INSECURE, VCD_ALLOW_UNVERIFIED_SSL",
        rich_help_panel=_CONNECTION,
    ),
]


def _access(
    *,
    platform: PlatformOption = Platform.vsphere,
    server: Server = None,
    org: Org = None,
    user: User = None,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    thumbprint: Thumbprint = None,
    allow_unverified_ssl: AllowUnverifiedSsl = None,
) -> Access:
    kind = PLATFORMS[platform.value]
    return Access(kind, server, org, user, password_file, ca_file, thumbprint, allow_unverified_ssl)


def _with_options(without: Collection[str], command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command that has the options of the connection, without some, in place of its argument `access`."""
    options = inspect.signature(_access, eval_str=True).parameters
    shared = {name: option for name, option in options.items() if name not in without}
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "access"]

    @functools.wraps(command)
    def connected_command(**values: Any) -> None:
        connection = {name: values.pop(name) for name in shared}
        command(access=_access(**connection), **values)

    parameters = [*own, *shared.values()]
    # typer reads both.
    connected_command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    connected_command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return connected_command


connected = functools.partial(_with_options, ())
"""Gives a command the options of a connection to either platform; it gets them as `access`."""
connected_to_vcenter = functools.partial(_with_options, ("platform", "org"))
"""The same with the options of a vCenter alone."""


def _show_log(value: bool) -> bool:
    if value:
        log.show()
    return value


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_show_log,
        help="Write each login, retry, long poll and verdict to standard error.",
    ),
]
