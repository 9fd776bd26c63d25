"""distillkit train-student: stage 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distillkit.cli.console import Overrides, Recipe, command, say
from distillkit.system.wording import as_word


def train_student(
    recipe: Recipe,
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train anew, also if the recipe changed; the old run is kept.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Train nothing; time 20 steps and print what the run will take.")
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(help="Write a Chrome trace of where the time goes to this file, and say what to change."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: workers on this machine or on a cluster, by the recipe's table [ray]."),
    ] = "local",
) -> None:
    """Stage 2: train the student of RECIPE from the stores.

    Trains its baseline, too, if RECIPE has one. After a stop, the same command continues.

    Example: distillkit train-student pipelines/demo/dime_fm.toml
    """
    from distillkit import train
    from distillkit.recipe import TrainRecipe, load
    from distillkit.system.profile import TRAINING, profiled

    loaded, ask = load(recipe, overrides, kind=TrainRecipe), None
    if loaded.data.source == "live" and engine == "local":
        from distillkit.live import Live

        ask = Live(loaded)
    if plan:
        from distillkit.training.forecast import forecast

        for line in forecast(loaded, ask):
            print(line)
        return
    with profiled(profile, TRAINING, say):
        folder = train.train(loaded, say, command(), ask=ask, overwrite=overwrite, engine=engine)
    print(folder)
    for one in loaded.alone():
        say(f"next: distillkit evaluate {as_word(one.folder)}")
