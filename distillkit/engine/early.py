"""What can be refused is refused before a teacher is loaded, which may take minutes and gigabytes: fields that it does
not give, shards that its rows do not fill, views that it cannot be shown, a store that others write, no locks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillkit.engine.job import Job, Teacher, fields_asked, store_at
from distillkit.engine.loading import refuse_absent
from distillkit.engine.planning import Planned
from distillkit.recipe import Component, Corpus, ExtractRecipe
from distillkit.recipe.registry import resolve
from distillkit.store.format.layout import check_rows_per_shard
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.writing.claims import Claims, Part
from distillkit.store.writing.home import home_of
from distillkit.system.atomic import make_folder, parsed_json


def refuse_unfit(recipe: ExtractRecipe, out: Path) -> list[Job | None]:
    """TeacherError for a teacher that is not there, StoreError for what a corpus asks and its teachers do not give.

    Of kinds that do not tell of themselves before they are loaded, the second is asked again when they are. Returns the
    corpora's jobs, of teachers without weights; None for one that is known only then.
    """
    refuse_absent(recipe.by_alias)
    outlines = {alias: _outline(component) for alias, component in recipe.by_alias.items()}
    told = {alias: Teacher(outline, {}) for alias, outline in outlines.items() if outline is not None}
    if len(told) < len(outlines):
        return [None for _ in recipe.corpora]
    return [_refuse_unfit(corpus, store_at(out, corpus), told, recipe) for corpus in recipe.corpora]


def _refuse_unfit(corpus: Corpus, path: Path, teachers: Mapping[str, Teacher], recipe: ExtractRecipe) -> Job | None:
    asked = fields_asked(corpus, teachers)
    looking = [teachers[alias].network for alias, name in asked if name != "text"]
    if corpus.drawn_views and any(getattr(network, "preprocess", None) is None for network in looking):
        return None  # it is not known yet whether views can be shown to it
    job = Job(path, corpus, teachers, asked, recipe.decoders, recipe.decode)
    check_rows_per_shard(job.rows_per_shard, *job.fields.values())
    return job


def _outline(component: Component) -> Any:
    """What a teacher will give, if its kind tells: by a method, or because all of that kind give the same."""
    kind: Any = resolve("teachers", component.kind)
    fields = getattr(kind, "fields", None)
    if isinstance(fields, Mapping) and fields:
        return kind
    return kind.outline(**component.knobs) if hasattr(kind, "outline") else None


def refuse_taken(path: Path, plan: Planned, job: Job | None, part: Part, again: bool) -> None:
    """StoreError where others write all that is left of a store, or files lie in its place that are no store's;
    NoLocks where nobody can be kept apart; DiskLost, or an OSError, where nothing can be written and something is left.

    `plan` and `job`, if that is known by now, tell the shards of a store that nobody has begun. `again`: of a finished
    store all is left. Nothing is claimed yet: each shard is asked for when its turn comes.
    """
    home_of(path).refuse_other_files()
    make_folder(path.parent)
    with Claims(path) as claims:
        left = [] if claims.idle() and not claims.refused else _left(path, plan, job, part, again)
        if left and not any(map(claims.try_one, left)):
            raise claims.taken(left)


def _left(store: Path, plan: Planned, job: Job | None, part: Part, again: bool) -> list[int]:
    """The shards of a store which nobody has committed yet."""
    try:
        begun: dict[str, Any] = parsed_json((store / "plan.json").read_bytes())
        shards = part.shards(-(-int(begun["rows"]) // int(begun["rows_per_shard"])))
    except FileNotFoundError:  # whoever has claimed shards of it has planned the same rows
        return list(part.shards(-(-plan.rows.num_rows // job.rows_per_shard))) if job else []
    except (OSError, ValueError, KeyError, TypeError):
        return []  # it is damaged: whoever writes it tells
    if (store / FILE_NAME).is_file():
        return list(shards) if again else []
    return [shard for shard in shards if not (store / f"commits/{shard:05d}.json").is_file()]
