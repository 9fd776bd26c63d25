"""Mining by the workers of a Ray cluster, each of which takes parts of the queries, as `--shard 2/8` does by hand.

    distillkit mine-neighbours pipelines/mine/ood.toml --engine ray --set 'ray.address="auto"'

The parts share the stores' disk and its locks: the first chooses the search, makes the index and measures its recall,
the others wait for that; a part that is done again, because its worker was lost, goes on after its last shard.
"""

from __future__ import annotations

from pathlib import Path

from distillkit.callable import Say, silent
from distillkit.engine.ray import RayEngine
from distillkit.errors import DistillkitError
from distillkit.mining.process import mine_apart
from distillkit.recipe import MineRecipe
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.claims import Part
from distillkit.system.paths import expand

_PARTS = 64  # at most; a worker that comes late still finds some to do


def mine_on_ray(recipe: MineRecipe, say: Say = silent, command: str | None = None) -> Path:
    """`distillkit.mine.mine_here` by the workers of the recipe's [ray]; returns the folder of the addition."""
    engine, rows = RayEngine(recipe.ray), len(FeatureStore(expand(recipe.queries)))
    count = min(-(-rows // recipe.rows_per_shard), _PARTS)
    parts = [str(Part(number, count)) for number in range(1, count + 1)]
    here = recipe.model_copy(update={"queries": _whole(recipe.queries), "corpus": _whole(recipe.corpus)})
    with engine.running():
        for path, told in engine.each(_part, (here.model_dump(), command), parts):
            for line in told:
                say(line)
            if path is None:
                raise DistillkitError(f"on a Ray worker: {told[-1]}")
    return Path(path)


def _whole(place: str) -> str:
    """A path as workers in other folders find it; a URL stays one."""
    expanded = expand(place)
    return str(expanded) if "://" in str(expanded) else str(Path(expanded).resolve())


def _part(recipe: dict[str, object], command: str | None, part: str) -> tuple[str | None, list[str]]:
    """In a worker: one part, and what is said of it; no path where the last line says why not."""
    told: list[str] = []
    try:
        return str(mine_apart(MineRecipe.model_validate(recipe), told.append, command, Part.parse(part))), told
    except DistillkitError as error:
        return None, [*told, str(error)]
