"""The environment, passphrase and connection of every run of the engine in the lab."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi import automation

from lab.paths import Home, write_private
from lab.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.cloud_director.client import CloudDirectorLab
    from lab.vcenter_client import Lab

PLUGINS = ("lab.offline.vsphere_plugin", "pulumi.dynamic", "pulumi-resource-")
"""At least one of these is in the command line of each plugin of the engine."""

_CLI_SECONDS = 120.0
_FOREIGN = ("PULUMI_", "VSPHERE_", "VCD_", "GUEST_")


def common(home: Home) -> dict[str, str]:
    """Returns the variables with which every engine runs in the lab; the folders that they name exist then."""
    if not home.passphrase.exists():
        write_private(home.passphrase, secrets.token_urlsafe(32))
    for folder in (home.state, home.work, home.pulumi_home):
        folder.mkdir(exist_ok=True)
    return {
        "PULUMI_HOME": str(home.pulumi_home),
        "PULUMI_BACKEND_URL": home.state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(home.passphrase),
        # The host of dynamic resources finds its packages by this variable, and by no other.
        "PULUMI_RUNTIME_VIRTUALENV": sys.prefix,
        # The engine finds the launcher of the native provider there.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def variables(home: Home, lab: Lab) -> dict[str, str]:
    """Returns the variables with which the engine runs on the lab's vCenter."""
    return {
        **common(home),
        # The vSphere plugin has no setting for a certificate authority, but takes this variable as most programs do.
        # So its connection is verified as well, and `vsphere:allowUnverifiedSsl` stays unset.
        "SSL_CERT_FILE": lab.ca_file,
        # The guest credentials. In the environment they are in no settings and in no state.
        "GUEST_USER": lab.guest_user,
        "GUEST_PASSWORD": lab.guest_password,
    }


def command(pulumi: Path, home: Home) -> automation.PulumiCommand:
    """Returns the CLI for the Automation API, and removes this person's own settings from the environment.

    The Automation API hands the environment of this process on to the CLI, and to its own first call before any other
    variable applies. A stray PULUMI_CONFIG_PASSPHRASE or VSPHERE_SERVER must not decide in the lab.
    """
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ["PULUMI_HOME"] = str(home.pulumi_home)
    # A CLI that is given by its root finds the plugins beside itself first.
    return automation.PulumiCommand(root=str(pulumi.parent.parent) if pulumi.parent.name == "bin" else None)


def connection(lab: Lab) -> dict[str, str]:
    """Returns the settings that are not secret; the gate verifies the server by the lab's certificate authority."""
    return {"vsphere:vsphereServer": lab.server, "vsphere:user": lab.user, "customization:caFile": lab.ca_file}


def for_both_hosts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a stack, and for the native provider the same connection in its own namespace."""
    native = {f"customization-gate:{key.partition(':')[2]}": value for key, value in settings.items()}
    return {**native, **settings}


def set_password(
    pulumi: Path,
    stack: str,
    lab: Lab | CloudDirectorLab,
    environment: Mapping[str, str],
    work: Path,
    *,
    key: str = "vsphere:password",
) -> None:
    """Stores the password, encrypted, in a stack's settings.

    It goes through standard input, because every user of the computer can read the arguments of a process.
    """
    words = [str(pulumi), "config", "set", "--secret", key, "--stack", stack, "--non-interactive"]
    run("pulumi config set", words, stdin=lab.password, cwd=work, env=environment, seconds=_CLI_SECONDS)
