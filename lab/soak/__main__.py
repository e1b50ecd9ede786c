"""Runs a soak, shows its progress, and prints what was found: `make soak`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from lab.bootstrap import build_vcenter
from lab.paths import Home, LabError, exit_status
from lab.soak.soak import FEWEST_GROUPS, prepared

_FEWEST_VMS, _MOST_LINES = 4 * FEWEST_GROUPS, 40


def main() -> None:
    """Reads the command line, runs the soak, and raises a LabError if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description=__doc__)
    parser.add_argument("--vms", type=int, default=1000, metavar="N", help="number of VMs (1000)")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="length of the run (10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), metavar="N")
    options = parser.parse_args()
    if options.vms < _FEWEST_VMS or options.minutes <= 0:
        parser.error(f"expected --vms of at least {_FEWEST_VMS} and positive --minutes")
    print(f"{options.vms} VMs for {options.minutes:g} minutes, --seed {options.seed} for the same scenarios")
    program = build_vcenter(Home())
    with (
        tempfile.TemporaryDirectory() as folder,
        Console().status("Starting the lab's vCenter ...") as status,
        prepared(program, Path(folder), vms=options.vms, seconds=60 * options.minutes, seed=options.seed) as soak,
    ):
        figures = soak.run(status.update)
    print(*(f"{name:<44}{figure}" for name, figure in figures.items()), sep="\n")
    if soak.wrong:
        raise LabError("\n".join([f"{len(soak.wrong)} wrong, the first {_MOST_LINES}:", *soak.wrong[:_MOST_LINES]]))
    print("ok")


if __name__ == "__main__":
    sys.exit(exit_status(main, stopped="nothing is left running"))
