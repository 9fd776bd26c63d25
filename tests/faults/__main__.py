"""The figures of reliability: more disks, faults, steps and worlds than the tests have time for.

    python -m tests.faults [minutes]
    python -m tests.faults --seed N  # the world of many writers that this seed makes, once more

A line of JSON for each job and seed goes to reliability.jsonl here, so that a run that was stopped goes on; the table
of all lines is printed at the end. A failure is told with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

from distillkit.system.lines import append_line, read_lines
from tests.faults.check import Recording, quick
from tests.faults.failures import Trial
from tests.faults.jobs import JOBS
from tests.faults.machines import CorpusWithPowerCuts, WithPowerCuts, taken, told_as_a_script
from tests.faults.many import trial as many
from tests.faults.sites import sites

_LOG = Path("reliability.jsonl")
_COUNTED = ("disks", "faults", "steps", "worlds")
_FAULTS = 100  # a job and seed
_DISKS = 400
_MODELS = (WithPowerCuts, CorpusWithPowerCuts)
_RUNS, _STEPS = 40, 30  # of a model and seed
_WRITERS = "many writers"
_WORLDS = 500  # of many writers, after each of these


def main(minutes: float) -> int:
    """Exit code: 1 where anything failed."""
    until = time.monotonic() + 60 * minutes
    done = {(line["job"], line["seed"]) for line in read_lines(_LOG)}
    for seed in count():
        for number, job in enumerate((*JOBS, *_MODELS)):
            if time.monotonic() > until:
                return _table()
            if (job.__name__, seed) not in done:
                line = _modelled(job, seed) if job in _MODELS else _tried(job, seed)
                append_line(_LOG, line | {"job": job.__name__, "seed": seed})
            block = seed * (len(JOBS) + len(_MODELS)) + number
            if (_WRITERS, block) not in done:
                append_line(_LOG, _lived(block) | {"job": _WRITERS, "seed": block})
    return _table()


def _modelled(model: type, seed: int) -> dict[str, Any]:
    line, before = {"disks": 0, "faults": 0, "failed": list[str]()}, taken[0]
    with quick():
        _noted(line, lambda: told_as_a_script(model, _RUNS, _STEPS, seed))
    return line | {"steps": taken[0] - before}


def _lived(block: int) -> dict[str, Any]:
    """So many worlds of many writers."""
    line: dict[str, Any] = {"worlds": 0, "failed": []}
    for seed in range(block * _WORLDS, (block + 1) * _WORLDS):
        line["worlds"] += 1
        _noted(line, lambda seed=seed: many.check(seed))
    return line


def _tried(job: type, seed: int) -> dict[str, Any]:
    line: dict[str, Any] = {"disks": 0, "faults": 0, "failed": []}
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording.of(job(), Path(folder) / "power/disk")
        for disk in recording.some(seed, _DISKS):
            line["disks"] += 1
            _noted(line, lambda disk=disk: recording.check(disk))
        if seed == 0:
            line["caught"] = sorted(site for site in recording.sites & {*sites()} if recording.catches(site, 0, 100))
        trial = Trial.of(job(), Path(folder) / "failing/disk")
        for fault in trial.some(seed, _FAULTS):
            line["faults"] += 1
            _noted(line, lambda fault=fault: trial.check(fault))
    return line


def _noted(line: dict[str, Any], check: Any) -> None:
    try:
        check()
    except AssertionError as error:
        line["failed"].append(str(error))
        print(error, flush=True)


def _table() -> int:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    caught, failed = set(), 0
    for line in read_lines(_LOG):
        for key in _COUNTED:
            sums[line["job"]][key] += line.get(key, 0)
            sums["all"][key] += line.get(key, 0)
        sums[line["job"]]["failed"] += len(line["failed"])
        failed += len(line["failed"])
        caught |= set(line.get("caught", ()))
    sums["all"]["failed"] = failed
    print(f"| {'job':16} | {' | '.join(_COUNTED)} | failed |\n|---|---|---|---|---|---|")
    for job, of_it in sums.items():
        print(f"| {job:16} | {' | '.join(f'{of_it[key]:,}' for key in _COUNTED)} | {of_it['failed']} |")
    print(f"{len(caught)} of {len(sites())} fsyncs are missed when they are taken out; {platform.platform()}")
    print(json.dumps({"not caught": sorted({*sites()} - caught)}))
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("minutes", type=float, nargs="?", default=60)
    parser.add_argument("--seed", type=int, help="one world of many writers, once more")
    asked = parser.parse_args()
    if asked.seed is None:
        sys.exit(main(asked.minutes))
    many.check(asked.seed)
    print(f"seed {asked.seed}: no row twice, none lost, none of another identity")
