"""distillkit recipe: find, explain, make and check recipes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distillkit.cli.console import Json, Overrides, Recipe, say
from distillkit.cli.new import recipe_new
from distillkit.errors import DistillkitError
from distillkit.system.wording import as_word

if TYPE_CHECKING:
    from distillkit.recipe.explained import Table

recipes = typer.Typer(help="Find, explain, make and check recipes.", no_args_is_help=True)
recipes.command("new")(recipe_new)


@recipes.command("check")
def recipe_check(
    recipe: Recipe,
    overrides: Overrides = None,
    no_plugins: Annotated[
        bool,
        typer.Option("--no-plugins", help="For a stranger's recipe: import nothing, show its texts and its imports."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a recipe.

    A training recipe needs no data, weights or GPU for this, and the command prints what training will take. An
    extraction recipe needs its corpora; `extract-teacher --plan` prints what it will take.

    Example: distillkit recipe check pipelines/clip_kd.toml
    """
    if no_plugins:
        from distillkit.recipe.strangers import shown

        _tell(shown(recipe), as_json)
        return
    from distillkit.check import check

    _tell(check(recipe, say, overrides=overrides or []), as_json)


def _tell(lines: Iterable[str], as_json: bool) -> None:
    """Lines of which the first word says what they tell of; one without goes on with the line before."""
    what = ""
    for line in lines:
        what = what if line.startswith(" ") else line.partition(" ")[0]
        told = line.strip() if line.startswith(" ") else line.partition(" ")[2].strip()
        print(json.dumps({"what": what, "told": told}) if as_json else line)


@recipes.command("list")
def recipe_list(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to look. Default: pipelines/ if it exists, else the recipes that ship.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List training recipes: file, student, loss terms, paper. For a broken one, it says what is wrong.

    Example: distillkit recipe list pipelines
    """
    from distillkit.overview import overview, recipes_at
    from distillkit.system.paths import shipped_recipes

    place = recipes_at(folder)
    ours, rows = place == shipped_recipes(), overview(place)
    if not rows:
        raise DistillkitError(f"{place}: no training recipes (*.toml) here; name a folder that has some")
    if ours:
        named = [(Path(path).relative_to(place).with_suffix("").as_posix(), *rest) for path, *rest in rows]
        rows = [(name, student, terms, paper) for name, student, terms, paper in named]
    if as_json:
        for row in rows:
            print(json.dumps(dict(zip(("recipe", "student", "terms", "paper"), row, strict=True))))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if ours:
        say(f"these ship with distillkit; to have one: distillkit recipe copy {as_word(rows[0][0])}")


@recipes.command("copy")
def recipe_copy(
    name: Annotated[str, typer.Argument(help="A recipe that ships, as `recipe list` names it.", show_default=False)],
    to: Annotated[Path, typer.Argument(help="The folder it goes to.")] = Path("pipelines"),
) -> None:
    """Copy a recipe that ships with distillkit.

    The recipes that it builds on are copied, too.

    Example: distillkit recipe copy demo/dime_fm
    """
    from distillkit.recipe.shipped import copy

    for path in copy(name, to):
        print(path)


@recipes.command("explain")
def recipe_explain(
    word: Annotated[
        str | None, typer.Argument(help="A kind (affinity), a table (data.augment) or a key (optim.lr).")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all of them, as in docs/reference.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print what a key of a recipe means.

    Type, default, meaning and source of a key, or of every key of a table or kind.

    Example: distillkit recipe explain optim.lr
    """
    from distillkit.recipe.explained import every_table, explained
    from distillkit.recipe.reference import reference

    if markdown:
        print(reference(), end="")
        return
    if word is None and not as_json:
        raise typer.BadParameter("name a kind, a table or a key; or --markdown or --json for all of them")
    tables = every_table() if word is None else explained(word)
    if as_json:
        for table in tables:
            print(json.dumps(asdict(table)))
        return
    print("\n\n".join(_explained(table) for table in tables))


def _explained(table: Table) -> str:
    lines = [f"{table.path}  ({table.where})", *textwrap.wrap(f"{table.meaning} Source: {table.source}", 120)]
    for knob in table.knobs:
        default = "to be given" if knob.default is None else f"default {knob.default}"
        lines += ["", f"{knob.path}: {knob.type}; {default}"]
        lines += textwrap.wrap(knob.meaning, 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
