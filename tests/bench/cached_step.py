"""A training step from the store against the same step with the teacher in the loop, on the same pixels."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import nn

from distillkit.objective import Objective
from distillkit.recipe import Term
from distillkit.students.timm_image import TimmImage
from distillkit.types import Batch, Features, Widths
from tests.bench.measure import Row, compare
from tests.bench.stores import WIDTH, make_store


def run(folder: Path, quick: bool) -> list[Row]:
    """Student ViT-Ti/16, teacher ViT-B/16 (random weights), 224 px; loss: cosine scores against the teacher's batch."""
    torch.manual_seed(0)
    size, batch_size = (32, 4) if quick else (224, 16)
    options = {"img_size": size, "num_classes": 0}
    teacher = timm.create_model("vit_tiny_patch16_224" if quick else "vit_base_patch16_224", **options).eval()
    head = nn.Linear(teacher.num_features, WIDTH)
    student = TimmImage(model="vit_tiny_patch16_224", image_size=size, embed_dim=WIDTH)
    knobs = {"between": "image, teacher image", "temperature": 3.0, "symmetric": False}
    widths = Widths(student.widths, {"image": WIDTH})
    objective = Objective([Term(kind="affinity", **knobs)], widths)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
    store = make_store(folder / "cached-step", 4096, 4096)
    pixels = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8)
    random = torch.Generator().manual_seed(0)

    def step(teacher_image: torch.Tensor) -> None:
        batch = Batch(pixels=pixels, teacher=Features(image=teacher_image))
        total, _ = objective(batch, student(batch))
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    def cached() -> None:
        step(store.read("image", torch.randint(4096, (batch_size,), generator=random)))

    @torch.inference_mode()
    def said() -> torch.Tensor:
        return head(teacher(student.normalise(pixels)))

    def live() -> None:
        step(said().clone())

    return [
        compare(
            "training step, ViT-Ti/16 at 224 px: cached teacher / live ViT-B/16 teacher",
            cached,
            live,
            goal=4.4,
            amount=batch_size,
            unit="images/s",
            rounds=2 if quick else 7,
        )
    ]
