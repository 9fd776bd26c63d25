"""distillkit bench-model: how fast students answer on this machine, beside their teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import say
from distillkit.system.wording import as_word


def bench_model(
    runs: Annotated[list[Path], typer.Argument(help="Finished run folders.", show_default=False)],
    runtime: Annotated[
        str, typer.Option(help="torch, onnx, onnx-fp16, onnx-int8; several with commas.")
    ] = "torch,onnx",
    batch: Annotated[int, typer.Option(help="Pictures, or texts, in a batch.", min=1, max=4096)] = 32,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads for each network. Default: OMP_NUM_THREADS, or one a core.",
            min=1,
            max=1024,
            show_default=False,
        ),
    ] = None,
    memory: Annotated[bool, typer.Option(help="Measure memory, too, in a process of its own for each network.")] = True,
) -> None:
    """Measure speed, memory and file size of students.

    Their teacher is measured beside them: with one picture or text alone, and in batches.

    Example: distillkit bench-model runs/dime_fm runs/clip_kd --runtime torch,onnx
    """
    from distillkit.bench_model import bench_model as measure

    print(measure(runs, runtimes=runtime.split(","), batch=batch, threads=threads, with_memory=memory, say=say))
    say(f"next: distillkit compare {' '.join(map(as_word, runs))}" if len(runs) > 1 else f"kept in {runs[0]}")
