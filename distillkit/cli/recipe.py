"""distillkit recipe: look at and check recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import Overrides, Recipe
from distillkit.errors import DistillkitError

recipes = typer.Typer(help="Look at and check recipes.", no_args_is_help=True)


@recipes.command("check")
def recipe_check(
    recipe: Recipe,
    overrides: Overrides = None,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Import nothing: show what a stranger's recipe says, and would import.")
    ] = False,
) -> None:
    """Check a training recipe without data, weights or GPU, and print what it will take.

    Example: distillkit recipe check pipelines/clip_kd.toml
    """
    if no_plugins:
        from distillkit.recipe.strangers import shown

        for line in shown(recipe):
            print(line)
        return
    from distillkit.check import check
    from distillkit.recipe import TrainRecipe, load

    for line in check(load(recipe, overrides, kind=TrainRecipe)):
        print(line)


@recipes.command("list")
def recipe_list(
    folder: Annotated[Path, typer.Argument(help="Where to look for training recipes.")] = Path("pipelines"),
) -> None:
    """List training recipes: file, student, loss terms, paper; a broken one says what is wrong with it.

    Example: distillkit recipe list pipelines
    """
    from distillkit.check import overview

    rows = overview(folder)
    if not rows:
        raise DistillkitError(f"{folder}: no training recipes (*.toml) here")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
