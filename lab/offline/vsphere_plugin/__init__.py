"""A stand-in for the vSphere plugin, for machines that cannot get the real one.

It speaks the engine's provider protocol and does what the example needs: a few look-ups, and virtual machines cloned
from a template with a Linux customization. It is installed into the lab's own PULUMI_HOME and nowhere else.
"""
