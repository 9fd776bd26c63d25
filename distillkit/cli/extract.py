"""distillkit extract-teacher: stage 1."""

from __future__ import annotations

from distillkit.cli.console import Overrides, Recipe, command, say


def extract_teacher(recipe: Recipe, overrides: Overrides = None) -> None:
    """Stage 1: run the teacher once over every corpus of RECIPE and keep what it said. Rerunning continues.

    Example: distillkit extract-teacher pipelines/extract/demo.toml
    """
    from distillkit import extract
    from distillkit.recipe import ExtractRecipe, load

    loaded = load(recipe, overrides, kind=ExtractRecipe)
    for path in extract.extract(loaded, say, command()):
        print(path)
    say(f"next: {loaded.next or 'distillkit train-student RECIPE  (data.images names one of the stores above)'}")
