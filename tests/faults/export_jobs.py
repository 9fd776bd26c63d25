"""Stores and students that leave: their folder is there whole or not at all, whatever was asked on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from distillkit.errors import DistillkitError
from distillkit.export import export
from distillkit.exports._files import write_json, write_weights
from distillkit.parity.questions import LEAST
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.export import export as export_store
from distillkit.store.writing.fill import fill
from distillkit.system.atomic import make_folder
from distillkit.train import train
from tests.faults.check import Job, Promise
from tests.faults.store_jobs import rows_of, writer
from tests.faults.training_jobs import RUN, Trained, quiet
from tests.faults.world import squares

OUT = "deep/exported"


class Plain:
    """A target with files at two depths, as graphs have them, which torch opens."""

    precisions = ("fp32",)

    def holds(self, student):
        return None

    def write(self, student, folder, precision, calibration=None):
        make_folder(folder / "weights")
        write_weights(folder / "weights/model.safetensors", student.image.network.state_dict())
        write_json(folder / "config.json", {"size": student.image.shown.size})

    def open(self, folder):
        weights = load_file(folder / "weights/model.safetensors")
        size = json.loads((folder / "config.json").read_bytes())["size"]
        return _Opened(size, weights["student.layer.weight"], weights["student.layer.bias"])

    def lines(self, student):
        return "from safetensors.torch import load_file"


class _Opened:
    def __init__(self, size, weight, bias):
        self._size, self._weight, self._bias = (size, size), weight, bias

    def images(self, pictures):
        pixels = np.stack([np.asarray(pictures[place].resize(self._size, 3)) for place in range(len(pictures))])
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).flatten(1) / 255
        return (planes @ self._weight.T + self._bias).numpy()


class StudentExported(Job):
    """A finished run is exported beside nothing, or beside what a cut left of it."""

    name = "student export"
    exported: bytes | None = None  # what comes of it undisturbed

    def undisturbed(self, folder: Path) -> None:
        self.exported = _weights(folder / OUT)

    def prepare(self, folder: Path) -> None:
        self.world = folder.with_name("world")
        self.left = self.world / "left"
        if not self.left.exists():
            first = Trained()
            first.prepare(self.left)
            train(first.asked(self.left), quiet)
            squares(self.world / "samples", LEAST)
        make_folder(folder / "deep")

    def run(self, folder: Path, promise: Promise) -> None:
        with refused_where_it_is_there(folder / OUT):
            kind = "tests.faults.export_jobs:Plain"
            export(self.left / RUN, kind, samples=self.world / "samples", out=folder / OUT, say=quiet)
        promise("exported", lambda folder: whole(folder / OUT))

    def look(self, folder: Path) -> None:
        if (folder / OUT).exists():
            whole(folder / OUT)
            assert self.exported in (None, _weights(folder / OUT)), "another student"


def _weights(folder: Path) -> bytes:
    return (folder / "weights/model.safetensors").read_bytes()


def whole(folder: Path) -> None:
    said = Plain().open(folder).images([Image.new("RGB", (4, 4), "white")])
    assert np.isfinite(said).all() and "worst cosine 1.0" in (folder / "README.md").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "distillkit.json", "weights"]


class Exported(Job):
    """A store in another form."""

    name = "store export"
    exported: dict[str, bytes] | None = None  # what comes of it undisturbed

    def undisturbed(self, folder: Path) -> None:
        self.exported = Job.outcome(self, folder / "deep/export")

    def prepare(self, folder: Path) -> None:
        fill(writer(folder / "store"), rows_of(), {})

    def run(self, folder: Path, promise: Promise) -> None:
        out = folder / "deep/export"
        with refused_where_it_is_there(out):
            export_store(FeatureStore(folder / "store"), out, "npy", ["toy/image"])
        promise("exported", lambda folder: _there(folder / "deep/export"))

    def look(self, folder: Path) -> None:
        out = folder / "deep/export"
        if out.exists():
            assert self.exported in (None, Job.outcome(self, out)), "another export"


@contextmanager
def refused_where_it_is_there(out: Path) -> Iterator[None]:
    """Who asks again is told that it is done; then it is."""
    there = out.exists()
    try:
        yield
    except DistillkitError as error:
        if not there or "is there already" not in str(error):
            raise


def _there(path: Path) -> None:
    assert path.exists(), f"{path.name} is not there any more"


JOBS = (Exported, StudentExported)
