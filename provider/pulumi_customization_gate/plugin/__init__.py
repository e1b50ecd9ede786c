"""The native provider: the resources for programs in every language, served over Pulumi's provider protocol."""

from __future__ import annotations


def main() -> None:
    """Serves the provider until the engine ends it: the launcher `pulumi-resource-customization-gate`."""
    from pulumi_customization_gate.plugin.server import serve  # noqa: PLC0415 -- the launcher alone needs the server

    serve()
