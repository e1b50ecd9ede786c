"""The program of this folder as a Pulumi plugin."""

from pulumi_customization_components.plugin import main

main()
