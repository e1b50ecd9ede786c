"""The settings that a gate's inputs name: of the server, and of who makes checks in the guests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulumi_customization_gate.lifecycle.arguments import namespace_of, platform_of
from pulumi_customization_gate.lifecycle.checks import IN_GUEST
from pulumi_customization_gate.lifecycle.engine import is_unknown
from pulumi_customization_gate.lifecycle.inputs import is_list

if TYPE_CHECKING:
    from pulumi_customization_gate.config_lookup import Config


def settings_of(config: Config, inputs: Mapping[str, Any]) -> Any:
    """Returns the platform's settings, None where platform or namespace are not known or cannot be."""
    platform, namespace = platform_of(inputs), namespace_of(inputs)
    if platform is None or is_unknown(namespace):
        return None
    return platform.read_settings(config, os.environ, str(namespace))


def guest_credentials_of(config: Config, inputs: Mapping[str, Any]) -> Any:
    """Returns who makes the checks that are made in the guests, None where there is no such check.

    Raises:
        ConfigurationError: If something is missing.
    """
    checks, namespace = inputs.get("checks"), inputs.get("config_namespace")
    kinds = [check.get("kind") for check in checks or () if isinstance(check, Mapping)] if is_list(checks) else []
    if is_unknown(namespace) or not any(kind in IN_GUEST for kind in kinds if isinstance(kind, str)):
        return None
    # Only such a check needs it, and the client library that it needs.
    from pulumi_customization_gate.lifecycle.guest_arguments import credentials  # noqa: PLC0415 -- see above

    return credentials({"config_namespace": namespace}, config, os.environ, has_inputs=False)
