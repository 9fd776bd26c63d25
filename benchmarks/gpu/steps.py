"""Stage 2: a ViT-S/16 from the store, against the student alone on random targets and against a live ViT-L/14."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import timm
import torch
from torch import nn

from benchmarks.gpu.clock import here, seconds
from benchmarks.gpu.results import Part
from distillkit.recipe import Optim, Term
from distillkit.students.timm_image import TimmImage
from distillkit.training.delivery import Delivery
from distillkit.training.learner import Learner
from distillkit.training.objective import Objective
from distillkit.training.ranks import Ranks
from distillkit.types import Batch, Features, Widths
from tests.bench.stores import WIDTH, make_store

_TOY = {"depth": 1, "embed_dim": 32, "num_heads": 2}  # what a network of toy sizes has less of


def run(out: Path, toy: bool) -> None:
    part, device = Part(out, "steps"), here()
    size, batch, steps = (32, 4, 2) if toy else (224, 256, 20)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", 4096, 4096)
        ours = _learner(size, device, toy)
        delivery, random = Delivery(device), torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8)
        pixels = pixels.pin_memory() if device.type == "cuda" else pixels

        def made() -> Batch:
            rows = torch.randint(4096, (batch,), generator=random)
            return Batch(pixels=pixels, teacher=Features(image=store.read("image", rows)))

        spent = list[tuple[float, float]]()  # of each call: waiting for batches, and all

        def cached() -> None:
            """Batches are made two ahead by a thread, as training makes them."""
            begun, waiting = time.perf_counter(), 0.0
            with ThreadPoolExecutor(1) as maker:
                coming = deque(maker.submit(delivery.sent, made) for _ in range(2))
                for left in range(steps, 0, -1):
                    if left > 2:
                        coming.append(maker.submit(delivery.sent, made))
                    asked = time.perf_counter()
                    sent = coming.popleft().result()
                    waiting += time.perf_counter() - asked
                    ours.step(delivery.received(sent), 1e-4)
            spent.append((waiting, time.perf_counter() - begun))

        alone, live = _alone(size, batch, device, steps, toy), _live(ours, made, size, toy, steps)
        rate = {name: batch * steps / seconds(work) for name, work in (("cached", cached), ("alone", alone))}
        part.add("ViT-S/16, cached", rate["cached"], "images/s")
        part.add("ViT-S/16 alone, torch.compile, random targets", rate["alone"], "images/s")
        part.add("cached / the student alone", rate["cached"] / rate["alone"], "", 0.98)
        waiting, whole = map(sum, zip(*spent[1:], strict=True))  # the first call compiles
        part.add("cached, the share of a step that waits for its batch", waiting / whole)
        rate["live"] = batch * steps / seconds(live, rounds=1)
        part.add("ViT-S/16, live ViT-L/14", rate["live"], "images/s")
        part.add("cached / live", rate["cached"] / rate["live"], "", 10.0)
    part.keep(ended="whole")


def _student(size: int, toy: bool) -> TimmImage:
    torch.manual_seed(0)
    options = _TOY if toy else {}
    return TimmImage(model="vit_small_patch16_224", image_size=size, embed_dim=WIDTH, options=options)


def _learner(size: int, device: torch.device, toy: bool) -> Learner:
    student = _student(size, toy)
    term = Term(kind="affinity", between="image, teacher image", temperature=3.0, symmetric=False)
    objective = Objective([term], Widths(student.widths, {"image": WIDTH}))
    settings = Optim(epochs=1, compile=False if toy else "step")
    return Learner(student, objective, settings, seed=0, device=device, ranks=Ranks())


def _alone(size: int, batch: int, device: torch.device, steps: int, toy: bool) -> Callable[[], None]:
    """The loop that anybody would write: bf16, fused AdamW, squared errors, pixels that are there."""
    student = _student(size, toy).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4, fused=True)
    pixels = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, device=device)
    target = torch.randn(batch, WIDTH, device=device)
    embed = student.embed if toy else torch.compile(student.embed)

    def run() -> None:
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = nn.functional.mse_loss(embed(pixels).float(), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return run


def _live(ours: Learner, made: Callable[[], Batch], size: int, toy: bool, steps: int) -> Callable[[], None]:
    """The same step with the teacher in the loop."""
    device = ours.device
    name = "vit_tiny_patch16_224" if toy else "vit_large_patch14_clip_224"
    small = _TOY if toy else {}
    teacher = timm.create_model(name, img_size=size, num_classes=0, **small).eval().requires_grad_(False).to(device)
    head = nn.Linear(teacher.num_features, WIDTH).requires_grad_(False).to(device)

    def run() -> None:
        for _ in itertools.repeat(None, steps):
            batch = made().to(device)
            low = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
            with torch.no_grad(), low:
                said = head(teacher(ours.student.normalise(batch.pixels))).float()
            ours.step(Batch(pixels=batch.pixels, teacher=Features(image=said)), 1e-4)

    return run
