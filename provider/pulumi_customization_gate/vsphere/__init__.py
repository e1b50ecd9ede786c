"""Observations of virtual machines from a vCenter: its events, its inventory, its guests."""
