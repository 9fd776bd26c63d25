"""A run for Embedding Atlas (https://apple.github.io/embedding-atlas/): a Parquet, a row for each image measured.

key, class; teacher_x, teacher_y, student_x, student_y (maps.py); agreement (share of neighbours that are the
teacher's), cosine with the teacher where the widths are equal; *_right, *_said, *_margin; image (JPEG: bytes, path)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.callable import Say
from distillkit.errors import TrainError
from distillkit.evaluation.arms import TEACHER
from distillkit.evaluation.comparison import Comparison
from distillkit.report.heard import heard, roots
from distillkit.report.maps import maps
from distillkit.report.spaces import Spaces, spaces
from distillkit.report.thumbnails import thumbnails
from distillkit.system.atomic import atomic_file

STUDENT = "student"


def write_atlas(path: Path, comparison: Comparison, most: int, say: Say) -> Path:
    """Of the first run of `comparison`, `most` images at even distances; returns the path.

    TrainError where nothing is kept that a map could be made of, MissingExtra without openTSNE.
    """
    run = comparison.baseline.runs[0]
    found = spaces(heard(comparison), {comparison.baseline.name: run}, most)
    if isinstance(found, str):
        raise TrainError(f"{run.path}: no map can be made: {found}")
    table, notes = _table(found, comparison, say)
    for note in notes:
        say(note)
    with atomic_file(path) as file:
        pq.write_table(table, file)
    return path


def _table(found: Spaces, comparison: Comparison, say: Say) -> tuple[pa.Table, list[str]]:
    evaluation, places, run = found.heard, found.places.tolist(), comparison.baseline.name
    keys = [evaluation.keys[place] for place in places]
    columns: dict[str, Any] = {"key": keys, "class": [evaluation.truth(place) for place in places]}
    names = {TEACHER: TEACHER, run: STUDENT}
    for who, drawn in zip(found.features, maps(list(found.features.values()), say), strict=True):
        columns |= {f"{names[who]}_x": drawn[:, 0], f"{names[who]}_y": drawn[:, 1]}
    columns["agreement"] = found.agreement(run)
    student, teacher = found.features[run], found.features[TEACHER]
    if student.shape == teacher.shape:
        columns["cosine"] = (student * teacher).sum(1).numpy()
    for who in (TEACHER, run):
        if who in evaluation.answers:
            columns[f"{names[who]}_right"] = evaluation.right(who)[found.places]
            columns[f"{names[who]}_said"] = [evaluation.said(who, place) for place in places]
            columns[f"{names[who]}_margin"] = np.asarray(evaluation.answers[who].columns["margin"])[found.places]
    made = thumbnails({evaluation.store: keys}, roots(comparison), most=len(keys))
    pictures = [made.jpegs.get((evaluation.store, key)) for key in keys]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    shown = [None if jpeg is None else {"bytes": jpeg, "path": key} for jpeg, key in zip(pictures, keys, strict=True)]
    arrays = {name: pa.array(values) for name, values in columns.items()} | {"image": pa.array(shown, kind)}
    return pa.table(arrays), made.notes
