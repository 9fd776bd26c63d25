"""One of everything that may come from outside, small: stores, checkpoints, corpora, features of others, a run."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from distillkit.evaluation.rows import Rows, write_rows
from distillkit.extract import extract
from distillkit.mine import mine_here
from distillkit.originals import Originals
from distillkit.recipe import MineRecipe, TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.store.format.classes import write_classes
from distillkit.store.format.field import Field
from distillkit.store.format.steps import Steps
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.writing import begun, stamps
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State
from distillkit.training.pixel_cache import Cached
from tests.evaluation.test_rows import answers
from tests.faults.check import quick
from tests.faults.rich_jobs import kept_after, squares_recipe
from tests.faults.store_jobs import SHARD, plan, rows_of, writer
from tests.faults.world import TRAIN, squares
from tests.importers.test_importers import b64, clip_retrieval, packed, tar, tsv
from tests.mining.conftest import clustered, write
from tests.training.test_checkpoint import made


def make_world(folder: Path) -> None:
    """One of everything, small."""
    with quick():
        _stores(folder)
        checkpoint.save(folder / "checkpoints", State.of(7, *made()), keep=1)
        _without_checksums(shutil.copytree(folder / "checkpoints", folder / "before"))
    corpus = squares(folder / "corpus", 12)
    lines = [json.dumps({"image": f"images/{number:03d}.png", "text": str(number)}) + "\n" for number in range(12)]
    (corpus / "lines.jsonl").write_text("".join(lines))
    (corpus / "texts.txt").write_text("".join(f"text {n}\n" for n in range(12)))
    (corpus / "label2text.txt").write_text("".join(f"n{n:04d} {n} class_{n}\n" for n in range(12)))
    columns = {"image": [f"images/{n:03d}.png" for n in range(12)], "text": [f"text {n}" for n in range(12)]}
    pq.write_table(pa.table(columns), corpus / "rows.parquet")
    for ending in ("jpg", "gif", "tiff", "webp", "bmp"):
        Image.new("RGB", (9, 7), (200, 100, 50)).save(corpus / f"picture.{ending}")
    with quick():
        _unfinished(folder)
        _extractions(folder)
    pictures = [(f"{n:03d}.png", (corpus / f"images/{n:03d}.png").read_bytes()) for n in range(3)]
    (folder / "tars").mkdir()
    tar(folder / "tars/0.tar", [*pictures, *((f"{n:03d}.txt", f"text {n}".encode()) for n in range(3))])
    _features(folder)
    (folder / "recipe.toml").write_text(TRAIN.format(folder=folder, images=folder / "store", named="near"))
    RunFolder(folder / "run").begin(load(folder / "recipe.toml", [], kind=TrainRecipe), {"recipe": {}, "stores": {}})


def _stores(folder: Path) -> None:
    fill(writer(folder / "store"), rows_of(), {})
    stamped = stamps.blank(64)
    stamped["bytes"] = 70
    stamps.keep(folder / "store", 0, stamped)
    select(folder / "store", np.arange(5), folder / "view")
    field = Field(teacher="toy", shape=[32], dtype="int8")
    identity = {"source": {"kind": "toy", "knobs": {}, "root": None}, "teachers": {"toy": {}}, "views": {"count": 1}}
    small = StoreWriter(folder / "int8", plan(64), {"toy/image": field}, 128, identity)
    small.steps = {"toy/image": Steps.of(torch.arange(64.0).reshape(2, 32))}
    fill(small, lambda first, stop: ({"toy/image": np.zeros((stop - first, 32), np.int8)}, []), {})
    write(folder / "near/images", "image", clustered(20, 1))
    write(folder / "near/texts", "text", clustered(40, 2))
    asked = {"queries": str(folder / "near/images"), "corpus": str(folder / "near/texts"), "k": 4}
    mine_here(MineRecipe(**asked, index="exact", rows_per_shard=1024), 1, lambda line: None)

    squeezed = Field(teacher="toy", shape=[32], dtype="float16", compression="zstd")
    packed = StoreWriter(folder / "packed", plan(150), {"toy/image": squeezed}, 128, identity)
    fill(packed, lambda first, stop: ({"toy/image": np.full((stop - first, 32), first, np.float16)}, []), {})


class _Stopped(BaseException):
    pass


def _extractions(folder: Path) -> None:
    """One that was stopped before its shard was committed, and one with pixel caches beside it."""

    def stops(*_):
        raise _Stopped

    real, StoreWriter.commit = StoreWriter.commit, stops
    try:
        with kept_after(seconds=0), suppress(_Stopped):
            extract(squares_recipe(folder, "early_of_squares"), lambda line: None)
    finally:
        StoreWriter.commit = real
    extract(squares_recipe(folder, "squares"), lambda line: None)
    store = FeatureStore(folder / "squares/images")
    for form in ("raw", "jpeg"):
        Cached(store, Originals(store, None), 4, form, 1)


def _unfinished(folder: Path) -> None:
    one = writer(folder / "begun")
    one.begin()
    for shard in range(one.shards):
        one.commit(shard, *rows_of()(*one.span(shard)))
    early = writer(folder / "early")
    early.begin()
    begun.keep(folder / "early", 0, rows_of()(0, SHARD)[0], {"reached": {"image": 1}})
    fill(writer(folder / "classed"), rows_of(), {})
    write_classes(folder / "classed", {"cat": 0, "dog": 1})
    (folder / "answers").mkdir()
    both = {"teacher": answers([1, 1, 1, 1]), "student": answers([1, 2, 1, 3])}
    asked = {"eval": {"kind": "x"}, "stores": {"s": "1"}}
    write_rows(folder / "answers/an-eval.arrow", Rows("an eval", asked, {"teacher": "t", "student": "s"}, both))


def _without_checksums(folder: Path) -> None:
    """Checkpoints as they were before they had any: what is in them is believed."""
    for path in folder.glob("*/state.json"):
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({name: record[name] for name in ("step", "scaler")}))


def _features(folder: Path) -> None:
    """Those of four other projects, of a few rows each."""
    clip_retrieval(folder / "clip_retrieval", rows=(5,))
    tsv(folder / "dime_fm/0.tsv", [(f"k{n}", b64(np.ones(32, np.float32) * n)) for n in range(5)])
    (folder / "logits_top8_epoch3").mkdir()
    (folder / "logits_top8_epoch3/rank0-keys.txt").write_text("".join(f"n01/{n}.JPEG\n" for n in range(5)))
    row = np.dtype([("seed", "<i4"), ("classes", "<i2", 8), ("chances", "<f2", 8)])
    held = np.zeros(5, row)
    held["classes"], held["chances"] = np.arange(8), 2.0 ** -np.arange(1, 9)
    held.tofile(folder / "logits_top8_epoch3/rank0-values.bin")
    for kind in ("npz", "pth.gz"):
        (folder / f"datacompdr_{kind}").mkdir()
        image, text = torch.ones(2, 64), torch.ones(1, 64)
        members = [(f"u{n}.{kind}", packed(image * n, text, kind)) for n in range(2)]
        tar(folder / f"datacompdr_{kind}/0.tar", [*members, ("u0.txt", b"caption"), ("u1.txt", b"caption")])
