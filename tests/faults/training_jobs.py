"""Jobs of stage 2 by its real commands, with a student of one layer: train, go on, evaluate, keep pixels, mine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from distillkit.errors import TrainError
from distillkit.evaluate import evaluate
from distillkit.evaluation.rows import is_rows, read_rows
from distillkit.extract import extract
from distillkit.originals import Originals
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.record import SEAL
from distillkit.train import train
from distillkit.training.pixel_cache import Cached, exists
from tests.faults.check import Job, Promise
from tests.faults.failing import ours
from tests.faults.world import TRAIN, recipe, squares

RUN = "deep/runs/toy"
# What it took and when, and so the checksum of who tells it: no two runs are alike in that.
_MEASURED = ("seconds", "images_per_second", "wait_share", "memory_gb", "command", "machine", SEAL)


def quiet(line: str) -> None:
    pass


def timeless(data: bytes) -> bytes:
    """JSON, or lines of it, without what was measured."""

    def without(value):
        return {key: each for key, each in value.items() if key not in _MEASURED}

    try:
        lines = [json.loads(line) for line in ([data] if data.endswith(b"\n}\n") else data.splitlines())]
    except ValueError:
        return data  # damaged on purpose
    return json.dumps([without(line) for line in lines]).encode()


class Trained(Job):
    """A run with checkpoints and a validation, from nothing."""

    name = "training"
    evals = "near"

    def prepare(self, folder: Path) -> None:
        self.world = folder.with_name("world")
        if not self.world.exists():
            corpus = squares(self.world / "corpus", 40)
            (self.world / "extract.toml").write_text(recipe(self.world, corpus, {"one": 1.0}, ["image"]))
            extract(self.world / "extract.toml", quiet)
        for cache in self.world.glob("images.*"):
            shutil.rmtree(cache)

    def asked(self, folder: Path, named: str | None = None) -> Path:
        place = folder.with_name("train.toml")
        with ours():
            place.write_text(TRAIN.format(folder=folder, images=self.world / "images", named=named or self.evals))
        return place

    def run(self, folder: Path, promise: Promise) -> None:
        train(self.asked(folder), quiet)
        promise("trained", lambda folder: _finished(RunFolder(folder / RUN)))

    def look(self, folder: Path) -> None:
        run = RunFolder(folder / RUN)
        if run.finished:
            run.load_student()
            steps = [line["step"] for line in run.history()]
            assert steps == list(range(1, 5)), f"metrics of steps {steps}"
            best = json.loads((run.path / "best/best.json").read_bytes())
            assert best["step"] == 4
        else:
            try:
                run.recipe()
            except TrainError:
                return
            raise AssertionError("a run that is not finished has a recipe to evaluate")

    def outcome(self, folder: Path) -> dict[str, bytes]:
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".lock", ".html", ".md")
        }
        return {name: timeless(data) if name.endswith((".json", ".jsonl")) else data for name, data in found.items()}


class Evaluated(Trained):
    """A finished run is evaluated, after it was evaluated by other evaluations."""

    name = "evaluation"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        train(self.asked(folder, "before"), quiet)
        evaluate(folder / RUN, quiet)

    def run(self, folder: Path, promise: Promise) -> None:
        train(self.asked(folder, "after"), quiet)
        evaluate(folder / RUN, quiet)
        promise("evaluated", _evaluated)

    def look(self, folder: Path) -> None:
        super().look(folder)
        done = folder / RUN / "evaluated.json"
        if done.is_file():
            named = json.loads(done.read_bytes())["evaluation"]
            found = file_digest(folder / RUN / "evaluation.json").sha256
            assert found == named, "the report is said to be made from another evaluation.json"
        for path in (folder / RUN / "evaluation").glob("*.arrow"):
            if is_rows(path):
                read_rows(path)


class FirstEvaluated(Evaluated):
    """A finished run is evaluated for the first time."""

    name = "first evaluation"

    def prepare(self, folder: Path) -> None:
        Trained.prepare(self, folder)
        train(self.asked(folder, "after"), quiet)


class Retrained(Trained):
    """A run goes on from its last checkpoint but one: the last is damaged."""

    name = "training after a damaged checkpoint"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        train(self.asked(folder), quiet)
        (folder / RUN / "student.json").unlink()
        newest = max((folder / RUN / "checkpoints").iterdir())
        (newest / "state.json").write_bytes(b"{")


def _finished(run: RunFolder) -> None:
    assert run.finished, "the run is not finished any more"


def _evaluated(folder: Path) -> None:
    assert (folder / RUN / "evaluated.json").is_file(), "the run is not evaluated any more"


class Pixels(Trained):
    """Both forms of the pixel cache, of a store whose cache is one of another store."""

    name = "pixel cache"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        shutil.copytree(self.world / "images", folder / "images")
        other = folder / "images.pixels-4"
        other.mkdir()
        (other / "cache.json").write_text(json.dumps({"store": "another", "size": 4}))
        (other / "pixels.npy").write_bytes(b"others")

    def run(self, folder: Path, promise: Promise) -> None:
        store = FeatureStore(folder / "images")
        for form in ("raw", "jpeg"):
            Cached(store, Originals(store, None), 4, form, 1)
            promise(form, lambda folder, form=form: _has_cache(folder, form))

    def look(self, folder: Path) -> None:
        store = FeatureStore(folder / "images")
        for form in ("raw", "jpeg"):
            if exists(store, 4, form):
                cached = Cached(store, Originals(store, None), 4, form, 1)
                for row in (0, 39):
                    colour = np.asarray(cached.open(row)[0])[0, 0].astype(int)
                    assert np.abs(colour - (row, 255 - row, 7)).max() < 20, f"row {row} of {form} is {colour}"


def _has_cache(folder: Path, form: str) -> None:
    assert exists(FeatureStore(folder / "images"), 4, form), f"the {form} cache is not there any more"


JOBS = (Trained, Evaluated, FirstEvaluated, Retrained, Pixels)
