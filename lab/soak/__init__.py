"""A long run of everything at once: a thousand machines with random lives, many waits, and foul weather: `make soak`.

What each machine comes to is decided before it lives, so every verdict can be held against it.
"""
