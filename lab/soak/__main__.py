"""Runs a soak, shows its progress, and prints what was found: `make soak`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.bootstrap import build_vcenter
from lab.paths import Home, LabError, exit_status
from lab.soak.soak import FEWEST_GROUPS, prepared

_FEWEST = 4 * FEWEST_GROUPS
_SHOWN = 40
"""Lines of what was wrong that are shown."""


def main() -> None:
    """Reads the command line and runs the soak.

    Raises:
        LabError: Something was wrong, or the lab failed.
    """
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description=__doc__)
    parser.add_argument("--machines", type=int, default=1000, metavar="N", help="number of VMs (1000)")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="length of the run (10)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="makes a run repeatable (random)")
    options = parser.parse_args()
    if options.machines < _FEWEST or options.minutes <= 0:
        parser.error(f"expected --machines of at least {_FEWEST} and positive --minutes")
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    console, seconds = Console(), 60 * options.minutes
    console.print(f"{options.machines} VMs for {options.minutes:g} minutes, --seed {seed}", highlight=False)
    program = build_vcenter(Home())
    with (
        tempfile.TemporaryDirectory() as folder,
        console.status("Starting the lab's vCenter ...") as status,
        prepared(program, Path(folder), machines=options.machines, seconds=seconds, seed=seed) as soak,
    ):
        figures = soak.run(status.update)
    table = Table("figure", "", box=None, pad_edge=False)
    for figure in figures.items():
        table.add_row(*figure)
    console.print(table)
    wrong = soak.tally.wrong
    for line in wrong[:_SHOWN]:
        console.print(f"wrong: {line}", markup=False, highlight=False)
    if wrong:
        raise LabError(f"{len(wrong)} wrong, at most {_SHOWN} are shown")
    console.print("ok")


if __name__ == "__main__":
    sys.exit(exit_status(main, stopped="nothing is left running"))
