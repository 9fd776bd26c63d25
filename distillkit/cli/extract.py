"""distillkit extract-teacher: stage 1."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distillkit.cli.console import Only, Overrides, Recipe, Shard, command, part_of, say
from distillkit.system.wording import as_word


def extract_teacher(
    recipe: Recipe,
    overrides: Overrides = None,
    shard: Shard = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: teachers on this machine or on a cluster, by the recipe's table [ray]."),
    ] = "local",
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="In finished stores, compute the shards with failed samples again."),
    ] = False,
    retry_changed: Annotated[
        bool,
        typer.Option("--retry-changed", help="In finished stores, compute images again whose files have changed."),
    ] = False,
    allow_smaller: Annotated[
        bool,
        typer.Option("--allow-smaller", help="Replace a finished store even if its corpus has lost samples."),
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(help="Write a Chrome trace of where the time goes to this file, and say what to change."),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="If the recipe or the corpus changed, extract anew; the old store is kept."),
    ] = False,
    only: Only = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Extract nothing; print bytes, hours, and after how many epochs the store pays off."
        ),
    ] = False,
) -> None:
    """Stage 1: run the teacher once and store its features.

    RECIPE names the teacher and the corpora. After a stop, the same command continues.

    Example: distillkit extract-teacher pipelines/extract/demo.toml
    """
    from distillkit import extract
    from distillkit.engine.redo import redo
    from distillkit.engine.retry import retry
    from distillkit.recipe import ExtractRecipe, load
    from distillkit.store.bucket.remote import shown
    from distillkit.system.profile import EXTRACTION, profiled

    part = part_of(shard)
    loaded = load(recipe, overrides, kind=ExtractRecipe).only(only or [])
    if plan:
        print("\n".join(extract.plan(loaded, say)))
        return
    again = "--retry-failed" if retry_failed else "--retry-changed" if retry_changed else None
    if again and (shard or engine != "local"):
        raise typer.BadParameter(f"{again} is done by one process here; leave --shard and --engine out")
    if retry_failed and retry_changed:
        raise typer.BadParameter("--retry-failed and --retry-changed are done one after the other")
    instead = retry if retry_failed else redo if retry_changed else None
    with profiled(profile, EXTRACTION, say):
        paths = extract.extract(
            loaded,
            say,
            command(),
            part,
            instead=instead,
            engine=engine,
            allow_smaller=allow_smaller,
            overwrite=overwrite,
        )
    for path in paths:
        print(shown(path))
    if shard:
        return
    say(f"next: {loaded.next or _draft([shown(path) for path in paths])}")


def _draft(stores: list[str]) -> str:
    """The command that drafts a recipe for a student; of both teachers where a store has two."""
    from distillkit.drafting.second import second_of

    for store in stores:
        if two := second_of(store):
            first, second = two
            return (
                f"distillkit recipe new FILE --images {as_word(store)} --also {as_word(second)}  (writes a recipe for "
                f"a student of {first} and {second}; without --also of {first} alone)"
            )
    return "distillkit recipe new FILE  (asks which stores to use and what for, writes a recipe for a student)"
