"""Lets `python -m pulumi_customization_gate.command_line` run the program where its script is not on PATH."""

from pulumi_customization_gate.command_line import main

main()
