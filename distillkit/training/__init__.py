"""Stage 2 below train.py, from the recipe to the loss:

ingredients  what a recipe asks for, opened, or refused before the first step    stores images texts join ask
plan         which rows, views, texts and patches a step has                     order
batches      features and pixels of a plan                                       rendering pixels pixel_cache
learner      a step: network, objective, optimiser, here or over processes       objective gradcache shards ranks
course       a run: log, checkpoints, measurements                               beginning checkpoint validation

What a loop of your own takes from here:

from distillkit.training import Batches, Objective, learning_rate, make_optimizer
"""

from importlib import import_module
from typing import Any

_FILE_OF = {"Batches": "batches", "Objective": "objective", "learning_rate": "schedule", "make_optimizer": "schedule"}
__all__ = ["Batches", "Objective", "learning_rate", "make_optimizer"]


def __getattr__(name: str) -> Any:
    """What is heavy is imported when it is first named."""
    if name in _FILE_OF:
        return getattr(import_module(f"distillkit.training.{_FILE_OF[name]}"), name)
    raise AttributeError(f"module 'distillkit.training' has no attribute {name!r}")
