"""distillkit recipe new: a first recipe of one's own, by flags, or by questions where somebody sits at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from distillkit.cli.console import say
from distillkit.errors import DistillkitError, RecipeError
from distillkit.system.new_folder import refuse_what_is_there
from distillkit.system.paths import here
from distillkit.system.wording import as_word

_GOALS = {
    "image-tower": "a small image tower, in the joint space of a CLIP",
    "clip-pair": "a small CLIP pair, image and text tower",
    "dino": "a backbone like DINO, with class and patch tokens",
    "classes": "a classifier of my classes",
}


def recipe_new(
    to: Annotated[Path, typer.Argument(help="The recipe to write.", show_default=False)],
    images: Annotated[str | None, typer.Option(help="The store of images.", show_default=False)] = None,
    goal: Annotated[str | None, typer.Option(help=f"One of: {', '.join(_GOALS)}.", show_default=False)] = None,
    texts: Annotated[str | None, typer.Option(help="A store of unpaired texts.", show_default=False)] = None,
    classes: Annotated[str | None, typer.Option(help="A store of class prompts.", show_default=False)] = None,
    class_names: Annotated[
        str | None,
        typer.Option(help="The file of class names, if the images' captions are class names.", show_default=False),
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="A store of images to measure on, never trained on.", show_default=False)
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Which teacher to learn from, if the store has several.", show_default=False)
    ] = None,
    also: Annotated[
        str | None,
        typer.Option(help="A second teacher of the store to learn from; adds a loss term.", show_default=False),
    ] = None,
    parameters: Annotated[
        str | None, typer.Option(help="At most this many, such as 5M. Default: 6M, a pair 20M.")
    ] = None,
    latency: Annotated[
        str | None, typer.Option(help="At most this long for an image on this machine, such as 4ms.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=16, max=2**13, help="Side of the student's images in pixels.")
    ] = None,
) -> None:
    """Write a training recipe from what your stores hold.

    The recipe has comments, and its student fits the size you give. At a terminal, it asks for what is missing.

    Example: distillkit recipe new mine.toml --images stores/mine/images
    """
    if parameters and latency:
        raise typer.BadParameter("--parameters and --latency: name one of them")
    refuse_what_is_there(here(to), RecipeError, "name another file")  # before anybody has answered anything
    asking = sys.stdin is not None and sys.stdin.isatty()
    if images is None:
        if not asking:
            raise typer.BadParameter("name the store of images: --images STORE")
        images = typer.prompt("The store of images", err=True)
        texts = texts or typer.prompt("A store of unpaired texts, if there is one", default="", err=True) or None
    if goal is None:
        if not asking:
            raise typer.BadParameter(f"say what you want: --goal {' or '.join(_GOALS)}")
        goal = _asked_goal()
        if goal == "classes":
            classes = classes or typer.prompt("The store of class prompts", err=True)
    if asking and not parameters and not latency:
        size = "20M" if goal == "clip-pair" else "6M"
        parameters = typer.prompt("Parameters that the student may have", default=size, err=True)
    from distillkit.drafting.draft import new_recipe

    made = new_recipe(
        to,
        images=images,
        goal=goal,
        texts=texts,
        classes=classes,
        class_names=class_names,
        measure=measure,
        parameters=parameters,
        latency=latency,
        image_size=image_size,
        teacher=teacher,
        also=also,
        say=say,
    )
    _tell(made)


def _asked_goal() -> str:
    for name, meaning in _GOALS.items():
        say(f"  {name:12} {meaning}")
    goal = ""
    while goal not in _GOALS:
        goal = typer.prompt("What do you want", default="image-tower", err=True)
        if goal not in _GOALS:
            say(f"  {goal!r} is none of these")
    return goal


def _tell(made: Path) -> None:
    """What training it would take; a recipe that is refused is not left there."""
    from distillkit.check import check
    from distillkit.recipe import TrainRecipe, load

    try:
        lines = check(load(made, kind=TrainRecipe))
    except DistillkitError:
        made.unlink()
        raise
    for line in lines:
        say(line)
    print(made)
    say(f"next: distillkit train-student {as_word(made)}")
