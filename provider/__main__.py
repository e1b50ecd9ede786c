"""The native provider as a plugin folder: `pulumi package add ./provider`."""

from pulumi_customization_gate.plugin import main

main()
