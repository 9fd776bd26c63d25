"""TOML to checked values. A wrong recipe is refused in one line that names the place and the nearest right word.

A component (`kind = "..."`) is checked against the keyword-only parameters of its constructor: the constructor is the
schema. Paths in recipes may use {cache}, ~ and environment variables.
"""

from distillkit.recipe.component import Component, Ramp, Term
from distillkit.recipe.data import Also, Augment, Captions, Data, Expect, Mask, Mixed
from distillkit.recipe.differences import differences
from distillkit.recipe.evaluation import EvalRecipe, Evaluation
from distillkit.recipe.extraction import Corpus, DType, ExtractRecipe, NamedTeacher, RandAugment, Ray, Views
from distillkit.recipe.load import changed, load, settings
from distillkit.recipe.mining import MineRecipe, SelectRecipe
from distillkit.recipe.optim import Optim
from distillkit.recipe.sizes import memory_bytes
from distillkit.recipe.training import (
    Baseline,
    Checkpoints,
    Log,
    NamedStudent,
    RayWorkers,
    TrainRecipe,
    Validation,
)

__all__ = [
    "Also",
    "Augment",
    "Baseline",
    "Captions",
    "Checkpoints",
    "Component",
    "Corpus",
    "DType",
    "Data",
    "EvalRecipe",
    "Evaluation",
    "Expect",
    "ExtractRecipe",
    "Log",
    "Mask",
    "MineRecipe",
    "Mixed",
    "NamedStudent",
    "NamedTeacher",
    "Optim",
    "Ramp",
    "RandAugment",
    "Ray",
    "RayWorkers",
    "SelectRecipe",
    "Term",
    "TrainRecipe",
    "Validation",
    "Views",
    "changed",
    "differences",
    "load",
    "memory_bytes",
    "settings",
]
