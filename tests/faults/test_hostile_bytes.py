"""What comes from outside, changed at random: a DistillkitError in one line, or rows; no other error, no hang."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distillkit.errors import DistillkitError
from distillkit.pixels import decode
from distillkit.recipe import Component, TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing.fill import fill
from tests.faults.hostile import mutated
from tests.faults.store_jobs import rows_of, writer
from tests.faults.world import TRAIN, squares

SOME, MANY = 40, 10_000
PATIENCE = 20  # seconds an input


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    real, os.fsync = os.fsync, lambda handle: None
    try:
        fill(writer(folder / "store"), rows_of(), {})
        select(folder / "store", np.arange(5), folder / "view")
    finally:
        os.fsync = real
    corpus = squares(folder / "corpus", 12)
    lines = [json.dumps({"image": f"images/{number:03d}.png", "text": str(number)}) + "\n" for number in range(12)]
    (corpus / "lines.jsonl").write_text("".join(lines))
    (corpus / "texts.txt").write_text("".join(f"text {n}\n" for n in range(12)))
    columns = {"image": [f"images/{n:03d}.png" for n in range(12)], "text": [f"text {n}" for n in range(12)]}
    pq.write_table(pa.table(columns), corpus / "rows.parquet")
    (folder / "recipe.toml").write_text(TRAIN.format(folder=folder, images=folder / "store", named="near"))
    recipe = load(folder / "recipe.toml", [], kind=TrainRecipe)
    run = RunFolder(folder / "run")
    run.begin(recipe, {"recipe": {}, "stores": {}})
    return folder


def opened(folder: Path) -> None:
    """All that a reader does, and verify."""
    path = folder / "store"
    try:
        store = FeatureStore(path)
        store.read("toy/image", store.ok_rows)
        assert store.index.num_rows == len(store) and store.failures()
    finally:
        verify(path)


def viewed(folder: Path) -> None:
    assert len(FeatureStore(folder / "view").ok_rows) <= 5


def gone_on(folder: Path) -> None:
    fill(writer(folder / "store"), rows_of(), {})


def table(kind: str, name: str):
    def read(folder: Path) -> None:
        component = Component(kind=kind, file=str(folder / "corpus" / name))
        component.check("sources", "source")
        source = component.build("sources")
        for sample in source:
            assert isinstance(sample.key, str)

    return read


def recipe(folder: Path) -> None:
    load(folder / "recipe.toml", [], kind=TrainRecipe)


def image(folder: Path) -> None:
    decode(folder / "corpus/images/003.png")


def run(folder: Path) -> None:
    RunFolder(folder / "run").begun_recipe()


TARGETS = {
    "manifest": ("store/manifest.json", opened),
    "plan": ("store/plan.arrow", opened),
    "index": ("store/index/00001.arrow", opened),
    "ledger": ("store/failures/00000.jsonl", opened),
    "begun with": ("store/plan.json", gone_on),
    "commit": ("store/commits/00001.json", gone_on),
    "shard": ("store/toy/image/c/0/0", opened),
    "zarr": ("store/toy/image/zarr.json", opened),
    "view": ("view/view.json", viewed),
    "rows of a view": ("view/rows.npy", viewed),
    "csv": ("corpus/pairs.tsv", table("csv", "pairs.tsv")),
    "jsonl": ("corpus/lines.jsonl", table("jsonl", "lines.jsonl")),
    "texts": ("corpus/texts.txt", table("textlines", "texts.txt")),
    "parquet": ("corpus/rows.parquet", table("parquet", "rows.parquet")),
    "recipe": ("recipe.toml", recipe),
    "run": ("run/recipe.json", run),
    "image": ("corpus/images/003.png", image),
}


def tried(world, tmp_path, target, seeds):
    name, use = TARGETS[target]
    original, folder = (world / name).read_bytes(), tmp_path / "world"
    shutil.copytree(world, folder)

    def late(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    try:
        for seed in seeds:
            if use is gone_on:
                shutil.rmtree(folder / "store")
                shutil.copytree(world / "store", folder / "store")
            (folder / name).write_bytes(mutated(original, seed))
            signal.alarm(PATIENCE)
            try:
                use(folder)
            except DistillkitError as error:
                assert "\n" not in str(error).strip(), f"seed {seed}: more than one line: {error}"
            except Exception as error:
                raise AssertionError(f"{target}, seed {seed}: {error!r}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize("target", TARGETS)
def test_some_changes(world, tmp_path, target):
    tried(world, tmp_path, target, range(SOME))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_changes(world, tmp_path, target):
    tried(world, tmp_path, target, range(SOME, SOME + MANY))
