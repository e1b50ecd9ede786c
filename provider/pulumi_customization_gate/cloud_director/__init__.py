"""Observations of virtual machines from VMware Cloud Director's guest customization status."""
