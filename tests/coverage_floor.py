"""Fails where the unit tests cover too little of one module: `python -m tests.coverage_floor`, after a run with --cov.

coverage.py itself holds the figure of the whole library (`fail_under`); it has none for a single module.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coverage import Coverage

FLOOR = 70
"""Percent of a module's statements."""


def below_floor() -> dict[str, float]:
    """Returns the percentage of each module below the floor, by its path in the library."""
    coverage = Coverage()
    coverage.load()
    found = {}
    for name in sorted(coverage.get_data().measured_files()):
        _, statements, _, missing, _ = coverage.analysis2(name)
        covered = 100 * (1 - len(missing) / len(statements)) if statements else 100
        if covered < FLOOR:
            found[Path(name).as_posix().rpartition("pulumi_customization_gate/")[2]] = covered
    return found


def main() -> int:
    """Prints the modules below the floor; returns 1 if there is one."""
    found = below_floor()
    for module, covered in found.items():
        sys.stdout.write(f"{module}: {covered:.0f} %, expected at least {FLOOR} %\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
