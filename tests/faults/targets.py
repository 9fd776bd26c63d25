"""What comes from outside, file by file, and who reads it: one list for changes at random and for the fuzzer.

A reader may raise a DistillkitError of one line; any other error, and any hang, is a bug.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from distillkit.engine.importing import import_features
from distillkit.errors import SourceError
from distillkit.mine import mine_here
from distillkit.pixels import decode
from distillkit.recipe import Component, MineRecipe, TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.store.format.field import Field
from distillkit.store.format.steps import Steps
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing import stamps
from distillkit.store.writing.fill import fill
from distillkit.store.writing.writer import StoreWriter
from distillkit.training import checkpoint
from distillkit.training.checkpoint import State
from tests.faults.check import quick
from tests.faults.store_jobs import plan, rows_of, writer
from tests.faults.world import TRAIN, squares
from tests.importers.test_importers import b64, clip_retrieval, packed, tar, tsv
from tests.mining.conftest import clustered, write
from tests.training.test_checkpoint import made


class Target(NamedTuple):
    """A file below the world's folder, and its reader. `changes`: a folder that the reader writes to."""

    file: str
    use: Callable[[Path], object]
    changes: str | None = None


def make_world(folder: Path) -> None:
    """One of everything, small."""
    with quick():
        _stores(folder)
        checkpoint.save(folder / "checkpoints", State.of(7, *made()), keep=1)
    corpus = squares(folder / "corpus", 12)
    lines = [json.dumps({"image": f"images/{number:03d}.png", "text": str(number)}) + "\n" for number in range(12)]
    (corpus / "lines.jsonl").write_text("".join(lines))
    (corpus / "texts.txt").write_text("".join(f"text {n}\n" for n in range(12)))
    (corpus / "label2text.txt").write_text("".join(f"n{n:04d} {n} class_{n}\n" for n in range(12)))
    columns = {"image": [f"images/{n:03d}.png" for n in range(12)], "text": [f"text {n}" for n in range(12)]}
    pq.write_table(pa.table(columns), corpus / "rows.parquet")
    for ending in ("jpg", "gif", "tiff", "webp", "bmp"):
        Image.new("RGB", (9, 7), (200, 100, 50)).save(corpus / f"picture.{ending}")
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


def _opened(folder: Path) -> None:
    """All that a reader does, and verify."""
    path = folder / "store"
    try:
        store = FeatureStore(path)
        store.read("toy/image", store.ok_rows)
        assert store.index.num_rows == len(store) and store.failures()
    finally:
        verify(path)


def _viewed(folder: Path) -> None:
    assert len(FeatureStore(folder / "view").ok_rows) <= 5


def _gone_on(folder: Path) -> None:
    fill(writer(folder / "store"), rows_of(), {})


def _int8(folder: Path) -> None:
    store = FeatureStore(folder / "int8")
    assert store.read("toy/image", store.ok_rows).isfinite().all()


def _near(folder: Path) -> None:
    images, texts = (FeatureStore(folder / "near" / name) for name in ("images", "texts"))
    found = Neighbours(images, "neighbours", texts)
    ids = found.ids(np.arange(20))
    assert ids.shape == found.scores(np.arange(20)).shape
    texts.read("text", ids[ids >= 0])


def _stamped(folder: Path) -> None:
    stamps.kept(folder / "store", 0, 64)


def _continued(folder: Path) -> None:
    model, optimizer, scaler = made()
    checkpoint.set_damaged_aside(folder / "checkpoints", lambda line: None)
    checkpoint.restore(folder / "checkpoints", model, optimizer, scaler)


def _listed(kind: str, name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        component = Component(kind=kind, file=str(folder / "corpus" / name))
        component.check("sources", "source")
        for sample in component.build("sources"):
            assert isinstance(sample.key, str)

    return read


def _parquet(folder: Path) -> None:
    component = Component(kind="parquet", root=str(folder / "corpus"), files="rows.parquet", text_column="text")
    component.check("sources", "source")
    for sample in component.build("sources"):
        assert isinstance(sample.key, str)


def _tars(folder: Path) -> None:
    """Every image that a tar is said to have is asked for; that it cannot be is a line of the ledger."""
    source = Component(kind="webdataset", root=str(folder / "tars")).build("sources")
    for sample in source:
        if isinstance(sample.image, str):
            assert isinstance(_or_refused(lambda sample=sample: source.read(sample.image)), bytes | str)


def _or_refused(read: Callable[[], object]) -> object:
    try:
        return read()
    except SourceError as error:
        return str(error)


def _imported(kind: str, place: str, **knobs: object) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        shutil.rmtree(folder / "imported", ignore_errors=True)
        import_features(Component(kind=kind, **knobs), folder / place, folder / "imported", {}, lambda line: None)

    return read


def _recipe(folder: Path) -> None:
    load(folder / "recipe.toml", [], kind=TrainRecipe)


def _run(folder: Path) -> None:
    RunFolder(folder / "run").begun_recipe()


def _picture(name: str) -> Target:
    return Target(f"corpus/{name}", lambda folder: decode(folder / "corpus" / name))


def _bytes_of(kind: str, place: str, file: str, **knobs: object) -> Target:
    return Target(f"{place}/{file}", _imported(kind, place, **knobs))


_NEAR = "near/images/added/neighbours"
_STATE = "checkpoints/00000007"

TARGETS = {
    "manifest": Target("store/manifest.json", _opened),
    "plan": Target("store/plan.arrow", _opened),
    "index": Target("store/index/00001.arrow", _opened),
    "ledger": Target("store/failures/00000.jsonl", _opened),
    "begun with": Target("store/plan.json", _gone_on, "store"),
    "commit": Target("store/commits/00001.json", _gone_on, "store"),
    "shard": Target("store/toy/image/c/0/0", _opened),
    "zarr": Target("store/toy/image/zarr.json", _opened),
    "steps": Target("int8/toy/image.steps/c/0/0", _int8),
    "stamps": Target("store/stamps/00000.npy", _stamped),
    "neighbours": Target(f"{_NEAR}/neighbours/ids/c/0/0", _near),
    "manifest of neighbours": Target(f"{_NEAR}/manifest.json", _near),
    "view": Target("view/view.json", _viewed),
    "rows of a view": Target("view/rows.npy", _viewed),
    "checkpoint": Target(f"{_STATE}/state.json", _continued, "checkpoints"),
    "tensors of a checkpoint": Target(f"{_STATE}/model.safetensors", _continued, "checkpoints"),
    "csv": Target("corpus/pairs.tsv", _listed("csv", "pairs.tsv")),
    "jsonl": Target("corpus/lines.jsonl", _listed("jsonl", "lines.jsonl")),
    "texts": Target("corpus/texts.txt", _listed("textlines", "texts.txt")),
    "parquet": Target("corpus/rows.parquet", _parquet),
    "class names": Target("corpus/texts.txt", _listed("class_prompts", "texts.txt")),
    "label2text": Target("corpus/label2text.txt", _listed("label2text", "label2text.txt")),
    "tar": Target("tars/0.tar", _tars),
    "clip_retrieval": _bytes_of("clip_retrieval", "clip_retrieval", "img_emb/img_emb_0.npy"),
    "clip_retrieval's table": _bytes_of("clip_retrieval", "clip_retrieval", "metadata/metadata_0.parquet"),
    "dime_fm": _bytes_of("dime_fm", "dime_fm", "0.tsv"),
    "dime_fm's index": _bytes_of("dime_fm", "dime_fm", "0.lineidx"),
    "tinyvit": _bytes_of("tinyvit", "logits_top8_epoch3", "rank0-values.bin", classes=1000),
    "tinyvit's keys": _bytes_of("tinyvit", "logits_top8_epoch3", "rank0-keys.txt", classes=1000),
    "datacompdr npz": _bytes_of("datacompdr", "datacompdr_npz", "0.tar"),
    "datacompdr pth.gz": _bytes_of("datacompdr", "datacompdr_pth.gz", "0.tar"),
    "recipe": Target("recipe.toml", _recipe),
    "run": Target("run/recipe.json", _run),
    "png": _picture("images/003.png"),
    **{ending: _picture(f"picture.{ending}") for ending in ("jpg", "gif", "tiff", "webp", "bmp")},
}
