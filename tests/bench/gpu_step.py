"""Training steps on a GPU: the teacher in its store against the teacher in the loop."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.bench.cached_step import cached_against_live
from tests.bench.measure import Row, needs_gpu
from tests.bench.stores import make_store

_TINY = "vit_tiny_patch16_224"
_TEACHERS = {"ViT-B/16": ("vit_base_patch16_224", 4.4), "ViT-L/14": ("vit_large_patch14_clip_224", 17.0)}


def run(folder: Path, quick: bool) -> list[Row]:
    """The goals are those of a processor: a GPU keeps a ViT-Ti less busy than its teacher, so less may be reached."""
    if not quick and not torch.cuda.is_available():
        name = "training step, ViT-Ti/16 at 224 px: cached teacher / live {} teacher"
        return [needs_gpu(name.format(teacher), f">= {goal:g}") for teacher, (_, goal) in _TEACHERS.items()]
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    store, size, batch_size = make_store(folder / "step", 4096, 4096), *((32, 4) if quick else (224, 256))
    return [
        cached_against_live(teacher, _TINY if quick else model, store, size, batch_size, goal, quick, device)
        for teacher, (model, goal) in _TEACHERS.items()
    ]
