"""The limits of a process that hosts lifecycles."""

import gc
import sys

CALLS_AT_ONCE = 256
"""Calls that are served side by side. Each gate that waits is one."""
END_TIMEOUT = 10.0
"""Seconds that sessions may take to close once the engine is gone: a cancelled wait ends and logs out within two."""
KEEP_UNUSED = 10.0
"""Seconds for which a session stays open after its last gate: at the engine's default parallelism gates follow one
another, and each would log in again."""
_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread computes while others wait for the interpreter. With Python's 0.005 the thread that parses
what happened holds up the reads that confirm it by as long as a read takes."""
_COLLECTION_THRESHOLD = 100
"""Collections of the middle generation before one of the oldest, Python's 10 before 3.14: it stops all threads, for a
quarter of a second where a wait has observed 10,000 VMs."""


def prepare_interpreter() -> None:
    """Sets how this process takes turns and collects garbage, so that no thread holds up the others for long."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _COLLECTION_THRESHOLD)
