"""A long run with everything at once: a thousand VMs, random scenarios, many waits, and random faults (`make soak`).

The verdict of each VM follows from its scenario, which is chosen before it starts, so every verdict is checked.
"""
