"""Coverage-guided fuzzing of what comes from outside: pip install "distillkit[fuzz]".

    python -m tests.faults.fuzz [TARGET] [--minutes N]

Of a target (without one: of each in turn) inputs are grown from the file itself; those that reach something new are
kept in .fuzz/TARGET, so the next run goes on with them, and what breaks a reader lies in .fuzz/TARGET.broken. What was
tried goes to the log of `make reliability`, which prints it. https://github.com/google/atheris
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_KEPT = Path(".fuzz")
_MEMORY = 4096  # MB, of the process with all its libraries
_LARGEST = 1 << 16


def main(target: str | None, minutes: float) -> int:
    """Exit code: 1 where a reader broke."""
    from distillkit.system.lines import append_line, read_lines
    from tests.faults.progress import LOG
    from tests.faults.targets import TARGETS

    broken = 0
    for name in [target] if target else TARGETS:
        place = _KEPT / re.sub(r"\W+", "_", name)
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            asked = [sys.executable, "-m", "tests.faults.fuzz", name, "--minutes", str(minutes), "--in", folder]
            began = time.monotonic()
            run = subprocess.run([*asked, "--kept", str(place)], stderr=subprocess.PIPE, text=True, check=False)
            took = round((time.monotonic() - began) / 60, 1)
        told = re.search(r"number_of_executed_units:\s*(\d+)", run.stderr)
        failed = [] if run.returncode == 0 else [f"{name}: {_last_words(run.stderr)}; the input lies beside {place}"]
        seed = sum(line.get("what") == name and line.get("method") == "fuzzing" for line in read_lines(LOG))
        line = {"method": "fuzzing", "what": name, "seed": seed, "unit": "inputs", "minutes": took}
        line |= {"counted": int(told[1]) if told else 0, "failed": failed}
        append_line(LOG, line)
        print(f"{name}: {line['counted']:,} inputs in {took:g} minutes, {failed or 'nothing broke'}", flush=True)
        broken += len(failed)
    return 1 if broken else 0


def _last_words(said: str) -> str:
    """The error of a reader, or what the fuzzer says."""
    lines = [line for line in said.splitlines() if "Error" in line or "ERROR" in line]
    return lines[0].strip() if lines else said[-200:]


def fuzz(name: str, minutes: float, folder: Path, kept: Path) -> None:
    """In a process of its own, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["distillkit"]):
        from tests.faults.check import quick
        from tests.faults.hostile_input import PATIENCE, Reader
        from tests.faults.targets import make_world
    (folder / "world").mkdir()
    make_world(folder / "world")
    reader = Reader(folder / "world", folder / "read", name)
    (kept / "original").write_bytes(reader.original)
    limits = [f"-max_total_time={int(60 * minutes)}", f"-timeout={PATIENCE}", f"-rss_limit_mb={_MEMORY}"]
    told = [f"-artifact_prefix={kept}.broken.", "-print_final_stats=1", f"-max_len={_LARGEST}"]
    atheris.Setup([sys.argv[0], *limits, *told, str(kept)], lambda content: reader.read(content, "an input"))
    with quick():
        atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder:
        fuzz(given.target, given.minutes, given.folder, given.kept)
    sys.exit(main(given.target, given.minutes))
