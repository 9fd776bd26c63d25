"""Extractions with what a plain one has not: classes, steps of int8, rows kept before their shard is committed, tars,
captions that are left out, texts that are cut, compressed fields; and append to a store with classes."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from distillkit.engine import begun
from distillkit.engine.append import append
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.store.format.classes import FILE_NAME as CLASSES
from distillkit.store.format.losses import FILE_NAME as LEFT_OUT
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from tests.faults.check import Promise
from tests.faults.extraction_jobs import STORE, Extracted, digest
from tests.faults.failing import ours
from tests.faults.store_jobs import is_complete
from tests.faults.world import recipe_of


def squares_recipe(folder: Path, out: str, corpus: str | None = None) -> Path:
    """For a dozen images and texts of the folder's corpus, or of another one, a few at a time."""
    place = folder / f"{out}.toml"
    source = f'kind = "csv", file = "{corpus or folder / "corpus"}/pairs.tsv"'
    place.write_text(recipe_of(folder / out, source, ["one/image", "one/text"], "batch_size = 4", kind="Wide"))
    return place


def picture(number: int, other: int = 7) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, 255 - number % 256, other)).save(file, "png")
    return file.getvalue()


def pictures(folder: Path, classes: dict[str, int]) -> None:
    """So many of each class, in folders of their names."""
    for order, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / f"{name}/{number:03d}.png").write_bytes(picture(number, 40 * order))


class Classed(Extracted):
    """Classes by folders, an int8 field with its steps, and rows that are kept before their shard is committed."""

    name = "classes, steps, and rows kept early"
    classes = {"cat": 80, "dog": 70}  # noqa: RUF012
    dtype = "int8"

    def prepare(self, folder: Path) -> None:
        self.at = folder
        shutil.rmtree(self.corpus(folder), ignore_errors=True)
        pictures(self.corpus(folder), self.classes)

    def asked(self, folder: Path, **_) -> Path:
        place = folder.with_name("recipe.toml")
        source = f'kind = "folder", root = "{self.corpus(folder)}", classes = true'
        more = f'batch_size = 32\ndtypes = {{ "one/image" = "{self.dtype}" }}'
        with ours():
            place.write_text(recipe_of(folder / "deep/out", source, ["one/image"], more, rows=128, kind="Wide"))
        return place

    def run(self, folder: Path, promise: Promise) -> None:
        with kept_after(seconds=0):
            super().run(folder, promise)

    steps: bytes | None = None

    def undisturbed(self, folder: Path) -> None:
        super().undisturbed(folder)
        self.steps = _steps(folder)

    def excused(self, folder: Path) -> str | None:
        return "steps are measured on images that can be read" if _steps(folder) != self.steps else None

    def look(self, folder: Path) -> None:
        if self.steps is not None and (folder / STORE / FILE_NAME).is_file() and self.excused(folder):
            assert not verify(folder / STORE)
        else:
            super().look(folder)
        if (folder / STORE / FILE_NAME).is_file():
            labelled(folder / STORE)


def _steps(folder: Path) -> bytes:
    path = folder / STORE / "one/image.steps/c/0/0"
    return path.read_bytes() if path.is_file() else b""


class ClassedAppended(Classed):
    """A class more, and more images of the others."""

    name = "append with classes"
    dtype = "float16"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        for name in ("cat/050.png", "dog/050.png"):
            (self.corpus(folder) / name).unlink()
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)
        pictures(self.corpus(folder), {**self.classes, "ant": 2})

    def run(self, folder: Path, promise: Promise) -> None:
        extract(self.asked(folder), lambda line: None, instead=append)
        promise("complete", is_complete(STORE))

    def look(self, folder: Path) -> None:
        super().look(folder)
        before = [*(folder / "deep/out").glob("images.before-*")]
        for place in before:
            assert digest(place) == self.old
            labelled(place)
        assert (folder / STORE / FILE_NAME).is_file() or before, "lost"


def labelled(store: Path) -> None:
    """Each row's class is the folder of its image."""
    assert (store / CLASSES).is_file(), f"{store.name} has classes no more"
    one = FeatureStore(store)
    names = {number: name for name, number in one.class_numbers.items()}
    for key, label in zip(one.index["key"].to_pylist(), one.index["label"].to_pylist(), strict=True):
        assert names[label] == key.split("/")[0], f"{key} is of class {label}"


class Tarred(Extracted):
    """Images and captions of a tar, one of them unreadable, and a teacher that cuts texts; its patches are packed."""

    name = "tars, cut texts, packed patches"
    fields = ("image", "text", "patches")

    def prepare(self, folder: Path) -> None:
        self.at = folder
        shutil.rmtree(self.corpus(folder), ignore_errors=True)
        self.corpus(folder).mkdir(parents=True)
        with tarfile.open(self.corpus(folder) / "0.tar", "w") as tar:
            for number in range(100):
                caption = json.dumps({"caption": f"{number} of them"}).encode() if number != 70 else b"{"
                for ending, data in (("png", picture(number)), ("json", caption)):
                    member = tarfile.TarInfo(f"{number:04d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))

    def asked(self, folder: Path, **_) -> Path:
        place = folder.with_name("recipe.toml")
        source = f'kind = "webdataset", root = "{self.corpus(folder)}", text = "json.caption"'
        fields = [f"one/{field}" for field in self.fields]
        more = 'batch_size = 32\ncompression = { "one/patches" = "zstd" }'
        with ours():
            place.write_text(recipe_of(folder / "deep/out", source, fields, more, kind="Wide"))
        return place

    def look(self, folder: Path) -> None:
        super().look(folder)
        try:
            store = FeatureStore(folder / STORE)
        except StoreError:
            return
        assert b"0070" in (folder / STORE / LEFT_OUT).read_bytes(), "what was left out is not told any more"
        assert store.read("one/patches", store.ok_rows).isfinite().all()


@contextmanager
def kept_after(seconds: float) -> Iterator[None]:
    """How long a shard is computed until its rows are kept."""
    before, begun.EVERY = begun.EVERY, seconds
    try:
        yield
    finally:
        begun.EVERY = before


JOBS = (Classed, ClassedAppended, Tarred)
