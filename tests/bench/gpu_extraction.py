"""Stage 1 on a GPU: the teacher against matrix products and open_clip as it comes, and extraction against the teacher.

ViT-L/14 at 224 px with random weights, bf16. Quick runs show that the code runs, with a toy and on a CPU if need be.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import open_clip
import torch
from torch import Tensor

from distillkit.teachers.openclip import Openclip
from tests.bench.extraction import extract, job, photos, plan, toy, with_weights
from tests.bench.measure import Row, compare, needs_gpu

_MODEL = "ViT-L-14"
_TOY = {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
# Name and goal. 0.7 of the products' rate is what we would like to see.
_SHARE = "teacher ViT-L/14 at 224 px, bf16, torch.compile / products of bf16 matrices, in operations a second", 0.6
_EAGER = "teacher ViT-L/14 at 224 px, bf16, torch.compile / open_clip in eager autocast", 1.3
_WHOLE = "extraction from JPEGs, ViT-L/14 at 224 px / its teacher alone on ready pixels", 0.9
_TEXTS = "teacher's text tower, texts cut to their length / open_clip in eager autocast", 1.3


def run(folder: Path, quick: bool) -> list[Row]:
    if not quick and not torch.cuda.is_available():
        return [needs_gpu(name, f">= {goal:g}") for name, goal in (_SHARE, _EAGER, _WHOLE, _TEXTS)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = toy(folder / "toy", 32, _TOY) if quick else with_weights(folder, _MODEL)
    teacher = Openclip(model=model, device=device, precision="bf16", pixels="torchvision", compile=not quick)
    batch_size, batches, rounds = (4, 2, 2) if quick else (256, 16, 7)
    pixels = torch.randint(256, (batch_size, 3, *teacher.preprocess.size), dtype=torch.uint8)
    ready = pixels.pin_memory() if device == "cuda" else pixels

    def alone() -> None:
        for _ in range(batches):
            teacher.forward(pixels=ready, fields=["image"])

    return [
        _against_products(teacher, alone, batches * batch_size, 64 if quick else 8192, rounds),
        _against_eager(model, teacher, alone, ready, batches, rounds),
        _from_jpegs(folder, teacher, alone, batch_size, batches, rounds, quick),
        _texts(model, teacher, 16 if quick else 2048, rounds),
    ]


def operations(teacher: Openclip) -> float:
    """Floating-point operations of the image tower for one image: products of matrices alone, two for each factor."""
    tower = teacher.model.visual
    width, patches = tower.conv1.out_channels, tower.grid_size[0] * tower.grid_size[1]
    return vit_operations(tower.transformer.layers, width, patches, tower.conv1.weight[0].numel())


def vit_operations(layers: int, width: int, patches: int, numbers: int) -> float:
    """Of a ViT with a class token, MLPs four times as wide as its blocks, and `numbers` in each patch of the image."""
    block = 24 * (patches + 1) * width**2 + 4 * (patches + 1) ** 2 * width
    return layers * block + 2 * patches * width * numbers


def _against_products(teacher: Openclip, alone: Callable[[], None], images: int, side: int, rounds: int) -> Row:
    one, other = (torch.randn(side, side, device=teacher.device, dtype=torch.bfloat16) for _ in range(2))
    times = 64

    def products() -> None:
        for _ in range(times):
            torch.mm(one, other)
        if teacher.device.type == "cuda":
            torch.cuda.synchronize()

    name, goal = _SHARE
    ours, theirs = operations(teacher) * images / 1e12, 2 * side**3 * times / 1e12
    return compare(name, alone, products, goal=goal, amount=ours, their_amount=theirs, unit="TFLOP/s", rounds=rounds)


def _open_clip(model: str, device: torch.device) -> torch.nn.Module:
    name, _, file = (model, "", None) if model.startswith("local-dir:") else model.partition("/")
    made = open_clip.create_model(name, pretrained=file, require_pretrained=file is not None, weights_only=True)
    return made.eval().requires_grad_(False).to(device)


def _against_eager(
    model: str, teacher: Openclip, alone: Callable[[], None], ready: Tensor, batches: int, rounds: int
) -> Row:
    """Theirs has its pixels on the device already, as floats; ours takes bytes from the processor's memory."""
    reference = _open_clip(model, teacher.device)
    floats = torch.rand(ready.shape, device=teacher.device)

    @torch.inference_mode()
    def eager() -> None:
        for _ in range(batches):
            with torch.autocast(teacher.device.type, torch.bfloat16):
                said = reference.encode_image(floats)
            said.float().cpu()

    name, goal = _EAGER
    return compare(name, alone, eager, goal=goal, amount=len(ready) * batches, unit="images/s", rounds=rounds)


def _from_jpegs(
    folder: Path, teacher: Openclip, alone: Callable[[], None], batch_size: int, batches: int, rounds: int, quick: bool
) -> Row:
    """All cores decode, in processes, whose start is a part of each round: so ours has eight times the images."""
    root, more = photos(folder / "photos", 4 if quick else 512), 1 if quick else 8
    count = batch_size * batches
    decode, cores = ("threads", 1) if quick else ("processes", len(os.sched_getaffinity(0)))
    ours = partial(extract, job(root, teacher, batch_size, cores, decode), plan(root, more * count))
    name, goal = _WHOLE
    return compare(
        name, ours, alone, goal=goal, amount=more * count, their_amount=count, unit="images/s", rounds=min(rounds, 5)
    )


def _texts(model: str, teacher: Openclip, count: int, rounds: int) -> Row:
    """Captions of some ten words, all of one length; open_clip's tower wants all its 77 tokens."""
    reference = _open_clip(model, teacher.device)
    texts = [f"a photo of {number} red boats on a lake in the evening" for number in range(count)]
    whole, lengths = teacher.tokenize(texts)
    cut, given = whole[:, : int(lengths.max())], whole.to(teacher.device)

    @torch.inference_mode()
    def eager() -> None:
        with torch.autocast(teacher.device.type, torch.bfloat16):
            said = reference.encode_text(given)
        said.float().cpu()

    name, goal = _TEXTS
    ours = partial(teacher.forward, tokens=cut, fields=["text"])
    return compare(name, ours, eager, goal=goal, amount=count, unit="texts/s", rounds=rounds)
