"""An engine in memory, for tests of lifecycles."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FakeEngine:
    """Replaces the engine of one call: keeps the lines that are logged."""

    urn: str = "urn:pulumi:dev::test::pulumi-python:dynamic/customization:CustomizationGate::web"
    custom_timeout: float = 0
    has_terminal: bool = False
    is_cancelled: bool = False
    lines: list[str] = field(default_factory=list)

    def log(self, message: str, *, lasting: bool = True, warning: bool = False) -> None:
        """Keeps a line that lasts."""
        if lasting:
            self.lines.append(f"warning: {message}" if warning else message)

    def cancelled(self) -> bool:
        """Whether the test has cancelled the update."""
        return self.is_cancelled
