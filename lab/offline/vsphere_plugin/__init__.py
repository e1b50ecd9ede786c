"""A stand-in for the vSphere plugin, for computers that cannot download the real one.

It implements the part of the engine's provider protocol that the example needs: a few look-ups, and VMs cloned from a
template with a Linux customization. It is installed in the lab's own PULUMI_HOME only.
"""
