"""Training steps on a GPU: the teacher in its store against the teacher in the loop."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.bench.cached_step import cached_against_live
from tests.bench.measure import Row, needs_gpu
from tests.bench.stores import make_store

_TINY = "vit_tiny_patch16_224"
_TEACHERS = {"ViT-B/16": "vit_base_patch16_224", "ViT-L/14": "vit_large_patch14_clip_224"}


def run(folder: Path, quick: bool) -> list[Row]:
    """The shares that a processor is asked for, too."""
    if not quick and not torch.cuda.is_available():
        name = "training step, ViT-Ti/16 at 224 px, cached / live {}: share of (student + teacher) / student"
        return [needs_gpu(name.format(teacher), ">= 0.98") for teacher in _TEACHERS]
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    store, size, batch_size = make_store(folder / "step", 4096, 4096), *((32, 4) if quick else (224, 256))
    return [
        cached_against_live(teacher, _TINY if quick else model, store, size, batch_size, quick, device)
        for teacher, model in _TEACHERS.items()
    ]
