"""The tests that are marked for a GPU, by the names of their files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.marked import files
from benchmarks.gpu.results import Part

_ROOT = Path(__file__).parents[2]


def run(out: Path, toy: bool) -> None:
    """Toy: which tests there are, and none of them run. A file that cannot be imported here keeps no other from it."""
    part = Part(out, "tests")
    knobs = ["-o", "addopts=", "-q", "-m", "gpu", "-p", "no:cacheprovider", *(["--collect-only"] if toy else [])]
    knobs.append("--continue-on-collection-errors")
    command = [sys.executable, "-m", "pytest", *knobs, *files(_ROOT)]
    told = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    print(told.stdout, told.stderr)
    for line in told.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            part.add(line[:150], met=False)
    last = next(
        (
            line
            for line in reversed(told.stdout.splitlines())
            if re.search(r"\d+ (passed|tests|failed)|/\d+ tests", line)
        ),
        "",
    )
    part.add("tests of a GPU", met=told.returncode == 0, told=last.strip("= "))
    part.keep(ended="whole")
