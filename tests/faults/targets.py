"""What comes from outside, file by file, and who reads it: one list for changes at random and for the fuzzer.

A reader may raise a DistillkitError of one line; any other error, and any hang, is a bug.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from distillkit.engine.importing import import_features
from distillkit.errors import SourceError
from distillkit.evaluation.numbers import numbers
from distillkit.evaluation.rows import read_rows
from distillkit.extract import extract
from distillkit.originals import Originals
from distillkit.pixels import decode
from distillkit.recipe import Component, TrainRecipe, load
from distillkit.runfolder import RunFolder
from distillkit.store.reading.neighbours import Neighbours
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing import begun, stamps
from distillkit.store.writing.fill import fill
from distillkit.store.writing.steps import as_begun
from distillkit.training import checkpoint
from distillkit.training.pixel_cache import Cached
from tests.faults.rich_jobs import squares_recipe
from tests.faults.store_jobs import SHARD, rows_of, writer
from tests.training.test_checkpoint import made


class Target(NamedTuple):
    """A file below the world's folder, and its reader. `changes`: a folder that the reader writes to.

    `last`: bytes at its end that are changed most often. `sealed` puts the checksum right that a change has broken, as
    who means harm would.
    """

    file: str
    use: Callable[[Path], object]
    changes: str | None = None
    last: int = 0
    sealed: Callable[[bytes], bytes] = bytes


def _opened(folder: Path, name: str = "store") -> None:
    """All that a reader does, and verify."""
    path = folder / name
    try:
        store = FeatureStore(path)
        store.read(min(store.fields), store.ok_rows)
        assert store.index.num_rows == len(store) and store.failures()
    finally:
        verify(path)


def _viewed(folder: Path) -> None:
    assert len(FeatureStore(folder / "view").ok_rows) <= 5


def _gone_on(folder: Path) -> None:
    fill(writer(folder / "store"), rows_of(), {})


def _finished(folder: Path) -> None:
    """Of a store whose shards are all committed: the next run believes their commits, and writes the manifest."""
    fill(writer(folder / "begun"), rows_of(), {})
    _opened(folder, "begun")


def _early(folder: Path) -> None:
    """Rows of a shard that is not committed."""
    one = writer(folder / "early")
    found = begun.kept(folder / "early", 0, one.fields, SHARD)
    if found is not None:
        arrays, _, _ = found
        assert {name: len(rows) for name, rows in arrays.items()} == dict.fromkeys(one.fields, SHARD)


def _gone_on_early(folder: Path) -> None:
    """An extraction that finds them."""
    corpus = re.search('file = "(.*)/pairs.tsv"', (folder / "early_of_squares.toml").read_text())[1]
    extract(squares_recipe(folder, "early_of_squares", corpus), lambda line: None)
    store = FeatureStore(folder / "early_of_squares/images")
    assert len(store.read("one/image", store.ok_rows)) and not verify(store.path)


def _classes(folder: Path) -> None:
    numbers = FeatureStore(folder / "classed").class_numbers
    assert all(isinstance(name, str) and type(number) is int for name, number in numbers.items())
    verify(folder / "classed")


def _answers(folder: Path) -> None:
    rows = read_rows(folder / "answers/an-eval.arrow")
    numbers(list(rows.answers.values()))


def _pixels(form: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        store = FeatureStore(folder / "squares/images")
        cached = Cached(store, Originals(store, None), 4, form, 1)
        for row in (0, 7, 11):
            image, width, height = cached.open(row)
            assert np.asarray(image).shape[:2] == (4, 4) and width >= 0 and height >= 0

    return read


def _int8(folder: Path) -> None:
    store = FeatureStore(folder / "int8")
    assert store.read("toy/image", store.ok_rows).isfinite().all()


def _steps(folder: Path) -> None:
    """What a store of int8 was begun with: the next run goes on with it, or refuses."""
    kept = as_begun(folder / "int8", {"toy/image": FeatureStore(folder / "int8").fields["toy/image"]})
    assert kept.keys() == {"toy/image"}


def _packed(folder: Path) -> None:
    store = FeatureStore(folder / "packed")
    try:
        store.read("toy/image", store.ok_rows)
    finally:
        verify(folder / "packed")


def _index_sealed(content: bytes) -> bytes:
    """A shard of two chunks with the right sum on its index, whatever that says now."""
    index = content[-_INDEX:-4]
    return content[:-4] + google_crc32c.value(index).to_bytes(4, "little")


def _near(folder: Path) -> None:
    images, texts = (FeatureStore(folder / "near" / name) for name in ("images", "texts"))
    found = Neighbours(images, "neighbours", texts)
    ids = found.ids(np.arange(20))
    assert ids.shape == found.scores(np.arange(20)).shape
    texts.read("text", ids[ids >= 0])


def _stamped(folder: Path) -> None:
    stamps.kept(folder / "store", 0, 64)


def _continued(folder: Path, name: str = "checkpoints") -> None:
    model, optimizer, scaler = made()
    checkpoint.set_damaged_aside(folder / name, lambda line: None)
    checkpoint.restore(folder / name, model, optimizer, scaler)
    optimizer.step()  # with all that was restored


def _continued_before(folder: Path) -> None:
    _continued(folder, "before")


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


_INDEX = 2 * 16 + 4  # bytes: of two chunks, and their sum
_NEAR = "near/images/added/neighbours"
_EARLY = "early_of_squares/images/begun/00000"
_STATE, _BEFORE = "checkpoints/00000007", "before/00000007"

TARGETS = {
    "manifest": Target("store/manifest.json", _opened),
    "plan": Target("store/plan.arrow", _opened),
    "index": Target("store/index/00001.arrow", _opened),
    "ledger": Target("store/failures/00000.jsonl", _opened),
    "begun with": Target("store/plan.json", _gone_on, "store"),
    "commit": Target("store/commits/00001.json", _gone_on, "store"),
    "commit of a store that is begun": Target("begun/commits/00001.json", _finished, "begun"),
    "checksums": Target("store/checksums.json", _opened),
    "classes": Target("classed/classes.json", _classes),
    "rows kept early": Target("early/begun/00000.rows", _early),
    "record of rows kept early": Target("early/begun/00000.json", _early),
    "rows that an extraction goes on with": Target(f"{_EARLY}.rows", _gone_on_early, "early_of_squares"),
    "record that an extraction goes on with": Target(f"{_EARLY}.json", _gone_on_early, "early_of_squares"),
    "kept answers": Target("answers/an-eval.arrow", _answers),
    "pixel cache": Target("squares/images.pixels-4/cache.json", _pixels("raw"), "squares"),
    "pixels of a cache": Target("squares/images.pixels-4/pixels.npy", _pixels("raw"), "squares", last=600),
    "shapes of a cache": Target("squares/images.pixels-4/shapes.npy", _pixels("raw"), "squares"),
    "jpegs of a cache": Target("squares/images.pixels-4-jpeg/pixels.jpg", _pixels("jpeg"), "squares"),
    "ends of a cache": Target("squares/images.pixels-4-jpeg/ends.npy", _pixels("jpeg"), "squares"),
    "shard": Target("store/toy/image/c/0/0", _opened),
    "zarr": Target("store/toy/image/zarr.json", _opened),
    "zarr index": Target("packed/toy/image/c/0/0", _packed, last=_INDEX, sealed=_index_sealed),
    "compressed shard": Target("packed/toy/image/c/1/0", _packed),
    "steps": Target("int8/toy/image.steps/c/0/0", _int8),
    "record of steps": Target("int8/steps.json", _steps),
    "stamps": Target("store/stamps/00000.npy", _stamped),
    "neighbours": Target(f"{_NEAR}/neighbours/ids/c/0/0", _near),
    "manifest of neighbours": Target(f"{_NEAR}/manifest.json", _near),
    "view": Target("view/view.json", _viewed),
    "rows of a view": Target("view/rows.npy", _viewed),
    "checkpoint": Target(f"{_STATE}/state.json", _continued, "checkpoints"),
    "tensors of a checkpoint": Target(f"{_STATE}/model.safetensors", _continued, "checkpoints"),
    "tensors without a checksum": Target(f"{_BEFORE}/model.safetensors", _continued_before, "before"),
    "optimizer without a checksum": Target(f"{_BEFORE}/optimizer.safetensors", _continued_before, "before"),
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
