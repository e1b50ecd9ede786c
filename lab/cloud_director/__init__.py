"""A simulated Cloud Director: the part of its API about guest customization, over HTTPS, with faults on demand."""
