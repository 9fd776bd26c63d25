"""A paper's claim at the paper's size: what it needs and takes, told first; begun where all of it is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from distillkit.callable import Say
from distillkit.check import check as check_recipe
from distillkit.claims.file import Scale, Step, read_claims
from distillkit.claims.run import take
from distillkit.corpora.check import check as check_corpus
from distillkit.engine.loading import refuse_absent
from distillkit.errors import DistillkitError, RecipeError
from distillkit.recipe import ExtractRecipe, TrainRecipe, load
from distillkit.students._count import count
from distillkit.system.wording import as_word

# 312 ViT-L/14 images a second of one A100, in clip-retrieval's docs/distributed_clip_inference.md; 162 GFLOP each.
_FLOPS = 50.6e12
_BOTH_WAYS = 3  # a forward and a backward, in forwards


def paper(file: Path, say: Say, *, nodes: int = 1, start: bool = True) -> bool:
    """Tell the plan; then, where corpora and weights are there and `start`, run it. Returns whether they are.

    RecipeError for a file without [scale].
    """
    claims = read_claims(file)
    if claims.scale is None:
        raise RecipeError(f"{file}: has no [scale]: which recipe and extraction are at the paper's size")
    scale = claims.scale
    recipe, extraction = load(scale.recipe, kind=TrainRecipe), load(scale.extraction, kind=ExtractRecipe)
    say(f"{claims.title} at the paper's size ({claims.paper})")
    for name in scale.corpora:
        for line, _ in check_corpus(name, f"data/{name}"):
            say(f"  {line}")
    for line in check_recipe(recipe):
        say(f"  {line}")
    for line in (*_hours(recipe, scale), *_commands(scale, nodes)):
        say(f"  {line}")
    missing = list(_missing(extraction))
    for line in missing:
        say(f"  missing      {line}")
    if missing or not start:
        return not missing
    take(Step(run=f"extract-teacher {as_word(scale.extraction)}"), say)
    take(Step(run=f"train-student {as_word(scale.recipe)}"), say)
    return True


def _hours(recipe: TrainRecipe, scale: Scale) -> Iterator[str]:
    """GPU-hours of both stages from multiply-accumulates, at a rate that somebody else has quoted."""
    with torch.device("meta"):
        size = count(recipe.student.build("students"))
    images, views = scale.images, recipe.data.expect.views if recipe.data.expect else 1
    once = 2e9 * (scale.teacher_image_gmacs * images * views + scale.teacher_text_gmacs * scale.texts)
    shown = images * recipe.optim.epochs * recipe.data.repeats
    trained = 2.0 * _BOTH_WAYS * shown * (size.image_macs + size.text_macs)
    for stage, flops in (("extraction", once), ("training", trained)):
        hours = flops / _FLOPS / 3600
        rate = f"{_FLOPS / 1e12:g} TFLOP/s (one A100, as clip-retrieval quotes)"
        yield f"{stage:12} about {hours:,.1f} GPU-hours at {rate}"


def _commands(scale: Scale, nodes: int) -> Iterator[str]:
    for node in range(1, nodes + 1):
        shard = f" --shard {node:d}/{nodes:d}" if nodes > 1 else ""
        yield f"node {node}       distillkit extract-teacher {as_word(scale.extraction)}{shard}"
    if nodes == 1:
        yield f"then         distillkit train-student {as_word(scale.recipe)}"
    else:
        yield (
            f"then, each   torchrun --nnodes {nodes} --nproc-per-node gpu --rdzv-backend c10d "
            f"--rdzv-endpoint FIRST-NODE:29500 -m distillkit train-student {as_word(scale.recipe)}"
        )


def _missing(extraction: ExtractRecipe) -> Iterator[str]:
    """Weights and corpora that the extraction would not find, each with the reason."""
    for name, teacher in extraction.by_alias.items():
        try:
            refuse_absent({name: teacher})
        except DistillkitError as error:
            yield f"teacher {name}: {error}"
    for corpus in extraction.corpora:
        try:
            if next(iter(corpus.source.build("sources")), None) is None:
                yield f"corpus {corpus.name}: no sample in it"
        except DistillkitError as error:
            yield f"corpus {corpus.name}: {error}"
