"""The connection and the login: options first, then the environment; the password is never an argument."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.command_line import govc
from pulumi_customization_gate.command_line.input_files import read_text
from pulumi_customization_gate.command_line.phrases import CLOUD_DIRECTOR_SETTINGS, GOVC_SETTINGS, VSPHERE_SETTINGS
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.platforms import CLOUD_DIRECTOR, VSPHERE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pulumi_customization_gate.cloud_director.settings import CloudDirectorSettings
    from pulumi_customization_gate.core.source import Source
    from pulumi_customization_gate.platforms import Platform
    from pulumi_customization_gate.vsphere.session import Session
    from pulumi_customization_gate.vsphere.settings import VsphereSettings


@dataclass(frozen=True)
class Access:
    """The server and the login in the options; None means the environment."""

    platform: Platform = VSPHERE
    server: str | None = None
    org: str | None = None
    user: str | None = None
    password_file: Path | None = None
    ca_file: str | None = None
    thumbprint: str | None = None
    allow_unverified_ssl: bool | None = None

    @functools.cached_property
    def settings(self) -> Any:
        """The settings of the platform; read once, because a terminal may be asked for the password.

        Raises:
            ConfigurationError: If a setting is missing or wrong.
        """
        read = self.cloud_director_settings if self.platform is CLOUD_DIRECTOR else self.vsphere_settings
        return read(os.environ)

    @contextlib.contextmanager
    def source(self, words: Sequence[str]) -> Iterator[Source]:
        """Finds the VMs of the references and yields a source that watches them.

        Raises:
            ConfigurationError: If a setting is missing or wrong, or a reference has no VM.
            ServerError: If the server cannot be used.
        """
        from pulumi_customization_gate.core.model import Target, targets_of  # noqa: PLC0415 -- `--help` needs no model

        if self.platform is CLOUD_DIRECTOR:
            targets = targets_of(words, lambda word: CLOUD_DIRECTOR.parse_reference(word, self.settings))
            yield CLOUD_DIRECTOR.source(self.settings, targets)
            return
        from pulumi_customization_gate.vsphere import search  # noqa: PLC0415 -- nor a client library

        with self.session() as session:
            targets = [Target(None, reference) for reference in search.expand(session, words)]
            yield VSPHERE.source(session.settings, targets)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Yields a session on the vCenter.

        Raises:
            ConfigurationError: If a setting is missing or wrong.
            ServerError: If the vCenter cannot be used.
        """
        from pulumi_customization_gate.vsphere.session import acquire  # noqa: PLC0415 -- as above

        with acquire(self.settings) as session:
            yield session

    def vsphere_settings(self, environment: Mapping[str, str]) -> VsphereSettings:
        """Returns the address and the login of the vCenter.

        Raises:
            ConfigurationError: If something is missing or wrong.
        """
        called = VSPHERE_SETTINGS
        if self.server is None and govc.counts(environment):
            environment, called = govc.as_ours(environment), GOVC_SETTINGS
        server = self._required("--server", self.server, "VSPHERE_SERVER", environment, "GOVC_URL")
        user = self._required("--user", self.user, "VSPHERE_USER", environment)
        config = {
            "vsphere:vsphereServer": server,
            "vsphere:user": user,
            "vsphere:password": self._password("VSPHERE_PASSWORD", environment, f"{user} at {server}"),
            "vsphere:allowUnverifiedSsl": self._trust(),
            "customization:caFile": self.ca_file,
            "customization:thumbprint": self.thumbprint,
        }
        settings: VsphereSettings = VSPHERE.read_settings(config.get, environment, called=called)
        return settings

    def cloud_director_settings(self, environment: Mapping[str, str]) -> CloudDirectorSettings:
        """Returns the address and the login of Cloud Director; the API token comes from the environment only.

        Raises:
            ConfigurationError: If something is missing or wrong.
        """
        url = self._required("--server", self.server, "VCD_URL", environment)
        org = self._required("--org", self.org, "VCD_ORG", environment)
        config: dict[str, str | None] = {
            "vcd:url": url if "://" in url else f"https://{url}",
            "vcd:org": org,
            "vcd:allowUnverifiedSsl": self._trust(),
            "customization:caFile": self.ca_file,
            "customization:thumbprint": self.thumbprint,
        }
        if self.user or self.password_file or not environment.get("VCD_API_TOKEN"):
            user = self._required("--user", self.user, "VCD_USER", environment)
            password = self._password("VCD_PASSWORD", environment, f"{user} of {org} at {url}")
            config |= {"vcd:user": user, "vcd:password": password, "vcd:apiToken": ""}
        settings: CloudDirectorSettings = CLOUD_DIRECTOR.read_settings(
            config.get, environment, called=CLOUD_DIRECTOR_SETTINGS
        )
        return settings

    def _trust(self) -> str | None:
        return None if self.allow_unverified_ssl is None else str(self.allow_unverified_ssl).lower()

    @staticmethod
    def _required(
        option: str, value: str | None, variable: str, environment: Mapping[str, str], other: str = ""
    ) -> str:
        found = (value if value is not None else environment.get(variable, "")).strip()
        if not found:
            names = f"{variable} or {other}" if other else variable
            raise ConfigurationError(f"missing {option}, or {names} in the environment")
        return found

    def _password(self, variable: str, environment: Mapping[str, str], whose: str) -> str:
        """Returns the password from the file, or from the environment, or from a prompt in the terminal."""
        if self.password_file is not None:
            return _first_line(self.password_file)
        if password := environment.get(variable):
            return password
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigurationError(
                f"missing password: set --password-file to its file, or set {variable}; "
                "the program can ask for it in a terminal only"
            )
        if not (password := getpass.getpass(f"Password of {whose}: ", sys.stderr)):
            raise ConfigurationError("the password is empty")
        return password


def _first_line(file: Path) -> str:
    """Returns the first line of a password file; an editor's line end is not part of the password."""
    try:
        line = read_text(file).split("\n", 1)[0].removesuffix("\r")
    except ConfigurationError as error:
        raise ConfigurationError(f"--password-file {error}") from None
    if not line:
        raise ConfigurationError(f"--password-file {str(file)!r} has an empty first line; expected the password there")
    return line
