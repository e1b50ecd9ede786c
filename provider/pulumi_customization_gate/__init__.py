"""Blocks until the guest customization of virtual machines has succeeded."""
