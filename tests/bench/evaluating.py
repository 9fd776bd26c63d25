"""Evaluation: a new one of kept features, a ViT-Ti over JPEGs, and memory beside the features however many they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import torch

from distillkit.evals.knn import Knn
from distillkit.evaluation.embed import Pace, _batches, embedded
from distillkit.evaluation.encode import Student
from distillkit.evaluation.features import Features
from distillkit.originals import Originals
from distillkit.students.timm_image import TimmImage
from distillkit.system.device import device_of
from tests.bench.measure import Row, at_most, compare, seconds
from tests.bench.pictures import picture_store

_CLASSES = 10


def run(folder: Path, quick: bool) -> list[Row]:
    """On the device that students run on here."""
    count, size = (16, 32) if quick else (10_000, 224)
    store = picture_store(folder / "pictures", count)
    few = picture_store(folder / "few", count // 5 + 10, classes=_CLASSES)
    torch.manual_seed(0)
    device = device_of("auto")
    student = TimmImage(model="vit_tiny_patch16_224", image_size=size, embed_dim=64).eval().to(device)
    pace = Pace(device, threads=torch.get_num_threads())
    return [
        _rate(store, student, pace, count, rounds=1 if quick else 2),
        _again(folder / "kept", few, student, pace, rounds=1 if quick else 3),
        *(_memory(items) for items in ((20_000,) if quick else (10_000, 1_000_000))),
    ]


def _rate(store, student, pace: Pace, count: int, rounds: int) -> Row:
    """Against the slower of decoding alone and of forwards alone, of the same images in the same batches."""
    files, rows, size = Originals(store, None), store.ok_rows, student.image_size

    def decode(some: int = count) -> None:
        for _ in _batches(files, rows[:some], size, pace, ahead=0):
            pass

    @torch.inference_mode()
    def forward(some: int = count) -> None:
        pixels = torch.zeros(min(pace.batch, count), 3, size, size, dtype=torch.uint8)
        for _ in range(max(min(some, count) // pace.batch, 1)):
            student.embed(pixels.to(pace.device)).cpu()

    slower = max((decode, forward), key=lambda work: seconds(lambda: work(512)))
    name = f"evaluating a ViT-Ti on {count:,} JPEGs / {slower.__name__} alone, the slower"
    ours = lambda: embedded(student, files, rows, pace)  # noqa: E731
    return compare(name, ours, slower, goal=0.95, amount=count, unit="images/s", rounds=rounds)


def _again(folder: Path, store, student, pace: Pace, rounds: int) -> Row:
    """k-NN with another k, of features that the first evaluation left, against the first."""

    def measured(k: int) -> None:
        encode = Student(lambda: student, {}, pace, Features(folder, "weights"))
        Knn(train="store", store="store", k=k).run(encode, lambda name: store)

    def first() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        measured(20)

    measured(20)
    pairs = "second evaluation, another eval of the same run and store / the first"
    return compare(pairs, lambda: measured(5), first, goal=10.0, unit="evaluations/s", rounds=rounds)


def _memory(items: int) -> Row:
    """In a process of its own: the most it took, less what it had when the features were there."""
    told = subprocess.run([sys.executable, "-c", _ZERO_SHOT, str(items)], capture_output=True, text=True, check=True)
    name = f"memory beside the features, zero-shot with intervals of {items:,} images"
    return at_most(name, [max(float(told.stdout), 1.0)], 512, "MB")  # a page or two is nothing


_ZERO_SHOT = """
import resource, sys
import numpy as np, torch
from distillkit.evals._classes import Classes
from distillkit.evals._classified import classified
from distillkit.evals._labels import Labels
from distillkit.evals._ranking import one_right, ranked
from distillkit.evaluation.numbers import numbers
import pyarrow as pa
from pathlib import Path
from types import SimpleNamespace

n, c = int(sys.argv[1]), 1000
features, texts = torch.randn(n, 64), torch.randn(c, 64)
label = torch.arange(n) % c
store = SimpleNamespace(index=pa.table({"key": pa.array(np.arange(n)).cast(pa.string())}), ok_rows=np.arange(n))
labels = Labels(Path("x"), np.arange(n), label.numpy(), n)
classes = Classes(Path("x"), np.arange(c), np.arange(c))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
numbers(classified(store, labels, label, classes, ranked(features, texts, one_right(label, c))))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
