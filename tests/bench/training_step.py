"""What a step costs beside the student's own arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from distillkit.recipe import Augment, Data, Optim, Term
from distillkit.students.timm_image import TimmImage
from distillkit.system import cpu
from distillkit.training.batches import Batches
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.bench.measure import Row, compare, seconds
from tests.bench.pictures import picture_store
from tests.bench.stores import WIDTH

FAST = {"resample": "torchvision", "scale": (0.3, 1.0)}
KNOBS = {"between": "image, teacher image", "temperature": 3.0, "symmetric": False}


def run(folder: Path, quick: bool) -> list[Row]:
    """Students ViT-Ti/16 at 224 px and of 6 blocks at 112 px; every batch new, from raw squares or from JPEGs."""
    cpu.settle()
    store = str(picture_store(folder / "step", 32 if quick else 256).path)
    rounds, sizes = (2, (32, 32)) if quick else (9, (224, 112))
    tiny, small = learner_at(sizes[0]), learner_at(sizes[1], depth=2 if quick else 6)
    batch_size = 4 if quick else 32

    def data(cache: int | None) -> Data:
        return Data(images=store, pixel_cache=cache, batch_size=batch_size, augment=Augment(**FAST))

    def row(name: str, learner: Learner, goal: float, cache: int, steps: int) -> Row:
        ours, alone = _with_data(learner, data(cache), steps), student_alone(learner, batch_size, steps)
        name = f"step, {name} px: store and raw squares / targets and pixels in memory"
        return compare(name, ours, alone, goal=goal, unit="s", rounds=rounds, speed=False)

    return [
        row("ViT-Ti/16 at 224", tiny, 1.02, sizes[0] + 32, 1),
        row("6 blocks at 112", small, 1.05, sizes[1] + 16, 1 if quick else 6),
        _from_jpeg(tiny, data(None), 1, rounds),
    ]


def learner_at(size: int, **options: int) -> Learner:
    torch.manual_seed(0)
    student = TimmImage(model="vit_tiny_patch16_224", image_size=size, embed_dim=WIDTH, options=options)
    objective = Objective([Term(kind="affinity", **KNOBS)], Widths(student.widths, {"image": WIDTH}))
    return Learner(student, objective, Optim(epochs=1), seed=0, device=torch.device("cpu"), ranks=Ranks())


def _from_jpeg(learner: Learner, data: Data, steps: int, rounds: int) -> Row:
    """Training from the files of 500 x 375 pixels, against what is slower: the student, or pixels with no student."""
    ours, alone = _with_data(learner, data, steps), student_alone(learner, data.batch_size, steps)
    stream = _batches(learner, data).stream(0, 1_000_000)

    def pixels() -> None:
        for _ in itertools.islice(stream, steps):
            pass

    pixels(), alone()
    slower, name = (pixels, "pixels alone") if seconds(pixels) > seconds(alone) else (alone, "the student alone")
    name = f"throughput, ViT-Ti/16 at {learner.student.image_size} px: from JPEG / {name}, which is the slower"
    amount = data.batch_size * steps
    return compare(name, ours, slower, goal=0.95, amount=amount, unit="images/s", rounds=rounds)


def _with_data(learner: Learner, data: Data, steps: int) -> Callable[[], None]:
    """So many steps on batches as training makes them, each time other ones."""
    stream = _batches(learner, data).stream(0, 1_000_000)
    return lambda: _learn(learner, itertools.islice(stream, steps))


def _batches(learner: Learner, data: Data) -> Batches:
    batches = Batches(data, 0, learner.student)
    batches.narrow({"teacher.image"})
    return batches


def student_alone(learner: Learner, batch_size: int, steps: int) -> Callable[[], None]:
    """The same steps on one batch that lies in memory, its targets random."""
    size = learner.student.image_size
    pixels = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8)
    batch = Batch(pixels=pixels, teacher=Features(image=torch.randn(batch_size, WIDTH)))
    return lambda: _learn(learner, itertools.repeat(batch, steps))


def _learn(learner: Learner, batches: Iterator[Batch]) -> None:
    for batch in batches:
        learner.step(batch, 1e-5)
