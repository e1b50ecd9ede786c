"""What the engine starts where it runs this folder as a plugin."""

from pulumi_customization_components.plugin import main

main()
