"""What an extraction would take, before it is begun: bytes, hours, and after how many epochs it has paid for itself.

    distillkit extract-teacher pipelines/extract/proteus.toml --plan

Time of a row: the slowest of decoding it, showing its views to the teachers, and writing it, because the three overlap.
A student with the teacher in its loop pays one view's forward per image and epoch instead, and reads nothing: caching
has paid after time of a row / (a view's forward - reading one view from the disk) epochs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from distillkit.engine.cost import duration
from distillkit.engine.job import Job
from distillkit.engine.probe import Probe
from distillkit.pixels import room
from distillkit.pixels.views import columns
from distillkit.recipe import DType, Views
from distillkit.store.format.field import DTYPES
from distillkit.system.memory import available_memory
from distillkit.system.wording import count, size

_MANY_BYTES = 100e9
_VALUE_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "int8": 1}
_CELLS = 4  # the side of a pooled grid that is offered beside the full one


@dataclass(frozen=True)
class Setting:
    """How much is kept of an image: so many views, this dtype, so many patch tokens."""

    views: int
    dtype: str
    tokens: int


@dataclass(frozen=True)
class Estimate:
    """What a setting costs: bytes of a row and of all, seconds, and epochs until it has paid (None: never)."""

    row_bytes: int
    all_bytes: int
    seconds: float
    epochs: int | None


def estimate(job: Job, rows: int, probe: Probe, setting: Setting | None = None) -> Estimate:
    """The arithmetic of the module's docstring, for a setting or for what the recipe asks for."""
    view_bytes, text_bytes = _own_bytes(job) if setting is None else _bytes(job, setting)
    setting = setting or own(job)
    row_bytes = setting.views * view_bytes + text_bytes
    forward = probe.images * setting.views * probe.view + probe.text
    seconds = max(probe.images * probe.decode, forward, row_bytes / probe.write)
    # What fits into memory is read from the disk once, not once an epoch.
    reading = 0.0 if rows * row_bytes < _memory() / 2 else (view_bytes + text_bytes) / probe.read
    saved = probe.view + probe.text - reading
    epochs = math.ceil(round(seconds / saved, 6)) if saved > 0 else None
    return Estimate(row_bytes, rows * row_bytes, rows * seconds, epochs)


def _memory() -> float:
    """Bytes that may still be taken; without end where the system does not say."""
    return available_memory() or math.inf


def _own_bytes(job: Job) -> tuple[int, int]:
    """Bytes of one view of a row, and of its text, as the recipe has them; compressed tokens before compression."""
    sizes = {name: field.row_bytes // field.views for name, field in job.fields.items()}
    text = sum(size for name, size in sizes.items() if name.endswith("/text"))
    return sum(sizes.values()) - text, text


def _bytes(job: Job, setting: Setting) -> tuple[int, int]:
    """The same for a setting. What is no measurement, such as the numbers of classes, keeps its dtype."""
    size, text = _VALUE_BYTES[setting.dtype], 0
    view = 4 * len(columns(job.corpus.views or Views(count=setting.views))) if setting.views > 1 else 0
    for alias, name in job.asked:
        network = job.teachers[alias].network
        fixed = getattr(network, "dtypes", {}).get(name)
        number = (DTYPES[fixed].itemsize if fixed else size) * math.prod(network.fields[name])
        if name == "text":
            text += number
        elif name != "patches":
            view += number
    for alias in job.passes.get("image", {}):
        if "patches" in job.teachers[alias].network.fields:
            view += size * setting.tokens * job.teachers[alias].network.fields["patches"][1]
    return view, text


def own(job: Job) -> Setting:
    """What the recipe asks for."""
    drawn = job.corpus.drawn_views
    tokens = [job.teachers[alias].network.fields[name][0] for alias, name in job.asked if name == "patches"]
    return Setting(drawn.count if drawn else 1, job.corpus.dtype, max(tokens, default=0))


def settings(job: Job) -> Iterator[Setting]:
    """The recipe's own setting, then the others that could be asked for."""
    asked = own(job)
    seen = set() if job.corpus.dtypes else {asked}  # single fields may have dtypes of their own
    yield asked
    images = job.passes.get("image", {})
    full = [fields["patches"][0] for alias in images if "patches" in (fields := job.teachers[alias].network.fields)]
    grids = sorted({0, *(_CELLS**2 for tokens in full if tokens > _CELLS**2), *full})
    for views in sorted({1, 2, 4, asked.views}) if images else [1]:
        for dtype in get_args(DType):
            for tokens in grids:
                setting = Setting(views, dtype, tokens)
                if setting not in seen and (tokens or any(name != "patches" for _, name in job.asked)):
                    seen.add(setting)
                    yield setting


def warnings(job: Job, rows: int, free: int) -> list[str]:
    """What to say first, before anybody waits for it: patch tokens beyond reason or room, shards beyond memory."""
    told, all_bytes = [], sum(field.row_bytes for field in job.fields.values()) * rows
    patches = {name: field.row_bytes for name, field in job.fields.items() if name.endswith("/patches")}
    for name, row_bytes in patches.items():
        if row_bytes * rows > min(_MANY_BYTES, free):
            cells = job.teachers[name.partition("/")[0]].network.fields["patches"][0]
            pooled = row_bytes * rows * _CELLS**2 / cells
            told.append(
                f"{name}: patch tokens of {count(rows, 'row')} take {size(row_bytes * rows)} ({row_bytes:,} "
                f"bytes a row); "
                f"teacher.grid = {_CELLS} keeps their means over {_CELLS} x {count(_CELLS, 'cell')} in {size(pooled)}"
            )
    if all_bytes > free:
        told.append(f"{job.path}: needs {size(all_bytes)}, free are {size(free)}; it would stop when the disk is full")
    shard = job.rows_per_shard * sum(field.row_bytes for field in job.fields.values())
    if 2 * min(shard, all_bytes) > _memory():
        told.append(
            f"{job.path}: two shards of {count(job.rows_per_shard, 'row')} take {size(2 * shard)} of memory, free are "
            f"{size(_memory())}; lower rows_per_shard, or leave it out"
        )
    return told


def report(job: Job, rows: int, probe: Probe, free: int) -> list[str]:
    """Everything but the warnings as lines of text, the table last."""
    asked = estimate(job, rows, probe)
    shards = -(-rows // job.rows_per_shard)
    lines = [f"{job.path}: {count(rows, 'row')} in {count(shards, 'shard')} of {job.rows_per_shard:,}"]
    for name, field in job.fields.items():
        lines.append(f"  {name:24} {field.dtype} {field.shape}: {field.row_bytes:,} bytes a row")
    first = f" (the first: {probe.first})" if probe.first else ""
    lines.append(f"  probed {count(probe.samples, 'sample')}, {probe.failed} failed{first}")
    who = "the teacher" if len(job.teachers) == 1 else "the teachers"
    if "image" in job.passes:
        rates = {"decoding": probe.decode, who: own(job).views * probe.view}
        slowest = max(rates, key=lambda name: rates[name])
        told = ", ".join(f"{name} {1 / max(seconds, 1e-9):,.1f} images/s" for name, seconds in rates.items())
        lines.append(f"  {told}; {slowest} {'set' if slowest == 'the teachers' else 'sets'} the pace")
        lines.append(
            f"  decoded images take at most {size(room.limit())} of memory; an image that needs more is decoded alone"
        )
    if "text" in job.passes:
        lines.append(f"  {who} {1 / max(probe.text, 1e-9):,.1f} texts/s")
    lines.append(f"  disk: writes {size(probe.write)}/s, reads {size(probe.read)}/s, {size(free)} free")
    lines.append(f"  this recipe: {size(asked.all_bytes)}, {duration(asked.seconds)}")
    tokens = "; tokens: patch tokens kept of an image" if "image" in job.passes else ""
    lines.append(
        f"  this recipe and other settings{tokens}; paid after epochs: as many epochs with the teacher in the loop "
        "would take as long:"
    )
    return [*lines, *_table(job, rows, probe)]


def together(estimates: Sequence[Estimate]) -> str:
    """What all corpora of a recipe take, one after the other."""
    told = f"{size(sum(one.all_bytes for one in estimates))}, {duration(sum(one.seconds for one in estimates))}"
    return f"all {count(len(estimates), 'corpus', 'corpora')}: {told}"


def _table(job: Job, rows: int, probe: Probe) -> list[str]:
    cells = [("views", "dtype", "tokens", "bytes a row", "store", "time", "paid after epochs")]
    for number, setting in enumerate(settings(job)):
        made = estimate(job, rows, probe, setting if number else None)
        paid = "never" if made.epochs is None else str(made.epochs)
        dtype = "this one" if job.corpus.dtypes and not number else setting.dtype
        kept = (str(setting.views), dtype, str(setting.tokens), f"{made.row_bytes:,}")
        cells.append((*kept, size(made.all_bytes), duration(made.seconds), paid))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  " + "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells]


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
