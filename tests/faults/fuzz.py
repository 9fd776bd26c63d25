"""Coverage-guided fuzzing of what comes from outside: pip install "distillkit[fuzz]".

    python -m tests.faults.fuzz [TARGET] [--minutes N]

Of a target (without one: of each in turn) inputs are grown from the file itself and from those of corpus/TARGET; those
that reach something new are kept in .fuzz/TARGET, so the next run goes on with them, and what breaks a reader lies in
.fuzz/TARGET.broken. `make reliability` does it too, in turns, and prints what is in its log, where this is added.
https://github.com/google/atheris
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).with_name("corpus")
_KEPT = Path(".fuzz")
_MEMORY = 4096  # MB, of the process with all its libraries
_LARGEST = 1 << 16


class Fuzzed(NamedTuple):
    """`minutes`: of the CPU, from the first input on."""

    inputs: int
    failed: list[str]
    minutes: float


def slug(target: str) -> str:
    """The name of a target as one of a folder."""
    return re.sub(r"\W+", "_", target)


def known(target: str) -> Path:
    """The folder of inputs that are kept with the tests."""
    return CORPUS / slug(target)


def main(target: str | None, minutes: float) -> int:
    """Exit code: 1 where a reader broke."""
    from distillkit.system.lines import append_line
    from tests.faults.progress import LOG, logged
    from tests.faults.targets import TARGETS

    broken = 0
    for name in [target] if target else TARGETS:
        seed = sum(line["what"] == name and line["method"] == "fuzzing" for line in logged())
        found = tried(name, minutes, seed)
        line = {"method": "fuzzing", "what": name, "seed": seed, "unit": "inputs", "minutes": found.minutes}
        append_line(LOG, line | {"counted": found.inputs, "failed": found.failed})
        print(f"{name}: {found.inputs:,} inputs in {found.minutes:g} minutes, {found.failed or 'nothing broke'}")
        broken += len(found.failed)
    return 1 if broken else 0


def tried(name: str, minutes: float, seed: int) -> Fuzzed:
    """A target for so many minutes, in a process of its own."""
    place = _KEPT / slug(name)
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asked = [sys.executable, "-m", "tests.faults.fuzz", name, "--minutes", str(minutes), "--in", folder]
        before = _minutes_of_children()
        asked += ["--kept", str(place), "--seed", str(seed)]
        run = subprocess.run(asked, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    ready = re.search(r"^ready after ([0-9.]+) minutes", run.stderr, re.MULTILINE)
    took = round(_minutes_of_children() - before - float(ready[1]), 2) if ready else 0.0
    told = re.search(r"number_of_executed_units:\s*(\d+)", run.stderr)
    failed = [] if run.returncode == 0 else [f"{name}: {_last_words(run.stderr)}; the input lies beside {place}"]
    return Fuzzed(int(told[1]) if told else 0, failed, took)


def _minutes_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def _last_words(said: str) -> str:
    """The error of a reader, or what the fuzzer says."""
    lines = [line for line in said.splitlines() if "Error" in line or "ERROR" in line]
    return lines[0].strip() if lines else said[-200:]


def stood_still(failed: str) -> bool:
    """Whether it was the machine: a reader that hangs is told after PATIENCE, not after half an hour."""
    from tests.faults.hostile_input import PATIENCE

    told = re.search(r"libFuzzer: timeout after (\d+) seconds", failed)
    return told is not None and int(told[1]) > 10 * PATIENCE


def fuzz(name: str, minutes: float, seed: int, folder: Path, kept: Path) -> None:
    """In a process of its own, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["distillkit"]):
        from tests.faults.check import quick
        from tests.faults.hostile_input import PATIENCE, Reader
        from tests.faults.outside import make_world
    (folder / "world").mkdir()
    make_world(folder / "world")
    reader = Reader(folder / "world", folder / "read", name)
    (kept / "original").write_bytes(reader.original)
    limits = [f"-max_total_time={int(60 * minutes)}", f"-timeout={PATIENCE}", f"-rss_limit_mb={_MEMORY}"]
    limits += [f"-seed={seed + 1}"]  # 0 would be any
    told = [f"-artifact_prefix={kept}.broken.", "-print_final_stats=1", f"-max_len={_LARGEST}"]
    places = [str(kept), str(known(name))]  # what is new goes to the first
    atheris.Setup([sys.argv[0], *limits, *told, *places], lambda content: reader.read(content, "an input"))
    print(f"ready after {time.process_time() / 60:.3f} minutes", file=sys.stderr, flush=True)
    with quick():
        atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        fuzz(given.target, given.minutes, given.seed, given.folder, given.kept)
    sys.exit(main(given.target, given.minutes))
