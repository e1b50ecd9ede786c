"""A long run with everything at once: 1000 VMs, random scenarios, many waits, and random faults (`make soak`)."""
