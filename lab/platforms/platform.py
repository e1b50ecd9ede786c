"""What the example needs from a platform: vCenter or Cloud Director."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from lab import timeline_check
from lab.paths import Home, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pulumi import automation

    from lab.bootstrap import Tools
    from lab.timeline_check import Row

LabT = TypeVar("LabT")
Column = tuple[str, "Callable[[Row], str]"]
"""A heading of the table at the end, and the text of its cells."""


class Platform(ABC, Generic[LabT]):
    """One platform, and the example's stack on it. `lab` is always the running server.

    Args:
        base: The lab that holds the tools; files of this platform alone may be in another folder.
    """

    title: ClassVar[str]
    """The name of the product."""
    command: ClassVar[str] = "make up"
    """The command that runs the example on it."""
    password_key: ClassVar[str]
    """The setting that takes the password."""
    columns: ClassVar[Sequence[Column]]
    note: ClassVar[str] = ""
    """A note below the table."""
    resolution: ClassVar[timedelta] = timedelta()
    """The resolution of the coarsest clock in the table."""

    def __init__(self, base: Home) -> None:
        self.base, self.home = base, base

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of the server's ready file and log."""

    @abstractmethod
    def build(self) -> str:
        """Returns a digest of the sources from which a server is started now."""

    @abstractmethod
    def find(self) -> LabT | None:
        """Returns the server that was started, or None where it has ended or does not answer."""

    def was_started(self) -> bool:
        """Whether a server was started and not stopped by `down` since."""
        return (self.folder / "ready.json").exists()

    @abstractmethod
    def start(self) -> LabT:
        """Starts the server."""

    @abstractmethod
    def stop(self) -> None:
        """Stops the server, if it runs."""

    @abstractmethod
    def tools(self) -> Tools:
        """Returns the tools that the engine needs; gets what is missing, and reports a stand-in."""

    @abstractmethod
    def project(self, command: automation.PulumiCommand) -> automation.ProjectSettings:
        """Returns the project of the example."""

    @abstractmethod
    def program(self) -> None:
        """Declares the example."""

    @abstractmethod
    def variables(self, lab: LabT) -> dict[str, str]:
        """Returns the variables with which the engine runs."""

    @abstractmethod
    def settings(self, lab: LabT) -> dict[str, str]:
        """Returns the stack's settings that are not secret."""

    @abstractmethod
    def arranged(
        self, lab: LabT, stack: automation.Stack, fail: str, replace: str
    ) -> AbstractContextManager[dict[str, Any]]:
        """Makes VMs fail or be replaced for the duration of a `with` block; gives the options for the engine.

        Args:
            lab: The running server.
            stack: The example's stack.
            fail: The VM whose customization fails, or nothing; it is replaced where it exists already.
            replace: The VM to replace, or nothing.

        Raises:
            LabError: No VM has that name.
        """

    def rows(self, lab: LabT, resources: Sequence[Mapping[str, Any]]) -> list[Row]:  # noqa: ARG002 -- some need it
        """Returns a row per VM of the gate, from the resources of the exported stack."""
        return timeline_check.rows(resources)


def clock(moment: datetime | None, precision: str = "milliseconds") -> str:
    """Returns a time of day in UTC, or a dash where there is none."""
    return moment.astimezone(timezone.utc).time().isoformat(precision) if moment else "-"


def refuse_unknown(known: Mapping[str, Any], *names: str) -> None:
    """Rejects names that are not known; empty ones pass.

    Raises:
        LabError: A name is not known.
    """
    for name in filter(None, names):
        if name not in known:
            raise LabError(f"no VM is named {name!r}; the VMs are {', '.join(sorted(known))}")
