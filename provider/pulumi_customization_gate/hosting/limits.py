"""The limits of a process that hosts lifecycles."""

CALLS_AT_ONCE = 256
"""Calls that are served side by side. Each gate that waits is one."""
END_TIMEOUT = 10.0
"""Seconds that sessions may take to close once the engine is gone: a cancelled wait ends and logs out within two."""
KEEP_UNUSED = 10.0
"""Seconds for which a session stays open after its last gate: at the engine's default parallelism gates follow one
another, and each would log in again."""
SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread computes while others wait for the interpreter. With Python's 0.005 the thread that parses
what happened holds up the reads that confirm it by as long as a read takes."""
