"""A training step from the store against the same step with the teacher in the loop, on the same pixels.

How much faster it can be, the two networks decide: (student + teacher) / student, their own times in the same rounds.
What is told is the share of that limit which is reached, so that a row is the same on any processor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import nn

from distillkit.recipe import Optim, Term
from distillkit.store.reading.reader import FeatureStore
from distillkit.students.timm_image import TimmImage
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.bench.measure import Row, of_pairs, seconds
from tests.bench.stores import WIDTH, make_store


def run(folder: Path, quick: bool) -> list[Row]:
    """Student ViT-Ti/16 at 224 px; loss: cosine scores against the teacher's batch. Teachers have random weights."""
    torch.manual_seed(0)
    store = make_store(folder / "cached-step", 4096, 4096)
    tiny, size = "vit_tiny_patch16_224", 32 if quick else 224
    return [
        cached_against_live(
            "ViT-B/16", tiny if quick else "vit_base_patch16_224", store, size, 4 if quick else 8, quick
        ),
        cached_against_live("ViT-L/14", tiny if quick else "vit_large_patch14_clip_224", store, size, 4, quick),
    ]


def cached_against_live(
    name: str, model: str, store: FeatureStore, size: int, batch_size: int, quick: bool, place: str = "cpu"
) -> Row:
    """Ours: how many times faster; theirs: how many times at most."""
    device = torch.device(place)
    teacher = timm.create_model(model, img_size=size, num_classes=0).eval().to(device)
    head = nn.Linear(teacher.num_features, WIDTH).to(device)
    student = TimmImage(model="vit_tiny_patch16_224", image_size=size, embed_dim=WIDTH)
    knobs = {"between": "image, teacher image", "temperature": 3.0, "symmetric": False}
    objective = Objective([Term(kind="affinity", **knobs)], Widths(student.widths, {"image": WIDTH}))
    learner = Learner(student, objective, Optim(epochs=1), seed=0, device=device, ranks=Ranks())
    pixels = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
    random = torch.Generator().manual_seed(0)

    def step(teacher_image: torch.Tensor) -> None:
        learner.step(Batch(pixels=pixels, teacher=Features(image=teacher_image)).to(device), 1e-4)

    def cached() -> None:
        step(store.read("image", torch.randint(4096, (batch_size,), generator=random)))

    @torch.inference_mode()
    def said() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return head(teacher(student.normalise(pixels))).float()

    def live() -> None:
        step(said().clone())

    target = said().clone()

    def alone() -> None:
        step(target)

    def timed(work: Callable[[], object]) -> float:
        taken = seconds(work)
        if device.type == "cuda":
            taken += seconds(lambda: torch.cuda.synchronize(device))
        return taken

    works = (cached, live, alone, said)
    for work in works:
        timed(work)
    rounds = [[timed(work) for work in works] for _ in range(2 if quick else 7)]
    pairs = [(live_ / cached_, (alone_ + said_) / alone_) for cached_, live_, alone_, said_ in rounds]
    name = f"training step, ViT-Ti/16 at {size} px, cached / live {name}: share of (student + teacher) / student"
    return of_pairs(name, pairs, goal=0.98, unit="times")
