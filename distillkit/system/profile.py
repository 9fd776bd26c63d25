"""`--profile` of both stages: what each stage of the work could do, who waits for whom, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distillkit.system.spans import WAIT, Record, recorded

# For stages that others wait for; in the words of the recipes.
EXTRACTION = {
    "read": "a nearer or faster disk, or fewer and larger files (tar, parquet)",
    "decode": 'more decode_threads, decode = "processes", or teacher.pixels = "torchvision" or "nvjpeg"',
    "resize": 'teacher.pixels = "torchvision", or "nvjpeg" on a GPU',
    "copy": 'teacher.pixels = "nvjpeg", by which files go to the GPU and not pixels',
    "forward": "teacher.compile = true on a GPU, a lower precision, a larger batch_size, more GPUs",
    "write": "a faster disk for `out`, or fewer fields",
}
TRAINING = {
    "read": 'data.order = "blocks" on a disk that seeks, or a store on a faster disk',
    "pixels": 'data.pixel_cache, data.augment.resample = "torchvision", data.render = "device", more data.workers',
    "copy": "a smaller student.image_size, or fewer teacher features (patches are large)",
    "forward": 'optim.compile = "step" on a GPU, optim.precision = "bf16", a smaller student',
    "loss": 'optim.loss_products = "bf16" on a GPU, a smaller data.text_batch_size',
    "backward": 'optim.compile = "step" on a GPU, optim.recompute = false',
    "optimiser": "optim.fused = true, optim.ema left out",
}
_COMPUTES = ("forward", "loss", "backward", "optimiser")
_WAITS = 0.05  # a share of waiting from which it is worth a change


@contextmanager
def profiled(trace: Path | None, hints: dict[str, str], say: Callable[[str], None]) -> Iterator[None]:
    """With a `trace`, what is inside is recorded there as a Chrome trace, and told as a table."""
    if trace is None:
        yield
        return
    with recorded() as record:
        try:
            yield
        finally:
            lines = told(record, hints)
            record.write(trace)
            for line in [*lines, f"{trace}: open it at https://ui.perfetto.dev"]:
                say(line)


def told(record: Record, hints: dict[str, str]) -> list[str]:
    """A line for each stage: of the time of its threads the share that they work in it, and that they wait or do what
    else they have to do. Then what the rate would be if data were free, and what to change."""
    seconds = record.seconds
    lines = [f"{'stage':10} {'items':>10} {'items/s':>10} {'threads':>8} {'busy':>6} {'waits':>6}"]
    for name in [name for name in hints if name in record.stages]:
        stage = record.stages[name]
        busy = stage.seconds / (seconds * len(stage.threads))
        idle = max(1 - busy, 0.0)
        row = f"{name:10} {stage.items:>10,} {stage.rate:>10,.0f} {len(stage.threads):>8} {busy:>6.0%} {idle:>6.0%}"
        lines.append(row)
    computing = [name for name in _COMPUTES if name in record.stages]
    if not computing:
        return lines
    waited = record.stages[WAIT].seconds if WAIT in record.stages else 0.0
    items = max(record.stages[name].items for name in computing)
    lines.append(
        f"waiting for data {waited / seconds:.0%} of {seconds:.1f} s: {items / seconds:,.0f} items/s, "
        f"if data were free {items / max(seconds - waited, 1e-9):,.0f}"
    )
    data = [name for name in hints if name in record.stages and name not in computing]
    among = data if waited / seconds > _WAITS and data else computing
    slowest = max(among, key=lambda name: record.stages[name].seconds / len(record.stages[name].threads))
    lines.append(f"most of it is for {slowest}; what helps: {hints[slowest]}")
    return lines
