"""How many examples of a property a run tries: few in the fast loop, more in `make test`."""

from __future__ import annotations

from hypothesis import settings

# No deadline per example: a busy computer is slow, and a test that hangs is ended by pytest's time-out.
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=100)
settings.load_profile("quick")
