"""How fast students answer on this machine, beside their teacher: alone and in batches, with memory and file size.

    distillkit bench-model runs/dime_fm runs/clip_kd --runtime torch,onnx

The numbers are kept in the run's folder (bench.json), where `distillkit compare` finds them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from distillkit.callable import Say, make_callable, silent
from distillkit.errors import DistillkitError, ExportError
from distillkit.parity.speed import Speed, measured, memory
from distillkit.parity.subjects import RUNTIMES, subject_of, write_graphs
from distillkit.report.costs import BENCH
from distillkit.report.speeds import table
from distillkit.runfolder import RunFolder
from distillkit.system.atomic import write_json
from distillkit.system.environment import whole_number
from distillkit.system.machine import machine
from distillkit.system.numbers import refuse_less
from distillkit.system.paths import here
from distillkit.system.progress import Progress
from distillkit.system.versions import versions
from distillkit.system.workers import cores


def bench_model(
    paths: Sequence[str | Path],
    *,
    runtimes: Sequence[str] = ("torch", "onnx"),
    batch: int = 32,
    threads: int | None = None,
    with_memory: bool = True,
    say: Say = silent,
) -> str:
    """Measure finished runs and the teacher of the first; returns the table. Memory takes a process for each network.

    ExportError for a runtime that is none of RUNTIMES. A teacher that cannot be had is told, and left out.
    """
    refuse_less(1, batch=batch, threads=threads)
    for name in runtimes:
        if name not in RUNTIMES:
            raise ExportError(f"--runtime {name}: there are {', '.join(RUNTIMES)}")
    runs = list(dict.fromkeys(here(path) for path in paths))
    used = threads or whole_number("OMP_NUM_THREADS", cores(), least=1)
    for run in runs:
        RunFolder(run).facts()
    with tempfile.TemporaryDirectory() as place:
        asked = _asked(runs, runtimes, Path(place), say)
        subjects = []
        for run, runtime, folder in asked.copy():
            try:
                subjects.append(subject_of(run, runtime, folder, used))
            except DistillkitError as error:
                if runtime != "teacher":
                    raise
                say(f"without its teacher: {error}")
                asked.remove((run, runtime, folder))
        say(f"measuring {len(subjects)} networks in turn")
        speeds = measured(subjects, batch, say)
        grown: list[int | None] = [None] * len(asked)
        if with_memory:
            with Progress("memory of each network, in a process of its own:", len(asked), say) as progress:
                for number, one in enumerate(asked):
                    grown[number] = memory(*one, used, batch)
                    progress.advance(1)
    speeds = [replace(one, memory_bytes=more) for one, more in zip(speeds, grown, strict=True)]
    _keep(runs, speeds, batch, used)
    return table(speeds, batch, used, machine())


def _asked(runs: list[Path], runtimes: Sequence[str], place: Path, say: Say) -> list[tuple[Path, str, Path | None]]:
    """Who is asked: the run, how, and where its graphs are."""
    found: list[tuple[Path, str, Path | None]] = [(runs[0], "teacher", None)]
    for number, run in enumerate(runs):
        for runtime in runtimes:
            folder = None if runtime == "torch" else place / f"{number}-{runtime}"
            if folder is not None:
                say(f"{run}: written as {runtime}")
                write_graphs(run, runtime, folder)
            found.append((run, runtime, folder))
    return found


def _keep(runs: list[Path], speeds: list[Speed], batch: int, threads: int) -> None:
    """With each run what was measured beside it: the machine, the teacher, and the run itself."""
    about = {"batch": batch, "threads": threads, "machine": machine(), "versions": versions()}
    for run in runs:
        own = [one.told for one in speeds if one.is_teacher or one.who == str(run)]
        write_json(run / BENCH, about | {"speeds": own})


make_callable(__name__)
