"""distillkit mine-neighbours and select-texts: what lies between two stores."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from distillkit.cli.console import Overrides, Recipe, Shard, command, part_of, say

if TYPE_CHECKING:
    from distillkit.recipe import MineRecipe


def mine_neighbours(
    recipe: Recipe,
    overrides: Overrides = None,
    page: Annotated[
        Path | None, typer.Option(help="Also write a page that shows 50 rows with their neighbours.")
    ] = None,
    max_memory: Annotated[str | None, typer.Option(help="Cap on this process' own memory, such as 8GiB.")] = None,
    shard: Shard = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: workers on this machine or on a cluster, by the recipe's table [ray]."),
    ] = "local",
) -> None:
    """Find, for each row of a store, the nearest of another.

    They are kept with the rows of the first store. After a stop, the same command continues.

    Example: distillkit mine-neighbours pipelines/mine/demo_quick.toml
    """
    from distillkit.mining.process import mine_apart
    from distillkit.mining.ray import mine_on_ray
    from distillkit.recipe import MineRecipe, load

    part = part_of(shard)
    if engine == "ray" and shard:
        raise typer.BadParameter("--engine ray cuts the work into parts by itself; leave --shard out")
    memory = [f'max_memory="{max_memory}"'] if max_memory else []
    loaded = load(recipe, [*(overrides or []), *memory], kind=MineRecipe)
    made = mine_on_ray(loaded, say, command()) if engine == "ray" else mine_apart(loaded, say, command(), part)
    print(made)
    if page and (made / "manifest.json").is_file():
        say(f"look at {_page(loaded, page)}")
    if not shard and (used := loaded.next or _use(recipe, loaded)):
        say(f"next: {used}")


def _use(file: Path, recipe: MineRecipe) -> str:
    """The command that uses what was mined: texts of images are trained with, or chosen; all else is looked at."""
    if (recipe.field.rpartition("/")[2], recipe.corpus_field.rpartition("/")[2]) != ("image", "text"):
        return f"{shlex.join(['distillkit', 'mine-neighbours', str(file)])} --page neighbours.html  (to look at them)"
    knobs = {"images": recipe.queries, "texts": recipe.corpus, "sampling": "neighbours", "neighbours": recipe.name}
    knobs = {name: value for name, value in knobs.items() if (name, value) != ("neighbours", "neighbours")}
    words = [word for name, value in knobs.items() for word in ("--set", f"data.{name}={json.dumps(value)}")]
    return (
        f"{shlex.join(['distillkit', 'train-student', 'RECIPE', *words])}  (or choose texts: distillkit select-texts)"
    )


def _page(recipe: MineRecipe, page: Path) -> Path:
    from distillkit.report.near import write_neighbours
    from distillkit.store.reading.neighbours import Neighbours
    from distillkit.store.reading.reader import FeatureStore
    from distillkit.system.paths import expand

    texts = FeatureStore(expand(recipe.corpus))
    return write_neighbours(page, Neighbours(FeatureStore(expand(recipe.queries)), recipe.name, texts), texts)


def select_texts(
    recipe: Recipe,
    overrides: Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a view of other texts.")] = False,
) -> None:
    """Select the texts that the images look like.

    Writes a view of the store of texts, and a page with a histogram and examples.

    Example: distillkit select-texts pipelines/select/demo_quick.toml
    """
    from distillkit.mining import select
    from distillkit.recipe import SelectRecipe, load

    loaded = load(recipe, overrides, kind=SelectRecipe)
    made = select.select_texts(loaded, say, command=command(), overwrite=overwrite)
    print(made)
    draft = shlex.join(["distillkit", "recipe", "new", "FILE", "--images", loaded.images, "--texts", str(made)])
    say(f"next: {loaded.next or f'{draft}  (asks what you want, writes a recipe for a student)'}")
