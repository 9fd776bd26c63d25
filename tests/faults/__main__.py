"""The figures of reliability: more disks, faults and inputs than the tests have time for.

    python -m tests.faults [minutes] [--only "power cuts"]
    python -m tests.faults --seed N  # the world of many writers that this seed makes, once more

It ends when every method has reached its goal, or when the minutes are over. What failed before is tried again first,
and counts no longer when it fails no more.
A line of JSON for each part and seed goes to benchmarks/results/reliability, to a log named after the machine, so that
a run that was stopped goes on: also in another clone and on another day, as the log is committed. Its lines tell of
which commit they speak; remove it to begin anew. The table of all lines is printed at the end and is written as JSON
beside it. A failure is told with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time

from distillkit.system.lines import append_line
from tests.faults.figures import told
from tests.faults.many import trial as many
from tests.faults.parts import PARTS, Part
from tests.faults.progress import LOG, Line, Progress, commit, logged


def main(minutes: float, only: str | None = None) -> int:
    """Exit code: 1 where anything failed. `only`: a method."""
    until = time.monotonic() + 60 * minutes
    progress, asked = Progress(logged()), [one for one in PARTS if only in (None, one.method)]
    for lacking in sorted({(one.method, one.needs or "") for one in asked if not one.can_be}):
        print("{} is passed over: {} is not installed".format(*lacking))
    LOG.parent.mkdir(parents=True, exist_ok=True)
    while seeds := [(one, seed) for one in asked if one.can_be and (seed := progress.next_seed(one)) is not None]:
        for part, seed in seeds:
            if time.monotonic() >= until:
                return told()
            line = _tried(part, seed)
            append_line(LOG, line)
            progress.add(line)
    return told()


def _tried(part: Part, seed: int) -> Line:
    started = time.monotonic()
    line = {"method": part.method, "what": part.what, "seed": seed, "unit": part.unit}
    line |= {name: value for name, value in part.tried(seed)._asdict().items() if value is not None}
    return line | {"seconds": round(time.monotonic() - started, 1), "commit": commit()}


if __name__ == "__main__":
    faulthandler.enable()  # an input may end the process, which would say nothing
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("minutes", type=float, nargs="?", default=60)
    parser.add_argument("--only", choices=list(dict.fromkeys(part.method for part in PARTS)), help="this method alone")
    parser.add_argument("--seed", type=int, help="one world of many writers, once more")
    asked = parser.parse_args()
    if asked.seed is not None:
        many.check(asked.seed)
        sys.exit(print(f"seed {asked.seed}: no row twice, none lost, none of another identity"))
    sys.exit(main(asked.minutes, asked.only))
