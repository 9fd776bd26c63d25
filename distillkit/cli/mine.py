"""distillkit mine-neighbours and select-texts: what lies between two stores."""

from __future__ import annotations

from typing import Annotated

import typer

from distillkit.cli.console import Overrides, Recipe, command, say


def mine_neighbours(
    recipe: Recipe,
    overrides: Overrides = None,
    max_memory: Annotated[str | None, typer.Option(help="Cap on this process' own memory: 8GiB.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Do one part of the work, as 2/8; the other parts are other runs, here or elsewhere."),
    ] = None,
) -> None:
    """Find the rows of one store that are nearest to each row of another, and keep them there. Rerunning continues.

    Example: distillkit mine-neighbours pipelines/mine/demo_quick.toml
    """
    from distillkit.mining.process import mine_apart
    from distillkit.recipe import MineRecipe, load
    from distillkit.store.claims import Part

    try:
        part = Part.parse(shard) if shard else Part()
    except ValueError as error:
        raise typer.BadParameter(f"--shard {error}") from error
    memory = [f'max_memory="{max_memory}"'] if max_memory else []
    loaded = load(recipe, [*(overrides or []), *memory], kind=MineRecipe)
    print(mine_apart(loaded, say, command(), part))
    if not shard and loaded.next:
        say(f"next: {loaded.next}")
