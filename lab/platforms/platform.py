"""What the example needs of a kind of data centre."""

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
"""A heading of the table at the end, and what stands under it."""


class Platform(ABC, Generic[LabT]):
    """One kind of data centre, and the example's stack on it. Every `lab` is the running data centre.

    Args:
        base: The lab that holds the tools; what belongs to this platform alone may lie elsewhere.
    """

    title: ClassVar[str]
    """The product, as it is called in a sentence."""
    command: ClassVar[str] = "make up"
    """What brings the example up on it."""
    password_key: ClassVar[str]
    """The setting that takes the password."""
    columns: ClassVar[Sequence[Column]]
    note: ClassVar[str] = ""
    """What has to be known to read the table."""
    resolution: ClassVar[timedelta] = timedelta()
    """How coarse the coarsest clock in the table is."""

    def __init__(self, base: Home) -> None:
        self.base, self.home = base, base

    @property
    @abstractmethod
    def folder(self) -> Path:
        """What the running data centre leaves: ready file and log."""

    @abstractmethod
    def build(self) -> str:
        """Returns a digest of the sources that a data centre runs which is started now."""

    @abstractmethod
    def find(self) -> LabT | None:
        """Returns the data centre that was started, or None where it runs no more or does not answer."""

    def was_started(self) -> bool:
        """Tells whether a data centre was started and not stopped on purpose since."""
        return (self.folder / "ready.json").exists()

    @abstractmethod
    def start(self) -> LabT:
        """Starts the data centre."""

    @abstractmethod
    def stop(self) -> None:
        """Stops the data centre; one that is gone already is no error."""

    @abstractmethod
    def tools(self) -> Tools:
        """Returns what the engine needs here; gets what is missing, and says what stands in for something else."""

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
        """Returns the stack's settings that are no secret."""

    @abstractmethod
    def arranged(
        self, lab: LabT, stack: automation.Stack, fail: str, replace: str
    ) -> AbstractContextManager[dict[str, Any]]:
        """Sees to it, for the length of a block, that machines fail or are replaced; gives the options for the engine.

        Args:
            lab: The running data centre.
            stack: The example's stack.
            fail: The machine whose customization shall fail, or nothing; it is replaced where it is there already.
            replace: The machine to replace, or nothing.

        Raises:
            LabError: No machine has that name.
        """

    def rows(self, lab: LabT, resources: Sequence[Mapping[str, Any]]) -> list[Row]:  # noqa: ARG002 -- some need it
        """Returns a row per machine of the gate, from the resources of the exported stack."""
        return timeline_check.rows(resources)


def clock(moment: datetime | None, precision: str = "milliseconds") -> str:
    """Returns a time of day in UTC, or a dash where there is none."""
    return moment.astimezone(timezone.utc).time().isoformat(precision) if moment else "-"


def refuse_unknown(known: Mapping[str, Any], *names: str) -> None:
    """Lets only names pass that are known, and empty ones.

    Raises:
        LabError: A name is not known.
    """
    for name in filter(None, names):
        if name not in known:
            raise LabError(f"no machine is named {name!r}; there are {', '.join(sorted(known))}")
