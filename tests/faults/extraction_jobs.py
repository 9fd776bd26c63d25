"""Jobs of stage 1, by its real commands: extract, append, retry, add a teacher; merge, take over parts, select rows."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np

from distillkit.engine.append import append
from distillkit.engine.redo import redo
from distillkit.engine.retry import retry
from distillkit.errors import StoreError
from distillkit.extract import extract
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import select
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.parts import assemble
from distillkit.store.upkeep.verify import verify
from distillkit.store.writing import fill as module
from distillkit.store.writing.fill import fill
from tests.faults.check import Job, Promise
from tests.faults.failing import ours
from tests.faults.store_jobs import ROWS, is_complete, rows_of, writer
from tests.faults.world import recipe, square, squares

STORE = "deep/out/images"


# What the ledger says of an image that the system would not read. All else is of the machine, and no line of a ledger.
_OF_ONE_FILE = (errno.EACCES, errno.EIO)
_REFUSED = re.compile("|".join(re.escape(os.strerror(one)) for one in _OF_ONE_FILE))


def digest(store: Path) -> str:
    return Manifest.read(store).digest


class Extracted(Job):
    """A corpus of three shards, two levels below what is there."""

    name = "extraction"
    fields = ("text",)
    teachers = {"one": 1.0}  # noqa: RUF012

    def corpus(self, folder: Path) -> Path:
        return folder.with_name("corpus")

    def prepare(self, folder: Path) -> None:
        self.at = folder
        shutil.rmtree(self.corpus(folder), ignore_errors=True)
        squares(self.corpus(folder), ROWS)

    def asked(self, folder: Path, **changes) -> Path:
        place = folder.with_name("recipe.toml")
        teachers = changes.get("teachers", self.teachers)
        fields = [f"{name}/{field}" for name in teachers for field in self.fields]
        with ours():
            place.write_text(recipe(folder / "deep/out", self.corpus(folder), teachers, fields))
        return place

    def run(self, folder: Path, promise: Promise) -> None:
        self.extracted(self.asked(folder), STORE, promise)

    def extracted(self, recipe: Path, store: str, promise: Promise, **options) -> None:
        """By the command. A lock that is refused is another's, says POSIX: it may leave shards to others, and tell."""
        lines: list[str] = []
        extract(recipe, lines.append, **options)
        if not any("left to other processes" in line for line in lines):
            promise("complete", is_complete(store))

    old: str | None = None  # the digest of the store that was there before
    new: str | None = None  # ... and of what came of it undisturbed

    def undisturbed(self, folder: Path) -> None:
        self.new = digest(folder / STORE)

    def look(self, folder: Path) -> None:
        store = folder / STORE
        if not (store / FILE_NAME).is_file():
            try:
                FeatureStore(store)
            except StoreError:
                return
            raise AssertionError("opened without a manifest")
        problems = verify(store)
        assert not problems, problems[0]
        assert self.new is None or digest(store) in (self.old, self.new) or _told(store) or self.half(store), (
            "another store"
        )

    def half(self, store: Path) -> bool:
        """Whether it is what comes of images that the system let be read once and not the next time."""
        return False

    def again(self, folder: Path, promise: Promise) -> None:
        """Images that could not be read are failed samples: told after every run, and asked for again when one says so.
        What is made of a store that had some is as if it had none; that one is set aside.
        """
        self.run(folder, promise)
        store = folder / STORE
        if _told(store):
            extract(self.asked(folder), lambda line: None, instead=retry)
        kept: list[str] = []
        for place in sorted(store.parent.glob("images.before-*")):
            if digest(place) != self.old or kept:
                shutil.rmtree(place)
            else:
                kept.append(place.name)


def _told(store: Path) -> bool:
    """Whether the ledger of a store says of rows that the system refused their images, and of nothing else."""
    failures = FeatureStore(store).failures()
    return bool(failures) and all(_REFUSED.search(line["error"]) for line in failures)


class Appended(Extracted):
    """The corpus grew; the store's last shard was not full."""

    name = "append"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        squares(self.corpus(folder), 100)
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)
        squares(self.corpus(folder), ROWS)

    def run(self, folder: Path, promise: Promise) -> None:
        extract(self.asked(folder), lambda line: None, instead=append)
        promise("complete", is_complete(STORE))

    def look(self, folder: Path) -> None:
        super().look(folder)
        for place in (folder / "deep/out").glob("images.before-*"):
            assert digest(place) == self.old and not verify(place)
        assert (folder / STORE / FILE_NAME).is_file() or any((folder / "deep/out").glob("images.before-*")), "lost"


class Retried(Appended):
    """Two images were damaged and are not any more."""

    name = "retry"
    fields = ("image",)

    def prepare(self, folder: Path) -> None:
        Extracted.prepare(self, folder)
        damaged = [self.corpus(folder) / f"images/{number:03d}.png" for number in (70, 149)]
        for path in damaged:
            path.write_bytes(b"")
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)
        for path in damaged:
            square(int(path.stem), path)

    def run(self, folder: Path, promise: Promise) -> None:
        extract(self.asked(folder), lambda line: None, instead=retry)
        promise("complete", is_complete(STORE))


class Redone(Retried):
    """Two images were replaced under their names."""

    name = "changed images"
    both = ()

    def prepare(self, folder: Path) -> None:
        Extracted.prepare(self, folder)
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)
        self.before = _said(folder / STORE)
        for number in (70, 149):
            square(number + 50, self.corpus(folder) / f"images/{number:03d}.png")

    def undisturbed(self, folder: Path) -> None:
        super().undisturbed(folder)
        self.both = (self.before, _said(folder / STORE))

    def half(self, store: Path) -> bool:
        """Each row is as before or as after: an image that cannot be looked at is looked at by the next run."""
        return all(said in rows for said, *rows in zip(_said(store), *self.both, strict=True))

    def run(self, folder: Path, promise: Promise) -> None:
        extract(self.asked(folder), lambda line: None, instead=redo)
        promise("complete", is_complete(STORE))


def _said(store: Path) -> list[list[float]]:
    return FeatureStore(store).read("one/image", np.arange(ROWS)).tolist()


class Added(Extracted):
    """A second teacher beside a store that stays."""

    name = "a teacher is added"
    addition: str | None = None

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)

    def run(self, folder: Path, promise: Promise) -> None:
        self.extracted(self.asked(folder, teachers={"one": 1.0, "two": 2.0}), f"{STORE}/added/two", promise)

    def undisturbed(self, folder: Path) -> None:
        self.new, self.addition = digest(folder / STORE), digest(folder / STORE / "added/two")

    def look(self, folder: Path) -> None:
        assert digest(folder / STORE) == self.old
        super().look(folder)
        added = folder / STORE / "added/two"
        if self.addition is not None and (added / FILE_NAME).is_file():
            assert digest(added) == self.addition, "another addition"


class Replaced(Extracted):
    """Another recipe: the old store is set aside and a new one takes its place."""

    name = "another recipe"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        extract(self.asked(folder), lambda line: None)
        self.old = digest(folder / STORE)

    def run(self, folder: Path, promise: Promise) -> None:
        self.extracted(self.asked(folder, teachers={"one": 3.0}), STORE, promise, overwrite=True)

    def look(self, folder: Path) -> None:
        super().look(folder)
        stores = [folder / STORE, *(folder / "deep/out").glob("images.before-*")]
        found = [digest(store) for store in stores if (store / FILE_NAME).is_file()]
        assert self.old in found, "the old store is lost"


class Merged(Extracted):
    """Two stores copied into one."""

    name = "merge"
    at_once = 0

    def prepare(self, folder: Path) -> None:
        for number, rows in enumerate((70, 60)):
            fill(writer(folder / f"part-{number}", rows), rows_of(), {})

    def run(self, folder: Path, promise: Promise) -> None:
        # One shard at a time: of two threads that wait for one folder, the system tells one alone that it failed.
        before, module._SMALL = module._SMALL, self.at_once
        try:
            concatenate(folder / STORE, [folder / "part-0", folder / "part-1"], lambda line: None, {})
        finally:
            module._SMALL = before
        promise("complete", is_complete(STORE))


class MergedByTwo(Merged):
    """The same, two shards at a time."""

    name = "merge of two shards at a time"
    at_once = 1 << 28


class Assembled(Extracted):
    """Parts of one extraction, taken over as they are, by links."""

    name = "parts"

    def prepare(self, folder: Path) -> None:
        for number in range(2):
            part = writer(folder / f"part-{number}")
            part.begin()
            for shard in range(number, part.shards, 2):
                part.commit(shard, *rows_of()(*part.span(shard)))

    def run(self, folder: Path, promise: Promise) -> None:
        assemble(folder / STORE, [folder / "part-0", folder / "part-1"], lambda line: None, {})
        promise("complete", is_complete(STORE))


class Selected(Job):
    """A view, made in the place of another one."""

    name = "view"

    def prepare(self, folder: Path) -> None:
        fill(writer(folder / "store"), rows_of(), {})
        select(folder / "store", np.arange(5), folder / "views/some")
        self.rows = [np.arange(5).tolist(), np.arange(2, 9).tolist()]

    def run(self, folder: Path, promise: Promise) -> None:
        select(folder / "store", np.arange(2, 9), folder / "views/some")
        promise("made", lambda folder: _same(FeatureStore(folder / "views/some").selection.rows, self.rows[1]))

    def look(self, folder: Path) -> None:
        try:
            view = FeatureStore(folder / "views/some")
            rows = view.selection.rows.tolist()
        except StoreError:
            return  # told: make it again
        assert rows in self.rows, "another view"
        assert not verify(folder / "views/some")


class FirstSelected(Selected):
    """A view where nothing was."""

    name = "first view"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        shutil.rmtree(folder / "views")


def _same(rows, wanted: list[int]) -> None:
    assert rows.tolist() == wanted


JOBS = (
    Extracted,
    Appended,
    Retried,
    Redone,
    Added,
    Replaced,
    Merged,
    MergedByTwo,
    Assembled,
    Selected,
    FirstSelected,
)
