"""The addresses of a component: its gate opens once each guest has a usable one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

ADDRESS_CHECK = {"kind": "address"}


def with_address_check(gate_args: Mapping[str, Any] | None, *, is_wanted: bool) -> dict[str, Any]:
    """Returns a gate's arguments with a check for a usable address, unless its own checks have one."""
    changed = dict(gate_args or {})
    if is_wanted:
        checks = changed.get("checks")
        is_output = isinstance(checks, pulumi.Output)
        changed["checks"] = checks.apply(_with_check) if is_output else _with_check(checks)  # type: ignore[union-attr]
    return changed


def _with_check(checks: Any) -> list[Any]:
    known = list(checks or ())
    has_one = any(isinstance(check, Mapping) and check.get("kind") == "address" for check in known)
    return known if has_one else [*known, ADDRESS_CHECK]
