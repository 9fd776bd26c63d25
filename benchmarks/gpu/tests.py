"""The tests that are marked for a GPU, by the names of their files: collecting all of tests/ takes long, and more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.results import Part

_ROOT = Path(__file__).parents[2]


def files() -> list[str]:
    """Every file of tests that marks one for a GPU."""
    found = sorted((_ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(_ROOT)) for path in found if "pytest.mark.gpu" in path.read_text()]


def run(out: Path, toy: bool) -> None:
    """Toy: which tests there are, and none of them run."""
    part = Part(out, "tests")
    knobs = ["-o", "addopts=", "-q", "-m", "gpu", "-p", "no:cacheprovider", *(["--collect-only"] if toy else [])]
    told = subprocess.run([sys.executable, "-m", "pytest", *knobs, *files()], cwd=_ROOT, capture_output=True, text=True)
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
