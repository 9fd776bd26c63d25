"""The training recipes below a folder, in short."""

from __future__ import annotations

from pathlib import Path

from distillkit.errors import RecipeError
from distillkit.recipe import TrainRecipe, load
from distillkit.recipe.load import content_of
from distillkit.system.paths import here, shipped_recipes

_OTHERS = {"extract", "mine", "select", "claims", "evals"}  # folders of recipes that train nothing


def overview(folder: str | Path | None = None) -> list[tuple[str, str, str, str]]:
    """Every training recipe below `folder`: file, student, terms, paper; of a broken one, what is wrong with it.

    Without a folder: those in pipelines/ if there are any, else those that ship.
    """
    rows = []
    for path in _trainings(recipes_at(folder)):
        try:
            rows.append((str(path), *_in_short(load(path, kind=TrainRecipe))))
        except RecipeError as error:
            rows.append((str(path), "broken", str(error).removeprefix(f"{path}: "), ""))
    return rows


def recipes_at(folder: str | Path | None) -> Path:
    """Where recipes are looked for."""
    ours = folder is None and not _trainings(Path("pipelines"))
    return shipped_recipes() if ours else here(folder or "pipelines")


def _trainings(folder: Path) -> list[Path]:
    """The files of recipes below a folder, but for those that train nothing."""
    return [
        path for path in sorted(folder.rglob("*.toml")) if not _OTHERS.intersection(path.parts) and _may_train(path)
    ]


def _may_train(path: Path) -> bool:
    """Whether a file says anything of a training; one that cannot be read may have."""
    try:
        return not content_of(path).keys().isdisjoint({"student", "students", "losses", "data"})
    except RecipeError:
        return True


def _in_short(recipe: TrainRecipe) -> tuple[str, str, str]:
    terms = " + ".join(str(term.knobs.get("name") or term.kind) for term in recipe.losses)
    return recipe.student.called, terms, recipe.paper or ""
